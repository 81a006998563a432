"""The walk: baseline, search, confirmation, recommendation.

The only place beside one trial where touching and thinking meet. Everything it decides follows from the scenario, the
inspection and the stored observations, so that the same walk over a stored run gives the same answer without a machine.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from harness.attempts import Attempts, Request, labels
from harness.bare import Bare, start_of
from harness.errors import BaselineError
from harness.fitting import Fitting
from harness.inspection import Inspection
from harness.judge.baseline import Baseline
from harness.judge.rules import judge
from harness.judge.verdict import Outcome, Verdict
from harness.judging import Judged, Judging
from harness.limits.found import Found
from harness.observation import Observation
from harness.results.earlier import Earlier
from harness.results.recommendation import Answer, Confirmation
from harness.scenario import Scenario, StepKind
from harness.search import run_as
from harness.search.needs import Tree, Used, asked_of_tree, needs_of
from harness.search.options import Attempt, Option
from harness.search.prior import risks
from harness.search.result import Budget, Progress, SearchResult, Settings, Stop
from harness.search.sequential import Errors, Reliability
from harness.search.settle import Settling, Trials, until_told
from harness.unit import catalogue, dropin
from harness.unit.canary import CanaryResult, Standing, enforceable
from harness.unit.needs import Needs
from harness.unit.tightening import LeftOut, Offer, Tightening, left_out, offers
from harness.unit.unitfile import parse_cat

# Most trials spent on why a refused tightening fails: by itself, by chance, or together with another.
PAIR_TRIALS = 12


class Only(Enum):
    """Which part of a tuning is asked for."""

    BOTH = "both"
    DIRECTIVES = "directives"
    LIMITS = "limits"


@dataclass(frozen=True)
class Limits:
    """Where a run stops: trials (None is no limit) and a question asked before each batch."""

    max_trials: int | None = None
    expired: Callable[[], bool] = lambda: False


@dataclass
class Walk:
    """One walk over a scenario.

    `tree` tells what the root tree holds at some paths, and the same when asked again. With `only` the limits, `given`
    is what an earlier run tightened; with an `earlier` run the search goes on from its answer. `heard` is told of
    progress, and never changes what is decided.
    """

    scenario: Scenario
    inspection: Inspection
    attempts: Attempts
    workers: int
    tree: Callable[[Sequence[str]], Tree]
    canaries: tuple[CanaryResult, ...] = ()
    limits: Limits = field(default_factory=Limits)
    only: Only = Only.BOTH
    given: frozenset[Tightening] = frozenset()
    earlier: Earlier | None = None
    heard: Callable[[str, Progress | None], None] = lambda phase, progress: None

    def __post_init__(self) -> None:
        self.catalogue = catalogue.load()
        self.unit = parse_cat(self.inspection.unit_text)
        self.start = start_of(self.scenario, self.inspection)
        self.needs = Needs(networks=self.scenario.networks)
        self.judging = Judging(self.scenario, self.inspection, self.attempts, self.catalogue)
        self.exposures: dict[frozenset[Tightening], list[float | None]] = {}
        self.bare = self._bare()

    def run(self, *, spent_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> Answer:
        """Walk to the end, or to where the limits stop it; `spent_s` was spent before, in a run that was cut off.

        Raises BaselineError when the service does not pass its own scenario, MachineError when it cannot be tried.
        """
        began = clock()
        self.bare = self._bare()
        observations = self.bare.run()
        baseline = Baseline.of(observations)
        refused_user = None
        if self.scenario.run_as and not self.start.has_user:
            observations, refused_user = self._as_user(observations, baseline)
            baseline = Baseline.of(observations)
        self.attempts.patience_s = baseline.patience_s(self.scenario)
        self.needs = self._needs_of(baseline)
        offered, excluded = self._offers()
        if self.only is Only.LIMITS:
            result = SearchResult.taken(self.given)
            confirmation = self._confirm(self.given, baseline)
            if confirmation.outcome is Outcome.UNRESOLVED:
                result = replace(result, stop=Stop.MACHINE_LOST)
        else:
            result, confirmation = self._search(self._options(offered, baseline), baseline)
        limits = self._fit_limits(result, baseline) if self._wants_limits and confirmation.passed else None
        return Answer(
            scenario=self.scenario,
            inspection=self.inspection,
            start=self.start,
            unit=self.unit,
            result=result if refused_user is None else result.refusing(*refused_user),
            confirmation=confirmation,
            left_out=excluded,
            canaries=self.canaries,
            needs=self.needs,
            limits=limits,
            reliability=self.bare.reliability,
            earlier="" if self.earlier is None else self.earlier.name,
            tracer="" if self.bare.seen is None else self.bare.seen.tracer,
            trace_failed=self.bare.trace_failed,
            exposure_before=_worst([item.exposure for item in observations]),
            trials=self.attempts.trials,
            duration_s=spent_s + clock() - began,
            verdicts=tuple(verdict for _, verdict in sorted(self.judging.verdicts.items())),
        )

    def render(self, accepted: Sequence[Tightening] | frozenset[Tightening]) -> str:
        """The drop-in text of a candidate."""
        return dropin.render(accepted, self.start, needs=self.needs)

    def plain_baseline(self) -> tuple[list[Observation], Reliability]:
        """The baseline runs that passed, without a traced one, and how many did not. Raises as `run` does."""
        self.heard("baseline", None)
        bare = self._bare()
        return bare.run_plain(), bare.reliability

    def _bare(self) -> Bare:
        text, before = self.render(()), () if self.earlier is None else self.earlier.baseline
        return Bare(
            self.scenario, self.attempts, self.catalogue, text, unit=self.unit, keep=self.judging.keep, earlier=before
        )

    def _as_user(
        self, observations: list[Observation], baseline: Baseline
    ) -> tuple[list[Observation], tuple[Tightening, tuple[Verdict, ...]] | None]:
        """The baseline as the user that the scenario asks for, or the old one and why it has to stay root."""
        before = self.start, self.bare
        needs = self._needs_of(baseline)
        self.start = replace(
            self.start, run_as=run_as.lines(self.scenario.run_as, baseline.written, needs, self.bare.seen)
        )
        self.bare = self._bare()
        try:
            found = self.bare.run()
            lost = self._novel(found, baseline)
        except BaselineError:
            lost = tuple(verdict for verdict in self.bare.verdicts if verdict.failed)
        if not lost:
            return found, None
        self.start, self.bare = before
        return observations, (run_as.tightening(self.scenario.run_as), lost)

    def _novel(self, observations: Sequence[Observation], baseline: Baseline) -> tuple[Verdict, ...]:
        """Failures by what the service newly logs, or no longer does; its files and users are others now."""
        known = replace(baseline, kept_files=frozenset(), identities={}, privileges={})
        verdicts = [judge(self.scenario, item, catalogue=self.catalogue, baseline=known) for item in observations]
        return tuple(verdict for verdict in verdicts if verdict.failed)

    def _needs_of(self, baseline: Baseline) -> Needs:
        """What candidates must spare; what the root tree holds was asked once, and is a fact of the run."""
        tree = self.tree(asked_of_tree(Used.of(baseline, self.bare.seen), self.unit))
        return needs_of(
            self.scenario,
            self.unit,
            baseline,
            self.bare.seen,
            tree=tree,
            idle=self.inspection.written,
            has_user=self.start.has_user,
            groups=self.inspection.syscall_groups,
            withheld=self.inspection.withheld,
            listening=self.bare.listening,
        )

    def _offers(self) -> tuple[tuple[Offer, ...], tuple[LeftOut, ...]]:
        """What the search may choose from, and what is left out with why."""
        later = dropin.set_later(self.unit)
        asked: dict[str, Any] = {"version": self.inspection.systemd_version, "start": self.start, "needs": self.needs}
        offered, vacuous = enforceable(offers(self.catalogue, **asked), self.canaries)
        told = [
            replace(item, reason=f"{later[item.directive]} comes after {dropin.FILE_NAME} and sets it")
            if item.directive in later
            else item
            for item in left_out(self.catalogue, **asked)
        ]
        return offered, (*told, *vacuous)

    def _options(self, offered: Sequence[Offer], baseline: Baseline) -> list[Option[Tightening]]:
        groups = self.inspection.syscall_groups
        chances = risks(
            offered,
            baseline,
            self.scenario,
            seen=self.bare.seen,
            needs=self.needs,
            groups=groups,
            as_root=not self.start.has_user,
        )
        return [
            Option(
                key=offer.tightening,
                requires=offer.requires,
                weight=offer.weight,
                risk=chances[offer.tightening],
                group=offer.tightening.directive,
            )
            for offer in offered
        ]

    def _search(
        self, options: list[Option[Tightening]], baseline: Baseline
    ) -> tuple[SearchResult[Tightening], Confirmation]:
        def attempt(candidates: Sequence[frozenset[Tightening]]) -> list[Verdict]:
            return [verdict for verdict, _ in self._try(candidates, baseline, purpose="search")]

        wanted = self.scenario.flaky
        settled = Settling(
            options if self.earlier is None else self.earlier.options(options),
            Trials(attempt, self._confirming(baseline), self.bare.measure),
            self.bare.reliability,
            confirm_runs=self.scenario.confirm_runs,
            proven_before=self.earlier is not None,
            settings=Settings(workers=self.workers, pair_trials=PAIR_TRIALS),
            budget=self._budget,
            errors=Errors(wanted.false_refusal, wanted.false_acceptance),
            progress=self.heard,
        ).run()
        exposure = _worst(self.exposures.get(settled.result.accepted, []))
        result = settled.result if self.earlier is None else self.earlier.completed(settled.result, options)
        return result, Confirmation(settled.verdicts, exposure, settled.confirmed)

    def _budget(self) -> Budget:
        """What is left; the search counts questions, some of which take several trials."""
        left = self._trials_left()
        return Budget(max_trials=left, expired=lambda: self.limits.expired() or self._trials_left() == 0)

    def _trials_left(self) -> int | None:
        if self.limits.max_trials is None:
            return None
        return max(0, self.limits.max_trials - self.attempts.trials - self.scenario.confirm_runs)

    def _try(self, candidates: Sequence[frozenset[Tightening]], baseline: Baseline, *, purpose: str) -> list[Judged]:
        requests = [Request(self.render(item), labels(item), purpose) for item in candidates]
        return self.judged(requests, baseline)

    def judged(self, requests: Sequence[Request], baseline: Baseline) -> list[Judged]:
        """Run and judge, in order; what may be chance is tried again (`Judging.run`)."""
        return self.judging.run(requests, baseline, plain=self._bare().plain, said=self.bare.templates)

    @property
    def _wants_limits(self) -> bool:
        """Without a load step nothing says what the service takes, so limits are fitted only when asked for."""
        loaded = any(step.kind is StepKind.LOAD for step in self.scenario.steps)
        asked = self.only is Only.LIMITS or "limits" in self.scenario.model_fields_set
        return self.only is not Only.DIRECTIVES and (loaded or asked)

    def _fit_limits(self, result: SearchResult[Tightening], baseline: Baseline) -> Found:
        baseline = self.judging.known(baseline, said=self.bare.templates)

        def stop() -> str:
            spent = self.limits.max_trials is not None and self.attempts.trials >= self.limits.max_trials
            return "stopped" if spent or self.limits.expired() else ""

        return Fitting(
            scenario=self.scenario,
            unit=self.unit,
            unified=self.inspection.cgroups == "v2",
            leave_alone=frozenset(self.start.leave_alone),
            vacuous=frozenset(item.directive for item in self.canaries if item.standing is Standing.VACUOUS),
            own_user=self.start.has_user and (self.scenario.limits.dedicated_user or self.start.dynamic_user),
            candidate=Request(self.render(result.accepted), labels(result.accepted)),
            attempts=self.attempts,
            judge=lambda item: self.judging.verdict(item, baseline),
            stop=stop,
            heard=lambda phase: self.heard(phase, None),
        ).run()

    def _confirm(self, accepted: frozenset[Tightening], baseline: Baseline) -> Confirmation:
        self.heard("confirm", None)
        runs = until_told(self._confirming(baseline), accepted, self.scenario.confirm_runs)
        return Confirmation.of_all(runs, _worst(self.exposures[accepted]))

    def _confirming(self, baseline: Baseline) -> Attempt[Tightening]:
        def confirm(candidates: Sequence[frozenset[Tightening]]) -> list[Verdict]:
            judged = self._try(candidates, baseline, purpose="confirm")
            for candidate, (_, observation) in zip(candidates, judged, strict=True):
                self.exposures.setdefault(candidate, []).append(observation.exposure)
            return [verdict for verdict, _ in judged]

        return confirm


def _worst(exposures: Sequence[float | None]) -> float | None:
    measured = [value for value in exposures if value is not None]
    return max(measured) if measured else None


__all__ = ["Limits", "Offer", "Only", "Walk"]
