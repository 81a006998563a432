"""One throwaway booted systemd: overlay, boot, entering it, its cgroups and network."""
