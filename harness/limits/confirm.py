"""Confirming: clean runs at all limits together, with runs without limits in between; what fails is loosened."""

import math
import statistics

from harness.limits.cpu import THROTTLED_SHARE
from harness.limits.found import Found, State, Stopped
from harness.limits.limitset import NO_LIMITS
from harness.limits.memory import higher
from harness.limits.run import Cause, Run
from harness.limits.trials import Trials

RAISE = 1.2
# After so many confirming runs one without limits, so that both see the same machine.
BESIDE_EVERY = 5
# A service may fail by itself now and then: only a second failure that no counter explains loosens the limits.
MOST_UNCLEAR = 1


def confirm(trials: Trials) -> None:
    """Run at the limits until enough runs in a row were clean, or the budget is spent."""
    found, settings = trials.found, trials.settings
    found.state = State.UNCONFIRMED
    if found.limits == NO_LIMITS:
        raise Stopped("no limit could be fitted")
    while True:
        _clean_runs(trials)
        found.slowdown = trials.slowdown(found.at_limits)
        if found.slowdown[0] <= settings.slowdown_max:
            found.state = State.CONFIRMED
            _note_cliff(found, works=True)
            _note_periods(found)
            return
        found.note(f"at the limits {found.slowdown[1]} is {found.slowdown[0]:.2f} times that without: raised")
        _raise_slow(trials)


def _clean_runs(trials: Trials) -> None:
    """Runs at the limits until as many as asked were clean; each failure loosens something and starts anew."""
    found, wanted = trials.found, trials.settings.confirm_runs
    beside = 0
    while found.clean < wanted:
        if found.clean % BESIDE_EVERY == BESIDE_EVERY - 1 and beside < found.clean:
            beside = found.clean
            if trials.left() > wanted - found.clean:
                trials.measure()
        run = trials.try_(found.limits, "confirm-limits")
        if run.cause is Cause.OTHER and found.failed <= MOST_UNCLEAR:
            found.note(f"trial {run.trial_id} failed at the limits, by no counter because of them: {run.reason}")
        elif not run.passed:
            beside = 0
            _raise(trials, run)


def _raise(trials: Trials, run: Run) -> None:
    """Loosen what a failed run points to; all that could have done it where that is not clear."""
    found = trials.found
    if trials.lighten(run):
        return
    found.note(f"trial {run.trial_id} failed at the limits ({run.cause.value}: {run.reason}): raised")
    limits = found.limits
    if run.cause is Cause.MEMORY:
        _note_cliff(found, works=False)
    values: dict[str, int] = {}
    if run.cause in (Cause.MEMORY, Cause.OTHER):
        values |= higher(limits, RAISE)
    if limits.quota_percent is not None and run.cause in (Cause.CPU, Cause.OTHER):
        values["quota_percent"] = math.ceil(limits.quota_percent * RAISE)
    if limits.tasks is not None and run.cause in (Cause.TASKS, Cause.OTHER):
        values["tasks"] = max(limits.tasks + 1, math.ceil(limits.tasks * RAISE))
    _loosen(trials, values)


def _note_cliff(found: Found, *, works: bool) -> None:
    """What runs at the limit say of the cliff too."""
    if found.memory_cliff is not None and found.limits.memory_bytes is not None:
        found.memory_cliff = found.memory_cliff.heard(found.limits.memory_bytes, works=works)


def _note_periods(found: Found) -> None:
    """How often the quota holds the service back: one run of a short load has too few periods to tell 1 %."""
    shares = [run.throttled_share or 0.0 for run in found.at_limits]
    if found.limits.quota_percent is not None and (share := statistics.fmean(shares)) > THROTTLED_SHARE:
        told = f"at CPUQuota={found.limits.quota_percent}% the confirming runs were held back in {share:.0%} of periods"
        found.note(f"{told}, and kept their pace")


def _raise_slow(trials: Trials) -> None:
    """Loosen what makes the confirming runs slow: the quota when it holds the service back, else memory."""
    limits = trials.found.limits
    throttled = statistics.median(run.throttled_share or 0.0 for run in trials.found.at_limits)
    if limits.quota_percent is not None and (throttled > THROTTLED_SHARE or limits.memory_bytes is None):
        _loosen(trials, {"quota_percent": math.ceil(limits.quota_percent * RAISE)})
    elif limits.memory_bytes is not None:
        _loosen(trials, higher(limits, RAISE))
    else:
        raise Stopped("the service is slower at the limits, and none is left to raise")


def _loosen(trials: Trials, values: dict[str, int]) -> None:
    raised = trials.changed(**values)
    if raised == trials.found.limits:
        raise Stopped("the service fails at the unit's own limits")
    trials.found.limits = raised
