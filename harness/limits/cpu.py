"""CPUQuota=: the smallest quota that hardly ever holds the service back, found by trial between mean and bound."""

import math
import statistics

from harness.limits import fit
from harness.limits.cliff import Bracket
from harness.limits.fit import sample_of
from harness.limits.limitset import PERIOD_S, LimitSet
from harness.limits.run import LONG_WINDOW_S, Run
from harness.limits.trials import NO_TRIAL_LEFT, Trials

RATIO = 1.08
APART = 2.0
THROTTLED_SHARE = 0.01
# In a load of a second or two a single period is more than that, and chance: where a burst falls in it is another in
# each run. Held back so little, a quota is tried again, and the confirming runs have the last word.
NEAR_SHARE = 0.15
MOST_RUNS = 3
MOST_TRIALS = 6
# A service that idles under load is not worth a smaller quota, which would make its every start slow.
LEAST_PERCENT = 10
# From a quota that is too small on to the next: the start takes more than the load does.
FURTHER = 1.5
# A quota below the mean use must fail: the load would never be done.
BELOW_MEAN = 0.95


def find(trials: Trials) -> None:
    """Find the quota by trial; the window of the demand is as long as the period."""
    found = trials.found
    if not trials.wants("CPUQuota"):
        return
    period_s = _window(trials)
    if found.window is None or not found.window.seen:
        found.note("no CPUQuota=: no run says how much processor time the service takes")
        return
    if not found.window.values:
        found.note("CPUQuota= rests on runs on a busy machine: the service may take more on an idle one")
    means = [run.cpu_percent for run in found.measured if run.cpu_percent is not None]
    mean = max(1.0, statistics.median(means)) if means else 1.0
    bracket = Bracket(ratio=RATIO, apart=APART)
    value = max(LEAST_PERCENT, fit.quota_bound(found.window))
    for _ in range(MOST_TRIALS):
        if not trials.may_search():
            break
        works = _holds(trials, trials.changed(quota_percent=value, period_s=period_s))
        if not _enforced(found.tried[-1]):
            found.note("no CPUQuota=: this machine does not count how long one holds a service back, nor enforces it")
            return
        bracket = bracket.heard(value, works=works)
        if bracket.failed is None and BELOW_MEAN * mean < value:
            bracket = bracket.heard(BELOW_MEAN * mean, works=False)
        if bracket.found or (bracket.worked is not None and bracket.worked <= LEAST_PERCENT):
            break
        value = math.ceil(bracket.next(value) if bracket.worked is not None else FURTHER * value)
        value = max(LEAST_PERCENT, value)
        if value in (bracket.worked, bracket.failed):
            break
    found.quota = bracket
    if bracket.worked is None:
        tried = "was found that does not slow the service down" if bracket.failed else f"was tried: {NO_TRIAL_LEFT}"
        found.note(f"no CPUQuota= {tried}")
        return
    found.limits = trials.changed(quota_percent=int(bracket.worked), period_s=period_s)


def _window(trials: Trials) -> float:
    """The period that the scenario allows and the data can fill; notes the demand in windows of that length."""
    found = trials.found
    found.window = sample_of(found.measured, lambda run: run.window_percent)
    if not trials.settings.stalls:
        return PERIOD_S
    long = sample_of(found.measured, lambda run: run.long_window_percent)
    if not long.seen:
        found.note("the load steps are shorter than a second, so there is no quota over periods of 1 s")
        return PERIOD_S
    found.window = long
    return LONG_WINDOW_S


def _enforced(run: Run) -> bool:
    """Whether the kernel counted what the quota held back, in a run whose use of the processor is known."""
    return run.load_held_back_s is not None or run.cpu_percent is None


def _holds(trials: Trials, limits: LimitSet) -> bool:
    """Whether the service works, is hardly ever held back, and keeps its pace.

    What was never held back is not slower for the quota, whatever its times are.
    """
    for _ in range(MOST_RUNS):
        run = trials.search(limits, "quota")
        limits = run.limits
        share = run.throttled_share
        near = share is not None and THROTTLED_SHARE < share <= NEAR_SHARE
        if not run.passed or not near or not trials.may_search():
            break
    if not run.passed or (share is not None and share > THROTTLED_SHARE):
        return False
    if share is not None and run.load_held_back_s == 0:
        return run.start_held_back_s == 0 or trials.starts_fast([run])
    return trials.is_fast(limits, "quota", first=run)
