"""Limits fitted to measurements and confirmed by trial. Thinking only: no machine, no clock."""
