"""harness: the tightest systemd confinement a service still works under, found by trying."""

__version__ = "0.1.0"
