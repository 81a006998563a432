"""The walk of the limits: measure, fit, find cliff and knee by trial, confirm. It knows nothing of machines.

What it asks next follows from what it heard, so that walking over a stored run asks for the same trials again.
"""

from harness.limits import confirm, cpu, fit, memory, tasks
from harness.limits.bound import LEAST_RUNS
from harness.limits.fit import sample_of
from harness.limits.found import CutOff, Found, Settings, State, Stopped
from harness.limits.trials import Attempt, Trials

# Runs that are measured further at most: while the bound still moves, and to make up for censored ones.
FURTHER_RUNS = 4
MOST_REASONS = 3


def walk(settings: Settings, attempt: Attempt) -> Found:
    """Walk to the end, or to where the budget ends; the state says which. `attempt(limits, purpose)` makes one run."""
    trials = Trials(settings, attempt)
    try:
        _measure(trials)
        _fit(trials)
        tasks.set_counts(trials)
        tasks.find_cliff(trials)
        memory.find(trials)
        cpu.find(trials)
        confirm.confirm(trials)
    except Stopped as stopped:
        trials.found.stop = stopped.message
        if isinstance(stopped, CutOff):
            trials.found.state = State.PARTIAL
        elif trials.found.state is State.PARTIAL:
            trials.found.state = State.UNCONFIRMED  # the same command would come to the same end
    return trials.found


def _measure(trials: Trials) -> None:
    """Runs without limits: as many as asked, and more while the bound moves or runs are censored."""
    found, wanted = trials.found, trials.settings.runs
    while len(found.measured) < wanted + FURTHER_RUNS:
        needed = sample_of(found.measured, lambda run: run.needed_bytes)
        if needed.runs >= wanted and needed.settled:
            return
        if len(found.measured) >= wanted and not needed.seen and any(run.passed for run in found.measured):
            return  # no figure of memory will come
        trials.measure()


def _fit(trials: Trials) -> None:
    """Samples of every quantity. Raises Stopped when too few runs worked to say anything."""
    found = trials.found
    for run in found.measured:
        if not run.passed:
            found.note(f"trial {run.trial_id} failed without any limit: {run.reason}")
    found.needed = sample_of(found.measured, lambda run: run.needed_bytes)
    found.tasks = sample_of(found.measured, lambda run: run.tasks)
    found.files = sample_of(found.measured, lambda run: run.fd_highest)
    found.leak = fit.leak(found.measured)
    reasons = sorted({reason for run in found.measured for reason in run.censored})
    if reasons:
        count = sum(bool(run.censored) for run in found.measured)
        told = "; ".join(reasons[:MOST_REASONS])
        found.note(f"{count} of {len(found.measured)} runs without limits are censored ({told})")
    if any(run.cpu_percent is not None for run in found.measured) and all(
        run.long_window_percent is None for run in found.measured
    ):
        found.note("the load lasted less than a second, so much of its time is chance: let it last two or more")
    worked = sum(run.passed for run in found.measured)
    if worked < LEAST_RUNS:
        found.state = State.NOT_ENOUGH_DATA
        raise Stopped(f"not enough data: {worked} of {len(found.measured)} runs without limits worked")
