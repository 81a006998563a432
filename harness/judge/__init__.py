"""From observations to verdicts: what failed, why, and which directive is suspected."""
