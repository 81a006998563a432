"""What a few runs say of the next ones: an extrapolated bound, and what the data prove without any assumption.

The bound is a working extrapolation, calibrated by simulation and not a theorem: `tests/limits/test_bound.py` holds the
shares of simulated samples in which it covers the true 99 % quantile. The other two are distribution-free.
"""

import math
import statistics
from collections.abc import Sequence

QUANTILE = 0.99
CONFIDENCE = 0.95
# Even runs that are all alike are no proof that the next one is: the bound lies at least this much above them.
LEAST_FACTOR = 1.05
# Fewer runs than this say too little of how they scatter.
LEAST_RUNS = 5
PRECISION = 1e-6


def spread_factor(runs: int) -> float:
    """How often the distance from the median to the largest of `runs` values is laid on top of the largest.

    For an exponential tail the distance from the median to the largest of n values is about ln 2n scale lengths, and
    the 99 % quantile of the tail's own scale lies ln 100 of them further out.
    """
    return math.log(1 / (1 - QUANTILE)) / math.log(2 * runs)


def upper_bound(values: Sequence[float]) -> float:
    """An upper bound for the 99 % quantile of what at least two `values` were drawn from, in their own unit."""
    largest = max(values)
    further = (largest - statistics.median(values)) * spread_factor(len(values))
    return max(largest + further, LEAST_FACTOR * largest)


def upper_count(values: Sequence[int]) -> int:
    """The same for counts, which are exact: at least one more than the largest."""
    largest = max(values)
    further = math.ceil((largest - statistics.median(values)) * spread_factor(len(values)))
    return largest + max(1, further)


def covered_quantile(runs: int) -> float:
    """The quantile that the largest of `runs` values lies above, with 95 % confidence, whatever the distribution."""
    return float((1 - CONFIDENCE) ** (1 / runs))


def next_stays_below(runs: int) -> float:
    """The chance that the next run stays at or below the largest of `runs`, whatever the distribution."""
    return runs / (runs + 1)


def failure_at_most(clean_runs: int, failed_runs: int = 0) -> float:
    """The chance of failure that so many runs exclude from above, with 95 % confidence (Clopper and Pearson, 1934)."""
    if clean_runs == 0:
        return 1.0
    runs = clean_runs + failed_runs
    low, high = 0.0, 1.0
    while high - low > PRECISION:
        chance = (low + high) / 2
        seen = sum(math.comb(runs, k) * chance**k * (1 - chance) ** (runs - k) for k in range(failed_runs + 1))
        low, high = (chance, high) if seen > 1 - CONFIDENCE else (low, chance)
    return high
