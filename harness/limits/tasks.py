"""TasksMax=, LimitNOFILE=, LimitNPROC=: counts, of which the cliff of the first is found exactly by trial."""

from harness.limits import fit
from harness.limits.cliff import Bracket
from harness.limits.limitset import LimitSet
from harness.limits.trials import Trials

MOST_CLIFF_TRIALS = 3


def set_counts(trials: Trials) -> None:
    """Set what follows from the measured counts alone."""
    found = trials.found
    values: dict[str, int] = {}
    if trials.wants("TasksMax") and found.tasks is not None and found.tasks.seen:
        values["tasks"] = fit.filled(found.tasks, found.measured, lambda run: run.tasks).count_bound
    if trials.wants("LimitNOFILE") and found.files is not None and found.files.seen:
        values["files"] = fit.descriptors(found.files)
    if trials.settings.dedicated_user and trials.wants("LimitNPROC") and "tasks" in values:
        values["processes"] = values["tasks"]
    found.limits = trials.changed(**values) if values else found.limits


def find_cliff(trials: Trials) -> None:
    """The exact cliff of TasksMax=: the largest number seen is enough, and one less than the smallest is tried."""
    found = trials.found
    counts = [run.tasks for run in found.measured if run.passed and run.tasks is not None]
    if found.limits.tasks is None or not counts or max(counts) < 2:
        return
    bracket = Bracket(ratio=1.0, apart=1.0).heard(max(counts), works=True)
    value = min(counts) - 1
    for _ in range(MOST_CLIFF_TRIALS):
        run = trials.try_(LimitSet(tasks=value), "cliff")
        bracket = bracket.heard(value, works=run.passed)
        if bracket.found or bracket.worked is None or value <= 1:
            break
        value = value - 1 if bracket.failed is None else int((bracket.failed + bracket.worked) // 2)
    found.tasks_cliff = bracket
