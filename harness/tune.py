"""The walk: baseline, search, confirmation, recommendation.

The only place beside one trial where touching and thinking meet. Everything it decides follows from the scenario, the
inspection and the stored observations, so that the same walk over a stored run gives the same answer without a machine.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from harness.attempts import OBSERVE, Attempts, Request, labels
from harness.errors import BaselineError, HarnessError, MachineError
from harness.fitting import Fitting
from harness.inspection import Inspection
from harness.judge.baseline import Baseline
from harness.judge.rules import judge
from harness.judge.verdict import Outcome, Verdict
from harness.limits.found import Found
from harness.observation import Observation, Seen
from harness.results.recommendation import Answer, Confirmation
from harness.scenario import Scenario, StepKind
from harness.scenario import Start as ScenarioStart
from harness.search.backtrack import bisect_accepted
from harness.search.options import Option
from harness.search.prior import made_directories, parents_to_open, risks, writable_paths
from harness.search.result import Budget, Progress, SearchResult, Settings, Stop
from harness.search.search import search
from harness.unit import catalogue, dropin
from harness.unit.canary import CanaryResult, Standing, of_tightening, standing_of
from harness.unit.start import Start, StartKind
from harness.unit.tightening import LeftOut, Offer, Tightening, left_out, offers
from harness.unit.unitfile import UnitFile, parse_cat

# Backtracks after a failed confirmation before the run says that the service is too flaky to decide.
MAXIMUM_BACKTRACKS = 3


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
    """One walk over a scenario; `heard` is told of progress, and never changes what is decided.

    With `only` the limits, `given` is what an earlier run tightened.
    """

    scenario: Scenario
    inspection: Inspection
    attempts: Attempts
    workers: int
    canaries: tuple[CanaryResult, ...] = ()
    limits: Limits = field(default_factory=Limits)
    only: Only = Only.BOTH
    given: frozenset[Tightening] = frozenset()
    heard: Callable[[str, Progress | None], None] = lambda phase, progress: None

    def __post_init__(self) -> None:
        self.catalogue = catalogue.load()
        self.unit = parse_cat(self.inspection.unit_text)
        kind = StartKind.STRIPPED if self.scenario.start is ScenarioStart.STRIPPED else StartKind.SHIPPED
        groups = self.inspection.syscall_groups
        self.start = Start.of(self.unit, kind, leave_alone=self.scenario.leave_alone, groups=groups)
        version = self.inspection.systemd_version
        alone = self.scenario.leave_alone
        known = offers(self.catalogue, version=version, start=self.start, leave_alone=alone)
        unknown = left_out(self.catalogue, version=version, start=self.start, leave_alone=alone)
        self.offers, vacuous = _enforceable(known, self.canaries)
        self.left_out = (*unknown, *vacuous)
        self.writable: tuple[str, ...] = ()
        self.directories: tuple[tuple[str, str], ...] = ()
        self.seen: Seen | None = None

    def run(self, *, spent_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> Answer:
        """Walk to the end, or to where the limits stop it; `spent_s` was spent before, in a run that was cut off.

        Raises BaselineError when the service does not pass its own scenario, MachineError when it cannot be tried.
        """
        began = clock()
        observations = self._baseline()
        baseline = Baseline.of(observations)
        self.attempts.patience_s = baseline.patience_s(self.scenario)
        self.writable, self.directories = self._exceptions(baseline)
        if self.only is Only.LIMITS:
            result = SearchResult.taken(self.given)
            confirmation = self._confirm(self.given, baseline)
        else:
            result, confirmation = self._search(self._options(baseline), baseline)
        limits = self._fit_limits(result, baseline) if self._wants_limits and confirmation.passed else None
        return Answer(
            scenario=self.scenario,
            inspection=self.inspection,
            start=self.start,
            unit=self.unit,
            result=result,
            confirmation=confirmation,
            left_out=self.left_out,
            canaries=self.canaries,
            writable=self.writable,
            directories=self.directories,
            limits=limits,
            exposure_before=_worst([item.exposure for item in observations]),
            trials=self.attempts.trials,
            duration_s=spent_s + clock() - began,
        )

    def render(self, accepted: Sequence[Tightening] | frozenset[Tightening]) -> str:
        """The drop-in text of a candidate."""
        return dropin.render(
            accepted,
            self.start,
            networks=self.scenario.networks,
            writable=self.writable,
            directories=self.directories,
        )

    def _baseline(self) -> list[Observation]:
        self.heard("baseline", None)
        text = self.render(())
        traced, plain = Request(text, purpose=OBSERVE), Request(text, purpose="baseline")
        seen, *observations = self.attempts.run([traced] + [plain] * self.scenario.baseline_runs)
        self.seen = seen.seen
        verdicts = [judge(self.scenario, item, catalogue=self.catalogue) for item in observations]
        if not all(verdict.passed for verdict in verdicts):
            raise _baseline_error(self.scenario, verdicts)
        return observations

    def _exceptions(self, baseline: Baseline) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        """What ProtectSystem=strict needs beside it: paths to leave writable, and directories for systemd to make."""
        root = Path(self.scenario.root)
        parents = {str(parent) for path in baseline.written for parent in Path(path).parents}
        targets = [Path(file.target) for file in self.scenario.files]
        brought = {str(path) for target in targets for path in (target, *target.parents)}
        candidates = parents | set(baseline.written)
        own = _own_directories(self.unit)
        existing = own | brought | {path for path in candidates if (root / path.lstrip("/")).exists()}
        idle = self.inspection.written
        writable = writable_paths(baseline.written, before=idle, existing=existing)
        writable = tuple(path for path in writable if path not in own)
        if self.start.has_user:
            return writable, made_directories(baseline.written, before=idle, existing=existing)
        # systemd would hand such a directory to root at each start, and take it from the workers it was given to.
        return (*writable, *parents_to_open(baseline.written, before=idle, existing=existing)), ()

    def _options(self, baseline: Baseline) -> list[Option[Tightening]]:
        chances = risks(
            self.offers,
            baseline,
            self.scenario,
            seen=self.seen,
            writable=self.writable,
            groups=self.inspection.syscall_groups,
        )
        return [
            Option(
                key=offer.tightening,
                requires=offer.requires,
                weight=offer.weight,
                risk=chances[offer.tightening],
                group=offer.tightening.directive,
            )
            for offer in self.offers
        ]

    def _search(
        self, options: list[Option[Tightening]], baseline: Baseline
    ) -> tuple[SearchResult[Tightening], Confirmation]:
        def attempt(candidates: Sequence[frozenset[Tightening]]) -> list[Verdict]:
            return self._try(candidates, baseline, purpose="search")

        def progress(event: Progress) -> None:
            self.heard("search", event)

        settings = Settings(workers=self.workers)
        budget = Budget(max_trials=self._trials_left(), expired=self.limits.expired)
        result = search(options, attempt, settings=settings, budget=budget, progress=progress)
        for _ in range(MAXIMUM_BACKTRACKS):
            if result.stop is not Stop.TIGHT:
                return result, Confirmation()
            confirmation = self._confirm(result.accepted, baseline)
            if confirmation.passed or confirmation.unresolved:
                return result, confirmation
            self.heard("backtrack", None)
            budget = replace(budget, max_trials=self._trials_left())
            result = bisect_accepted(options, result, attempt=attempt, settings=settings, budget=budget).result
        return result, self._confirm(result.accepted, baseline)

    def _trials_left(self) -> int | None:
        if self.limits.max_trials is None:
            return None
        return max(0, self.limits.max_trials - self.attempts.trials - self.scenario.confirm_runs)

    def _try(self, candidates: Sequence[frozenset[Tightening]], baseline: Baseline, *, purpose: str) -> list[Verdict]:
        requests = [Request(self.render(item), labels(item), purpose) for item in candidates]
        return [verdict for verdict, _ in self._judged(requests, baseline)]

    def _judged(self, requests: Sequence[Request], baseline: Baseline) -> list[tuple[Verdict, Observation]]:
        """Run and judge; a trial that was only too slow counts as such only if it is so again."""
        groups = self.inspection.syscall_groups

        def run(batch: Sequence[Request]) -> list[tuple[Verdict, Observation]]:
            return [
                (judge(self.scenario, item, catalogue=self.catalogue, baseline=baseline, groups=groups), item)
                for item in self.attempts.run(batch)
            ]

        results = run(requests)
        slow = [number for number, (verdict, _) in enumerate(results) if verdict.only_slow]
        again = run([requests[number] for number in slow]) if slow else []
        return [dict(zip(slow, again, strict=True)).get(number, result) for number, result in enumerate(results)]

    @property
    def _wants_limits(self) -> bool:
        """Without a load step nothing says what the service takes, so limits are fitted only when asked for."""
        loaded = any(step.kind is StepKind.LOAD for step in self.scenario.steps)
        asked = self.only is Only.LIMITS or "limits" in self.scenario.model_fields_set
        return self.only is not Only.DIRECTIVES and (loaded or asked)

    def _fit_limits(self, result: SearchResult[Tightening], baseline: Baseline) -> Found:
        groups = self.inspection.syscall_groups

        def verdict(item: Observation) -> Verdict:
            return judge(self.scenario, item, catalogue=self.catalogue, baseline=baseline, groups=groups)

        def stop() -> str:
            most = self.limits.max_trials
            if self.limits.expired() or (most is not None and self.attempts.trials >= most):
                return "stopped"
            return ""

        return Fitting(
            scenario=self.scenario,
            unit=self.unit,
            candidate=Request(self.render(result.accepted), labels(result.accepted)),
            attempts=self.attempts,
            judge=verdict,
            stop=stop,
            heard=lambda phase: self.heard(phase, None),
        ).run()

    def _confirm(self, accepted: frozenset[Tightening], baseline: Baseline) -> Confirmation:
        self.heard("confirm", None)
        request = Request(self.render(accepted), labels(accepted), "confirm")
        judged = self._judged([request] * self.scenario.confirm_runs, baseline)
        verdicts = tuple(verdict for verdict, _ in judged)
        return Confirmation(verdicts, _worst([observation.exposure for _, observation in judged]))


def _enforceable(
    known: Sequence[Offer], canaries: Sequence[CanaryResult]
) -> tuple[tuple[Offer, ...], tuple[LeftOut, ...]]:
    """The offers without those that this host's machines accept and do not enforce, and what is left out with why."""
    vacuous = {
        offer.tightening for offer in known if canaries and standing_of(canaries, offer.tightening) is Standing.VACUOUS
    }
    kept = tuple(offer for offer in known if not vacuous & {offer.tightening, *offer.requires})
    reasons = []
    for tightening in sorted(vacuous):
        details = "; ".join(result.detail for result in of_tightening(canaries, tightening))
        reasons.append(LeftOut(tightening.directive, f"{tightening.label}: accepted and not enforced here ({details})"))
    return kept, tuple(reasons)


def _worst(exposures: Sequence[float | None]) -> float | None:
    measured = [value for value in exposures if value is not None]
    return max(measured) if measured else None


def _own_directories(unit: UnitFile) -> frozenset[str]:
    """Directories that the unit has systemd make, which stay writable under ProtectSystem=strict by themselves."""
    found = set()
    for key, base in (("State", "/var/lib"), ("Cache", "/var/cache"), ("Logs", "/var/log"), ("Runtime", "/run")):
        for value in unit.values("Service", f"{key}Directory"):
            found |= {f"{base}/{name.split(':')[0]}" for name in value.split()}
    return frozenset(found)


def _baseline_error(scenario: Scenario, verdicts: Sequence[Verdict]) -> HarnessError:
    """Say which of never passes, flaky, too slow or lost it is, with the commands to see it by hand."""
    failed = [verdict for verdict in verdicts if verdict.outcome is not Outcome.PASS]
    first = failed[0]
    passed = len(verdicts) - len(failed)
    if first.outcome is Outcome.UNRESOLVED:
        return MachineError(f"the baseline could not be tried: {first.reason}", hint="run the same command again")
    if passed:
        what = f"the service is flaky: the baseline passed {passed} of {len(verdicts)} runs"
    elif all("no end within" in verdict.reason or "did not finish" in verdict.reason for verdict in failed):
        what = "the baseline is too slow: it never ends in time"
    else:
        what = "the baseline never passes"
    evidence = "".join(f"\n    {line}" for line in first.detail.splitlines())
    return BaselineError(
        f"{what}; {scenario.unit} without any tightening, trial {first.trial_id}: {first.reason}{evidence}",
        hint=f"see it by hand: `harness try {scenario.path}` runs one baseline trial and shows all of it",
    )


__all__ = ["Limits", "Offer", "Only", "Walk"]
