"""Asking for trials: the budget, and how a run compares with those beside it that had no limits."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from harness.judge.verdict import Outcome
from harness.limits import fit
from harness.limits.found import CutOff, Found, Settings, Stopped
from harness.limits.limitset import DIRECTIVES, NO_LIMITS, LimitSet
from harness.limits.run import Cause, Run

# Runs without limits that a slowdown is judged against: the last ones, so that a drift of the machine cancels.
BESIDE = 5
# A start that is slower by less than this is nobody's concern, whatever the factor.
START_NOISE_S = 0.25
# A limit that a failure points to is raised by this factor.
RAISE = 1.2
# Runs without limits in between the confirming ones.
CONFIRM_BESIDE = 2
NO_TRIAL_LEFT = "limits.max_trials leaves too few trials beside those that measure and confirm"
TOO_BUSY = "in some runs at limits the host was busy: how fast the load was in them was not judged"
Attempt = Callable[[LimitSet, str], Run]


class Trials:
    """Runs candidates one by one through `attempt(limits, purpose)`, and keeps what came out in `found`."""

    def __init__(self, settings: Settings, attempt: Attempt) -> None:
        self.settings = settings
        self.found = Found()
        self._attempt = attempt
        self._silent_cleared = False

    def wants(self, directive: str) -> bool:
        """Whether a limit may be set at all."""
        return directive not in self.settings.leave_alone

    def left(self) -> int:
        """Trials that the budget still allows."""
        return self.settings.max_trials - self.found.trials

    def may_search(self, trials: int = 1) -> bool:
        """Whether so many trials may still go into a search: those for confirming are kept back."""
        return self.left() - trials >= self.settings.confirm_runs + CONFIRM_BESIDE

    def try_(self, limits: LimitSet, purpose: str) -> Run:
        """One trial, at limits no looser than the unit's own. Raises Stopped when no more can be had."""
        found = self.found
        if self.left() <= 0:
            raise Stopped(f"the budget of {self.settings.max_trials} trials is spent")
        run = self._attempt(limits.together_with(self.settings.own), purpose)
        if run.outcome is Outcome.UNRESOLVED:
            raise CutOff(run.reason)
        run = replace(run, limits=limits)
        if run.cause is Cause.FILES and limits.together_with(self.settings.own).files is None:
            run = replace(run, cause=Cause.OTHER)  # what inotify says of its instances, or the kernel's own default
        {"measure": found.measured, "confirm-limits": found.confirming}.get(purpose, found.tried).append(run)
        return run

    def search(self, limits: LimitSet, purpose: str) -> Run:
        """One trial in search of a limit, whose failure is that limit's.

        What fails for want of tasks is tried again with more of them; what fails for no known reason once more as it
        is, as a service may fail by itself, and then without the limits that no counter speaks for.
        """
        run = self.try_(limits, purpose)
        while run.cause is Cause.TASKS and limits.tasks is not None and self.may_search():
            before = self.found.limits
            self.found.limits = self.changed(**more_tasks(before))
            if self.found.limits == before:
                break
            self.found.note(f"trial {run.trial_id} failed for want of tasks at TasksMax={limits.tasks}: raised")
            limits = limits.with_(tasks=self.found.limits.tasks, processes=self.found.limits.processes)
            run = self.try_(limits, purpose)
        if run.cause is Cause.OTHER and self.may_search(2):
            run = self.try_(limits, purpose)
        before = self.found.limits
        if self.lighten(run):
            lighter = self.found.limits
            run = self.try_(limits.with_(files=lighter.files, processes=lighter.processes), purpose)
            if not run.passed:
                self._restore(before)
        return run

    def measure(self) -> Run:
        """One run without limits."""
        return self.try_(NO_LIMITS, "measure")

    def changed(self, **values: Any) -> LimitSet:
        """The limits as they stand with some changed, none looser than the unit's own."""
        return self.found.limits.with_(**values).no_looser_than(self.settings.own)

    def ceiling_bytes(self) -> int:
        """The most memory that was ever charged to the unit without a limit: surely enough."""
        return max((run.peak_bytes or 0 for run in self.found.measured), default=0)

    def lighten(self, run: Run) -> bool:
        """Leave out LimitNOFILE= and LimitNPROC=, which no counter speaks for, when a run failed and none says why.

        Where the service itself says that it had no descriptor left, that is LimitNOFILE= alone.
        """
        found = self.found
        if run.cause not in (Cause.OTHER, Cause.FILES) or (run.cause is Cause.OTHER and self._silent_cleared):
            return False
        silent = ("LimitNOFILE",) if run.cause is Cause.FILES else ("LimitNOFILE", "LimitNPROC")
        fields = {name: DIRECTIVES[name] for name in silent}
        blamed = [
            name for name in silent if getattr(found.limits, fields[name]) is not None and name not in found.refused
        ]
        if not blamed:
            return False
        found.refused |= dict.fromkeys(blamed, run)
        found.limits = found.limits.with_(**dict.fromkeys(fields.values()))
        return True

    def _restore(self, limits: LimitSet) -> None:
        """Take them back in after all: the failure came without them too."""
        self._silent_cleared = True
        self.found.refused.clear()
        self.found.limits = self.found.limits.with_(files=limits.files, processes=limits.processes)

    def is_fast(self, limits: LimitSet, purpose: str, *, first: Run | None = None) -> bool:
        """Whether a candidate works within the allowed slowdown; a slow run is repeated with one beside it.

        Slow is what is dearer than that one, too: a host may be slower for a while. `first` is a run that was made
        before.
        """
        runs = [first or self.search(limits, purpose)]
        if not runs[0].passed or self.keeps_pace(runs) or not self.may_search(2):
            return runs[0].passed
        between = self.measure()
        runs.append(self.try_(runs[0].limits, purpose))
        return runs[1].passed and (self.keeps_pace(runs) or self.keeps_pace(runs, [between]))

    def keeps_pace(self, runs: Sequence[Run], beside: Sequence[Run] = ()) -> bool:
        """Whether runs were fast enough under load and at the start."""
        return self.slowdown(runs, beside)[0] <= self.settings.slowdown_max and self.starts_fast(runs)

    def slowdown(self, runs: Sequence[Run], beside: Sequence[Run] = ()) -> tuple[float, str]:
        """How many times dearer the load is than in the runs `beside`, and which figure says so.

        Without any that tells, the last runs without limits are taken. Times taken while other work had the processors
        say nothing, and are not compared.
        """
        quiet = [run for run in runs if not run.busy]
        if not quiet:
            self.found.note(TOO_BUSY)
        return fit.slowdown(quiet, _telling(beside) or self._beside())

    def _beside(self) -> list[Run]:
        return _telling(self.found.measured)[-BESIDE:]

    def starts_fast(self, runs: Sequence[Run]) -> bool:
        """By the time that starts take; on a busy host by how long the quota held them back."""
        before = [run.start_s for run in self._beside() if run.start_s is not None]
        middle_s = statistics.median(before) if before else 0.0
        more_s = max((self.settings.start_slowdown_max - 1) * middle_s, START_NOISE_S)
        held_back = [run.start_held_back_s for run in runs if run.busy and run.start_held_back_s is not None]
        now = [run.start_s for run in runs if run.start_s is not None and not run.busy]
        if held_back and statistics.median(held_back) > more_s:
            return False
        return not before or not now or statistics.median(now) <= middle_s + more_s


def more_tasks(limits: LimitSet) -> dict[str, int]:
    """TasksMax= raised, and LimitNPROC= with it."""
    if limits.tasks is None:
        return {}
    tasks = max(limits.tasks + 1, math.ceil(limits.tasks * RAISE))
    return {"tasks": tasks} | ({} if limits.processes is None else {"processes": tasks})


def _telling(runs: Sequence[Run]) -> list[Run]:
    """Those whose times say something."""
    return [run for run in runs if run.passed and not run.busy]
