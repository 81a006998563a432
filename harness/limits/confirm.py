"""Confirming: clean runs at all limits together, with runs without limits in between; what fails is loosened."""

import math
from collections.abc import Sequence

from harness.limits.cpu import NEAR_SHARE, RATIO, THROTTLED_SHARE
from harness.limits.found import Found, State, Stopped
from harness.limits.limitset import NO_LIMITS
from harness.limits.memory import higher
from harness.limits.run import Cause, Run
from harness.limits.trials import CONFIRM_BESIDE, RAISE, Trials, more_tasks

# After so many confirming runs one without limits, so that both see the same machine.
BESIDE_EVERY = 5
# A service may fail by itself now and then: only a second failure that no counter explains loosens the limits.
MOST_UNCLEAR = 1
# A quota holds back more than it should where so many periods would come by chance no more often than this.
CHANCE = 0.001
# Runs without limits after those that seemed slow: the host may have become slower than it was before them.
MEASURED_AFTER = 3


def confirm(trials: Trials) -> None:
    """Run at the limits until enough runs in a row were clean, or the budget is spent."""
    found, settings = trials.found, trials.settings
    found.state = State.UNCONFIRMED
    if found.limits == NO_LIMITS:
        raise Stopped("no limit could be fitted")
    while True:
        _clean_runs(trials)
        found.slowdown = trials.slowdown(found.at_limits)
        if found.slowdown[0] > settings.slowdown_max:
            found.slowdown = _compared_again(trials)
        if found.slowdown[0] <= settings.slowdown_max:
            found.state = State.CONFIRMED
            _note_cliff(found, works=True)
            _note_quota(found, works=True)
            _note_periods(found)
            return
        found.note(f"at the limits {found.slowdown[1]} is {found.slowdown[0]:.2f} times that without: raised")
        _raise_slow(trials)


def _compared_again(trials: Trials) -> tuple[float, str]:
    """The slowdown against runs between and after the confirming ones, and none of those long before."""
    found = trials.found
    for _ in range(min(MEASURED_AFTER, trials.left())):
        trials.measure()
    first = found.at_limits[0].trial_id
    return trials.slowdown(found.at_limits, [run for run in found.measured if run.trial_id > first])


def _clean_runs(trials: Trials) -> None:
    """Runs at the limits until as many as asked were clean; each failure loosens something and starts anew."""
    found, wanted = trials.found, trials.settings.confirm_runs
    beside = 0
    while found.clean < wanted:
        if found.limits == NO_LIMITS:
            raise Stopped("no limit is left to confirm")
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
        elif _eased(trials):
            beside = min(beside, found.clean)


def _eased(trials: Trials) -> bool:
    """Raise a quota that held the service back in more periods of the confirming runs than chance has it.

    One run of a short load has too few periods to tell 1 %, and one beside other work catches up afterwards. Nothing
    has failed, so where the budget does not last for all the runs that are asked for, those that were clean at the
    tighter quota count.
    """
    found, limits, wanted = trials.found, trials.found.limits, trials.settings.confirm_runs
    periods, throttled = _periods([run for run in found.at_quota if not run.busy])
    if limits.quota_percent is None or chance_of(round(throttled), THROTTLED_SHARE * periods) > CHANCE:
        return False
    share = throttled / periods
    quota = math.ceil(limits.quota_percent * (RATIO if share > NEAR_SHARE else math.sqrt(RATIO)))
    raised = trials.changed(quota_percent=quota)
    anew = trials.left() >= wanted + CONFIRM_BESIDE
    if raised == limits or (found.clean >= wanted and not anew):
        return False
    told = f"CPUQuota={limits.quota_percent}% held back {share:.0%} of {periods} periods of confirming runs: raised"
    if not anew:
        told += f", and those {len(found.at_quota)} runs count, since too few trials are left to start anew"
        found.eased.append(limits)
    found.note(told)
    _note_quota(found, works=False)
    found.limits = raised
    return True


def _periods(runs: Sequence[Run]) -> tuple[int, float]:
    """Quota periods of the load of all these runs, and those in which they were held back."""
    told = [(run.load_periods or 0, run.throttled_share) for run in runs if run.throttled_share is not None]
    return sum(periods for periods, _ in told), sum(periods * share for periods, share in told)


def chance_of(count: int, expected: float) -> float:
    """Chance of so many rare events, or more, where so many are expected (Poisson)."""
    if expected <= 0:
        return 0.0 if count else 1.0
    logs = (number * math.log(expected) - expected - math.lgamma(number + 1) for number in range(count))
    return 1 - math.fsum(math.exp(log) for log in logs)


def _raise(trials: Trials, run: Run) -> None:
    """Loosen what a failed run points to; all that could have done it where that is not clear."""
    found = trials.found
    if trials.lighten(run):
        return
    found.note(f"trial {run.trial_id} failed at the limits ({run.cause.value}: {run.reason}): raised")
    limits = found.limits
    if run.cause is Cause.MEMORY:
        _note_cliff(found, works=False)
    if run.cause is Cause.CPU:
        _note_quota(found, works=False)
    values: dict[str, int] = {}
    if run.cause in (Cause.MEMORY, Cause.OTHER):
        values |= higher(limits, RAISE)
    if limits.quota_percent is not None and run.cause in (Cause.CPU, Cause.OTHER):
        values["quota_percent"] = math.ceil(limits.quota_percent * RAISE)
    if run.cause in (Cause.TASKS, Cause.OTHER):
        values |= more_tasks(limits)
    _loosen(trials, values)


def _note_cliff(found: Found, *, works: bool) -> None:
    """What runs at the limit say of the cliff too."""
    if found.memory_cliff is not None and found.limits.memory_bytes is not None:
        found.memory_cliff = found.memory_cliff.heard(found.limits.memory_bytes, works=works)


def _note_quota(found: Found, *, works: bool) -> None:
    """The same of the quota: what held the confirming runs back is not the one that does not."""
    if found.quota is not None and found.limits.quota_percent is not None:
        found.quota = found.quota.heard(found.limits.quota_percent, works=works)


def _note_periods(found: Found) -> None:
    """How often the quota holds the service back, where it is more than was meant; busy runs only without others."""
    periods, throttled = _periods([run for run in found.at_quota if not run.busy] or found.at_quota)
    share = throttled / max(1, periods)
    if found.limits.quota_percent is not None and share > THROTTLED_SHARE:
        told = f"at CPUQuota={found.limits.quota_percent}% the confirming runs were held back in {share:.0%} of periods"
        found.note(f"{told}, and kept their pace")


def _raise_slow(trials: Trials) -> None:
    """Loosen what makes the confirming runs slow: the quota when it explains most of them, else memory."""
    found, limits = trials.found, trials.found.limits
    held_back = 2 * sum(_is_slow_by_quota(run, found.slowdown[0]) for run in found.at_limits) > len(found.at_limits)
    if limits.quota_percent is not None and (held_back or limits.memory_bytes is None):
        _loosen(trials, {"quota_percent": math.ceil(limits.quota_percent * RAISE)})
    elif limits.memory_bytes is not None:
        _loosen(trials, higher(limits, RAISE))
    else:
        raise Stopped("the service is slower at the limits, and none is left to raise")


def _is_slow_by_quota(run: Run, slowdown: float) -> bool:
    """Whether the quota held a run back in the load, or in its first periods for half of the time it took longer."""
    if (run.throttled_share or 0.0) > THROTTLED_SHARE:
        return True
    held_back_s, load_s = run.load_held_back_s or 0.0, (run.load_periods or 0) * run.limits.period_s
    return held_back_s > 0 and 2 * held_back_s >= (slowdown - 1) * load_s


def _loosen(trials: Trials, values: dict[str, int]) -> None:
    raised = trials.changed(**values)
    if raised == trials.found.limits:
        own = trials.settings.own != NO_LIMITS
        raise Stopped(
            "the service fails at " + ("the unit's own limits" if own else "limits, and none is left to raise")
        )
    trials.found.limits = raised
    trials.found.eased.clear()
