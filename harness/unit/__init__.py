"""What systemd itself says: unit files, quantities, the directive catalogue."""
