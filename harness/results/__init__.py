"""What is kept of a run, and what is derived from it."""
