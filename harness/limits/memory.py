"""MemoryMax=: the cliff by bisection, the limit above it, and the knee where that limit is too slow."""

import statistics

from harness.limits import fit
from harness.limits.cliff import Bracket
from harness.limits.fit import Sample
from harness.limits.limitset import LimitSet
from harness.limits.run import Cause, Run
from harness.limits.trials import NO_TRIAL_LEFT, Trials
from harness.unit.quantity import readable_size

CLIFF_RATIO = 1.03
# The kernel charges memory in batches of 64 pages for each processor: finer than this there is no cliff.
CLIFF_APART_BYTES = 256 * 1024
MOST_CLIFF_TRIALS = 8
KNEE_RATIO = 1.10
MOST_KNEE_TRIALS = 5
MOST_RAISES = 3
# With this much above the highest peak, a failure is not for want of memory.
ABOVE_PEAK = 1.1
PAGE_BYTES = 4096
# Where the kernel keeps no peak, samples may have missed this much of it.
ABOVE_SAMPLED = 2.0
# A run that needed so much more than its limit was not held to it.
BEYOND_LIMIT = 1.1
# From MemoryHigh= to MemoryMax= there must be room for what is charged before the slowing down takes hold.
ROOM_ABOVE_HIGH = 1.2


def find(trials: Trials) -> None:
    """Find cliff, limit and knee by trial; says so and sets nothing when the service leaks."""
    found = trials.found
    if not trials.wants("MemoryMax"):
        return
    if found.needed is None or not found.needed.seen:
        found.note("no MemoryMax=: no run says how much memory the service takes")
        return
    if found.leak is not None:
        rate = found.leak.bytes_per_s / 2**20
        found.note(
            f"memory grew steadily by {rate:.2g} MiB/s over {found.leak.over_s:.1f} s of work, to the end: a leak, or "
            f"data that the workload adds. A MemoryMax= would kill the service sooner or later, so none is set"
        )
        return
    found.memory_cliff = _cliff(trials)
    if found.memory_cliff is None:
        found.note("no MemoryMax=: a run took more than its limit, so that this machine does not enforce one")
        return
    if found.memory_cliff.worked is None:
        short = "" if trials.may_search() else f": {NO_TRIAL_LEFT}"
        found.note(f"no MemoryMax= was found that the service works with{short}")
        return
    found.limits = trials.changed(memory_bytes=_above(trials, found.memory_cliff.worked))
    _knee(trials, _hold(trials))
    _note_growth(trials)
    if trials.settings.memory_high:
        found.limits = trials.changed(**higher(found.limits.with_(memory_high_bytes=found.limits.memory_bytes), 1.0))


def higher(limits: LimitSet, factor: float) -> dict[str, int]:
    """The memory limits that are set, raised: MemoryHigh= where there is one, and MemoryMax= above it."""
    if limits.memory_high_bytes is not None:
        high = readable_size(limits.memory_high_bytes * factor)
        return {"memory_high_bytes": high, "memory_bytes": readable_size(high * ROOM_ABOVE_HIGH)}
    return {} if limits.memory_bytes is None else {"memory_bytes": readable_size(limits.memory_bytes * factor)}


def _above(trials: Trials, cliff_bytes: float) -> int:
    processors = next((run.processors for run in trials.found.measured if run.processors), 1)
    cliff = trials.found.memory_cliff
    too_little = cliff.failed if cliff is not None and cliff.failed is not None else 0
    return fit.memory_limit(cliff_bytes, needed(trials), too_little_bytes=too_little, processors=processors)


def needed(trials: Trials) -> Sample:
    """What cannot be reclaimed, from runs without limits; from censored ones too where there are few others."""
    sample = trials.found.needed
    assert sample is not None
    return fit.filled(sample, trials.found.measured, lambda run: run.needed_bytes)


def _note_growth(trials: Trials) -> None:
    """What grows too slowly to be called a leak, or was not looked at for long enough, may become one."""
    found = trials.found
    known = [run.growth for run in found.measured if run.growth is not None]
    rising = [growth.bytes_per_s for growth in known if growth.rising]
    if not known:
        found.note("the steps were too short to see whether memory grows all the time: let the load last two seconds")
    elif 2 * len(rising) > len(known):
        rate, limit = statistics.median(rising), found.limits.memory_bytes or 0
        left_s = (limit - statistics.median(needed(trials).values)) / rate
        found.note(
            f"memory rose by {rate / 1024:.0f} KiB/s under load in {len(rising)} of {len(known)} runs: if it goes on, "
            f"MemoryMax= is reached after {max(0.0, left_s):.0f} s of such a load. A longer load tells"
        )


def _cliff(trials: Trials) -> Bracket | None:
    """The bracket; None where no limit is enforced."""
    found = trials.found
    bracket = Bracket(ratio=CLIFF_RATIO, apart=CLIFF_APART_BYTES)
    guess = needed(trials).largest
    most = max(ABOVE_PEAK * trials.ceiling_bytes(), guess)
    if any(run.peak_is_sampled for run in found.measured):
        most = max(most, ABOVE_SAMPLED * guess)
    for _ in range(MOST_CLIFF_TRIALS):
        value = _pages(min(most, bracket.next(guess)))
        run = trials.search(found.limits.with_(memory_bytes=value), "cliff")
        if run.passed and (run.needed_bytes or 0) > BEYOND_LIMIT * value:
            return None
        bracket = bracket.heard(value, works=run.passed)
        hopeless = not run.passed and value >= _pages(most)
        if bracket.found or hopeless or not trials.may_search(2):
            break
    return bracket


def _hold(trials: Trials) -> Run | None:
    """The first run that works at the limit; None when there is none.

    The cliff was found by single trials, and one may have been luck: where a run fails at the limit for want of memory,
    that is the cliff, and the limit is raised as far above it.
    """
    found = trials.found
    for _ in range(MOST_RAISES):
        value, cliff = found.limits.memory_bytes, found.memory_cliff
        assert value is not None
        assert cliff is not None
        if not trials.may_search():
            break
        run = trials.search(found.limits, "knee")
        if run.passed:
            found.memory_cliff = cliff.heard(value, works=True)
            return run
        if run.cause not in (Cause.MEMORY, Cause.OTHER):
            break
        found.memory_cliff = cliff.heard(value, works=False)
        raised = trials.changed(memory_bytes=_above(trials, value))
        if raised == found.limits:
            break  # the unit's own limit
        found.limits = raised
    return None


def _knee(trials: Trials, first: Run | None) -> None:
    """From the limit that the cliff gave upwards to the peak; mostly that limit is fast enough, as its `first` run."""
    found = trials.found
    value = found.limits.memory_bytes
    assert value is not None
    ceiling = max(trials.ceiling_bytes(), value)
    bracket = Bracket(ratio=KNEE_RATIO, apart=4 * CLIFF_APART_BYTES)
    for _ in range(MOST_KNEE_TRIALS):
        if first is None and not trials.may_search():
            break
        works = trials.is_fast(found.limits.with_(memory_bytes=value), "knee", first=first)
        first = None
        if not works and found.tried[-1].cause not in (Cause.NONE, Cause.MEMORY, Cause.OTHER):
            break  # for want of something else: it says nothing of memory
        bracket = bracket.heard(value, works=works)
        if bracket.failed is None or bracket.found or value >= ceiling:
            break
        if bracket.worked is None:
            bracket = bracket.heard(ceiling, works=True)  # without a limit it was at that peak, and fast
        value = _pages(bracket.next(value))
    found.knee = bracket
    if bracket.worked is not None and bracket.failed is not None:
        found.limits = trials.changed(memory_bytes=readable_size(bracket.worked))


def _pages(size_bytes: float) -> int:
    """Whole pages: what a trial is made with needs no readable figure."""
    return max(1, round(size_bytes / PAGE_BYTES)) * PAGE_BYTES
