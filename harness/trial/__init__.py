"""One attempt: a candidate, a fresh machine, one pass of the scenario."""
