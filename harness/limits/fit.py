"""From runs to limits: each number with what it was fitted to, and what the data say without any assumption."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.limits import bound
from harness.limits.growth import Growth
from harness.limits.run import Run
from harness.unit.quantity import readable_size, size_text

# More runs while the bound still moves by more than this share over the last of them.
MOVING_SHARE = 0.05
MOVING_OVER = 3
# A majority of the runs must show it: one that grows steadily can be chance.
LEAK_SHARE = 0.5
# Quotas are whole percent; a little room for how the kernel hands out slices of a quota to processors (5 ms each).
QUOTA_FACTOR = 1.05
DESCRIPTORS_LEAST = 16
MANY_RUNS = 5
# MEMCG_CHARGE_BATCH of include/linux/memcontrol.h: 64 pages.
BATCH_BYTES = 64 * 4096
DESCRIPTORS_SHARE = 0.25
# However alike ten runs are, one in thirty may need more: short-lived processes that meet for less than the time
# between two samples. Measured, of 30 runs at 7 to 9 % above the cliff one failed, two times in three.
LEAST_SCATTER = 1.12


@dataclass(frozen=True)
class Sample:
    """The values of one quantity in all usable runs, and the largest of the censored ones: "at least this much"."""

    values: tuple[float, ...]
    at_least: float | None = None
    censored: int = 0

    @property
    def runs(self) -> int:
        """How many runs count."""
        return len(self.values)

    @property
    def seen(self) -> bool:
        """Whether any value was seen at all."""
        return bool(self.values) or self.at_least is not None

    @property
    def largest(self) -> float:
        """The largest value seen at all."""
        return max([*self.values, *([] if self.at_least is None else [self.at_least])])

    @property
    def bound(self) -> float:
        """The extrapolated bound; never below what was seen in a censored run."""
        return max(bound.upper_bound(self.values) if self.values else 0.0, self.at_least or 0.0)

    @property
    def scatter(self) -> float:
        """How many times the typical run the bound is."""
        return self.bound / statistics.median(self.values)

    @property
    def count_bound(self) -> int:
        """The bound for counts."""
        fitted = bound.upper_count([int(value) for value in self.values]) if self.values else 0
        return max(fitted, int(self.at_least or 0) + 1)

    @property
    def settled(self) -> bool:
        """Whether the bound has stopped moving."""
        if self.runs < bound.LEAST_RUNS + MOVING_OVER:
            return False
        before = bound.upper_bound(self.values[:-MOVING_OVER])
        return abs(bound.upper_bound(self.values) - before) <= MOVING_SHARE * before

    def to_json(self) -> dict[str, Any]:
        """As data, with the statements that need no assumption."""
        return {
            "runs": self.runs,
            "censored": self.censored,
            "largest": self.largest if self.values or self.at_least is not None else None,
            "median": statistics.median(self.values) if self.values else None,
            "bound": self.bound if self.runs >= 2 else None,
            "largest_covers_quantile": round(bound.covered_quantile(self.runs), 3) if self.runs else None,
            "next_run_below_largest": round(bound.next_stays_below(self.runs), 3) if self.runs else None,
        }


def sample_of(runs: Sequence[Run], value: Callable[[Run], float | None]) -> Sample:
    """One quantity over runs that passed; the censored ones only say "at least"."""
    usable = tuple(v for run in runs if not run.censored and run.passed and (v := value(run)) is not None)
    others = [v for run in runs if run.censored and run.passed and (v := value(run)) is not None]
    return Sample(usable, max(others, default=None), len(others))


def filled(sample: Sample, runs: Sequence[Run], value: Callable[[Run], float | None]) -> Sample:
    """`sample`, or where few runs count the values of censored ones too: "at least this much" scatters as well."""
    if sample.runs >= bound.LEAST_RUNS:
        return sample
    known = tuple(v for run in runs if run.passed and (v := value(run)) is not None)
    return replace(sample, values=known if len(known) > 1 else (sample.largest, sample.largest))


def leak(runs: Sequence[Run]) -> Growth | None:
    """The typical growth, when most runs grew steadily to the end; None when they did not."""
    known = [run.growth for run in runs if run.growth is not None]
    steady = [item for item in known if item.steady]
    if not steady or len(steady) <= LEAK_SHARE * len(known):
        return None
    rate = statistics.median(item.bytes_per_s for item in steady)
    return min(steady, key=lambda item: abs(item.bytes_per_s - rate))


def memory_limit(cliff_bytes: float, needed: Sample, *, too_little_bytes: float, processors: int) -> int:
    """MemoryMax=: the cliff, raised as far as the need of another run may lie above that of a typical one.

    The typical and not the largest, since a trial at the cliff is one run, mostly a typical one. Beside that one batch
    of charges for each other processor, which may or may not lie unused when memory runs short: the kernel takes back
    those of other processors without waiting for them (drain_all_stock of mm/memcontrol.c), and it is chance whether
    the trials that found the cliff had them. In bytes, rounded up to a readable size.
    """
    scatter = scatter_of_need(needed, too_little_bytes)
    return readable_size(cliff_bytes * scatter + BATCH_BYTES * (processors - 1))


def scatter_of_need(needed: Sample, too_little: float) -> float:
    """How many times that of a typical run the need of another may be, where a run failed with `too_little`.

    It is not more than bound / median of what was measured. It can be less, since samples miss a peak that is shorter
    than the time between two: where one of ten runs caught it, that run is no proof that needs differ. Two views do
    not mind. No need is below what was too little, so lower values count as that. And what scatters scatters
    downwards as well, which a peak that was caught does not do. The larger of the two holds, and never less than
    LEAST_SCATTER.
    """
    median = statistics.median(needed.values)
    raised = replace(needed, values=tuple(max(value, too_little) for value in needed.values))
    mirrored = Sample(tuple(2 * median - value for value in needed.values))
    return max(LEAST_SCATTER, min(needed.scatter, max(raised.scatter, mirrored.scatter)))


def quota_bound(window: Sample) -> int:
    """CPUQuota= in percent that no window of a period's length has exceeded."""
    return math.ceil(window.largest * QUOTA_FACTOR)


def descriptors(highest: Sample) -> int:
    """LimitNOFILE=: one more than the highest descriptor number, and room."""
    count = int(highest.largest) + 1
    return count + max(DESCRIPTORS_LEAST, math.ceil(DESCRIPTORS_SHARE * count))


def slowdown(runs: Sequence[Run], beside: Sequence[Run]) -> tuple[float, str]:
    """How many times dearer the load steps are than in the runs `beside`, by medians, and which figure says so.

    1 and "" where nothing can be compared. A difference counts only when it is no chance: of a few runs every one must
    be dearer than all beside (with 2 against 5, chance does that once in 21), of many the median.
    """
    worst, which = 1.0, ""
    for name in sorted({name for run in beside for name in run.costs_s}):
        before = [run.costs_s[name] for run in beside if name in run.costs_s]
        now = [run.costs_s[name] for run in runs if name in run.costs_s]
        if before and now:
            middle = statistics.median(now)
            times = middle / statistics.median(before)
            telling = middle if len(now) >= MANY_RUNS else min(now)
            if times > worst and telling > max(before):
                worst, which = times, name
    return worst, which


def statement(sample: Sample, unit: str = "") -> str:
    """What the runs prove of the next one without any assumption, in words."""
    if not sample.values:
        return "no run counts"
    largest = size_text(readable_size(sample.largest)) if unit == "bytes" else f"{sample.largest:.3g}{unit}"
    quantile = f"{math.floor(100 * bound.covered_quantile(sample.runs))}%"
    return f"{sample.runs} runs, largest {largest}: with 95 % confidence at least {quantile} of all runs stay below it"
