"""Which candidate to try next; knows nothing of systemd."""
