"""Where the walk of the limits meets trials: one sampled trial at a time, judged like every other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import samples
from harness.attempts import Attempts, Request
from harness.judge.verdict import Outcome, Verdict
from harness.limits.found import Found, Settings
from harness.limits.limitset import DIRECTIVES, LimitSet, existing
from harness.limits.run import Run, read
from harness.limits.walk import walk
from harness.observation import Observation
from harness.scenario import Scenario
from harness.unit.unitfile import UnitFile

if TYPE_CHECKING:
    import pandas

# A lost machine says nothing; lost as often as this in a row, there is something wrong with the host.
MOST_LOST = 3


@dataclass(frozen=True)
class Fitting:
    """The hardened candidate whose limits are sought, and how its trials are made and judged.

    `judge` turns an observation into a verdict; `stop` says why no further trial may be made, "" when it may; `heard`
    is told of each phase. `unified` says that the host has cgroup v2 alone, and so what only that has; `leave_alone`
    are directives to stay as the unit has them, `vacuous` those that this host does not enforce, `own_user` says that
    nobody else runs as the unit's user.
    """

    scenario: Scenario
    unit: UnitFile
    unified: bool
    leave_alone: frozenset[str]
    vacuous: frozenset[str]
    own_user: bool
    candidate: Request
    attempts: Attempts
    judge: Callable[[Observation], Verdict]
    stop: Callable[[], str]
    heard: Callable[[str], None]

    def run(self) -> Found:
        """Walk the limits to their end, or to where it was stopped."""
        wanted = self.scenario.limits
        own, unclear = existing(self.unit)
        settings = Settings(
            runs=wanted.runs,
            confirm_runs=wanted.confirm_runs,
            max_trials=wanted.max_trials,
            slowdown_max=wanted.slowdown_max,
            stalls=wanted.stalls,
            memory_high=wanted.memory_high and self.unified,
            dedicated_user=self.own_user,
            leave_alone=self.leave_alone | self.vacuous,
            own=own if wanted.own == "respect" else LimitSet(),
        )
        found = walk(settings, self._attempt)
        if wanted.memory_high and not self.unified:
            found.note("no MemoryHigh=: this host has no cgroup v2, and only that knows it")
        lifted = ["CPUQuotaPeriodSec="]
        if settings.own.memory_high_bytes is None and found.limits.memory_bytes is not None:
            lifted += ["MemoryHigh="]
        found.lifted = tuple(line for line in found.limits.lifting(self.unit) if line.startswith(tuple(lifted)))
        for name in DIRECTIVES:
            if name in self.vacuous - self.leave_alone:
                found.note(f"no {name}=: this host does not enforce it")
        for line in unclear:
            found.note(
                f"{line} of the unit is not understood: it is lifted while measuring, and stays where "
                "nothing is recommended in its place"
            )
        return found

    def _attempt(self, limits: LimitSet, purpose: str) -> Run:
        self.heard(purpose)
        text = limits.drop_in(self.candidate.drop_in, self.unit)
        request = Request(text, self.candidate.tightenings, purpose)
        for _ in range(MOST_LOST):
            if why := self.stop():
                return Run("", limits, Outcome.UNRESOLVED, why)
            (observation,) = self.attempts.run([request])
            verdict = self.judge(observation)
            if verdict.outcome is not Outcome.UNRESOLVED:
                return read(observation, verdict, self._samples(observation), limits)
        return Run(observation.trial_id, limits, Outcome.UNRESOLVED, verdict.reason)

    def _samples(self, observation: Observation) -> pandas.DataFrame | None:
        """Its samples; None when a crash tore the file, which censors the run and stops nothing."""
        try:
            return samples.read(self.attempts.folder(observation))
        except ValueError:
            return None
