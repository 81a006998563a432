"""The service with nothing tightened: whether it passes its own scenario, and how reliably."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.attempts import OBSERVE, Attempts, Request
from harness.errors import BaselineError, HarnessError, MachineError
from harness.inspection import Inspection
from harness.judge.baseline import Baseline, ports
from harness.judge.novelty import templates
from harness.judge.rules import judge
from harness.judge.verdict import Outcome, Verdict
from harness.observation import Observation, Seen
from harness.scenario import Scenario
from harness.scenario import Start as ScenarioStart
from harness.search.sequential import Reliability
from harness.unit.catalogue import Catalogue
from harness.unit.dropin import set_later
from harness.unit.start import Start, StartKind
from harness.unit.unitfile import UnitFile, parse_cat

MEASURING_RUNS = 20
"""Of a baseline that fails at times: enough to see a service that fails one time in seven with 95 % certainty."""

TRACED_AGAIN = 3
"""How often the traced pass is made again when its machine was lost."""

SWIFT_TRACER = "bpftrace"
"""The tracer that a service runs under at nearly its own pace."""


class Bare:
    """Baseline runs of one drop-in that tightens nothing.

    `seen` is what a traced pass saw, `listening` its sockets; `reliability` counts the runs so far and `verdicts` are
    theirs; `keep` is handed each of them. `plain` asks for one more run without a tracer. With passing runs of an
    `earlier` run that still hold, one pass that is traced with little delay is enough.
    """

    def __init__(
        self,
        scenario: Scenario,
        attempts: Attempts,
        catalogue: Catalogue,
        text: str,
        *,
        unit: UnitFile,
        keep: Callable[[Sequence[Verdict]], None],
        earlier: Sequence[Observation] = (),
    ) -> None:
        self.seen: Seen | None = None
        self.listening: tuple[str, ...] = ()
        self.trace_failed = ""
        self.reliability = Reliability(0, 0)
        self.verdicts: list[Verdict] = []
        self.templates: frozenset[str] = frozenset()
        self._passed: list[Observation] = []
        self._scenario = scenario
        self._attempts = attempts
        self._catalogue = catalogue
        self._traced = Request(text, purpose=OBSERVE, trace=unit)
        self.plain = Request(text, purpose="baseline")
        self._keep = keep
        self._earlier = earlier

    def run(self) -> list[Observation]:
        """The runs that passed, with a traced one before them; further ones when one failed.

        Raises BaselineError when it fails always, or more often than the scenario allows; MachineError when it cannot
        be tried.
        """
        plain = [self.plain] * self._scenario.baseline_runs
        traced, *observations = self._attempts.run([self._traced, *(() if self._earlier else plain)])
        for _ in range(TRACED_AGAIN):
            if traced.lost:  # without it the candidates would be others, here and when the run is gone on with
                (traced,) = self._attempts.run([self._traced])
        told = self._alone(traced)
        if told.failed and any(self._alone(item).passed for item in observations):
            (traced,) = self._attempts.run([self._traced])  # it was chance, perhaps
            told = self._alone(traced)
        self.trace_failed = told.reason if told.failed else ""
        self.seen, self.listening = traced.seen, traced.listening
        if not self._earlier:
            return self._passing(observations)
        if self._is_as_before(traced) and told.passed:
            return [*self._earlier, *self._passing([traced])]
        return self._passing(self._attempts.run(plain))

    def _alone(self, observation: Observation) -> Verdict:
        """The verdict without a baseline."""
        return judge(self._scenario, observation, catalogue=self._catalogue)

    def _is_as_before(self, traced: Observation) -> bool:
        """Whether the same processes run as the same users and listen on the same ports, and at their own pace."""
        if traced.lost or self.seen is None or self.seen.tracer != SWIFT_TRACER:
            return False
        now, before = Baseline.of([traced]), Baseline.of(self._earlier)
        return now.identities.keys() == before.identities.keys() and now.listens == ports(before.listens)

    def run_plain(self) -> list[Observation]:
        """The same without a traced one. Raises as `run` does."""
        return self._passing(self._attempts.run([self.plain] * self._scenario.baseline_runs))

    def _passing(self, observations: list[Observation]) -> list[Observation]:
        self._judge(observations)
        if all(verdict.failed for verdict in self.verdicts):
            raise _never_passes(self._scenario, self.verdicts)
        if self.reliability.flaky:
            further = self._further()
            self._judge(further)
            observations += further
        self._passed = [item for item, verdict in zip(observations, self.verdicts, strict=True) if verdict.passed]
        return list(self._passed)

    def measure(self) -> Reliability:
        """How reliable the service is, from at least `MEASURING_RUNS` runs. Raises as `run` does.

        They are compared with the first runs, as trials are: what is said at times with nothing tightened may have had
        candidates refused. `templates` are those of all that was said: from now on they are known.
        """
        further = self._further()
        before = Baseline.of([*self._earlier, *self._passed])
        alone = self._judge(further)
        self.templates = frozenset().union(*(templates(item.journal) for item in further))
        known = replace(before, templates=before.templates | self.templates)
        passed = [item for item, verdict in zip(further, alone, strict=True) if verdict.passed]
        differing = [item for item in passed if self._differs(item, before)]
        failures = sum(self._differs(item, known) for item in differing)
        self.reliability = replace(
            self.reliability, failures=self.reliability.failures + failures, novel=len(differing) - failures
        )
        return self.reliability

    def _differs(self, item: Observation, baseline: Baseline) -> bool:
        """Whether it would fail as a trial, by what is not tried again there."""
        verdict = judge(self._scenario, item, catalogue=self._catalogue, baseline=baseline)
        return verdict.failed and not (verdict.only_slow or verdict.glimpsed or verdict.missed)

    def _further(self) -> list[Observation]:
        return self._attempts.run([self.plain] * max(0, MEASURING_RUNS - self.reliability.runs))

    def _judge(self, observations: Sequence[Observation]) -> list[Verdict]:
        verdicts = [self._alone(item) for item in observations]
        self._keep(verdicts)
        for lost in (verdict for verdict in verdicts if verdict.outcome is Outcome.UNRESOLVED):
            raise MachineError(f"the baseline could not be tried: {lost.reason}", hint="run the same command again")
        self.verdicts += verdicts
        failed = [verdict for verdict in self.verdicts if verdict.failed]
        self.reliability = Reliability(len(self.verdicts), len(failed))
        allowed = self._scenario.flaky.failure_rate_max
        if self.reliability.runs >= MEASURING_RUNS and len(failed) > allowed * self.reliability.runs:
            passed = f"passed {self.reliability.runs - len(failed)} of {self.reliability.runs} runs"
            what = f"the service is flaky: the baseline {passed} (may fail {allowed:.0%})"
            raise _error(what, self._scenario, failed[0])
        return verdicts


def start_of(scenario: Scenario, inspection: Inspection) -> Start:
    """Where a search for this scenario begins: the unit as shipped, or without any sandboxing."""
    kind = StartKind.STRIPPED if scenario.start is ScenarioStart.STRIPPED else StartKind.SHIPPED
    unit, groups = parse_cat(inspection.unit_text), inspection.syscall_groups
    return Start.of(unit, kind, leave_alone={**scenario.leave_alone, **set_later(unit)}, groups=groups)


def _never_passes(scenario: Scenario, verdicts: Sequence[Verdict]) -> HarnessError:
    if all("no end within" in verdict.reason or "did not finish" in verdict.reason for verdict in verdicts):
        return _error("the baseline is too slow: it never ends in time", scenario, verdicts[0])
    return _error("the baseline never passes", scenario, verdicts[0])


def _error(what: str, scenario: Scenario, failed: Verdict) -> BaselineError:
    evidence = "".join(f"\n    {line}" for line in failed.detail.splitlines())
    return BaselineError(
        f"{what}; {scenario.unit} without any tightening, trial {failed.trial_id}: {failed.reason}{evidence}",
        hint=f"see it by hand: `harness try {scenario.path}` runs one baseline trial and shows all of it",
    )
