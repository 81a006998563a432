"""Text for people: drop-in, full unit, summary."""
