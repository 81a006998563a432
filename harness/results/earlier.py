"""An earlier run as the place to start from: what it accepted is the first candidate, and some of its refusals stand.

A refusal stands when what refused it is in the new scenario as it was: the step that failed in its witness, or the
start, under the same unit, systemd and kernel. It is then not tried again, and the answer says whose witness it rests
on. All others are tried again, as is everything that the earlier run did not decide. Where nothing around the service
has changed, the earlier baseline runs stand as well, and one more, traced, shows what the new scenario asks for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from harness.errors import UsageError
from harness.inspection import Inspection
from harness.judge.verdict import Outcome, Verdict
from harness.observation import Observation
from harness.results.folder import Run
from harness.results.store import Store
from harness.scenario import Scenario
from harness.search.options import MIN_RISK, Option
from harness.search.result import Refusal, SearchResult
from harness.search.sequential import Reliability
from harness.unit.tightening import Tightening

# What passed before is all but certain to pass; what was refused, and is in doubt, all but certain to fail again.
ACCEPTED_RISK = MIN_RISK
DOUBTED_RISK = 0.95


@dataclass(frozen=True)
class Earlier:
    """What the run `name` decided: `accepted`, the refusals that `stand` with their witnesses, and those in doubt.

    `baseline` are its baseline runs, less the steps that are others now; empty where they do not hold any more.
    """

    name: str
    accepted: frozenset[Tightening]
    stand: Mapping[Tightening, Verdict]
    doubted: frozenset[Tightening] = frozenset()
    baseline: tuple[Observation, ...] = ()

    @classmethod
    def of(cls, run: Run, scenario: Scenario, inspection: Inspection, *, full: bool = False) -> Self:
        """What of `run` holds for another scenario of the same unit; with `full` every refusal is in doubt.

        Raises UsageError when the run is about another unit, or not finished.
        """
        data = run.recommendation
        if run.unit != scenario.unit:
            raise UsageError(
                f"{run.path} is about {run.unit}, not about {scenario.unit}", hint="name a run of this unit"
            )
        if data is None or data["state"] != "tight":
            raise UsageError(f"{run.path} has no final answer to go on from", hint="finish it, or tune without --from")
        seen = {item.trial_id: item for item in run.observations}
        old = run.store.scenario()
        same = not full and _same_ground(old, scenario, Inspection.from_facts(run.facts["inspection"]), inspection)
        alike = _alike(old, scenario)
        unchanged = None if _asks_for_all(old, scenario, alike) else alike
        stand, doubted = {}, set()
        for item in data["refused"]:
            key = Tightening.from_label(item["label"])
            if same and _speaks_still(seen.get(item["trial"]), unchanged):
                trial = item["trial"] if "/" in item["trial"] else f"{run.name}/{item['trial']}"
                detail = "\n".join(item["evidence"])
                stand[key] = Verdict(Outcome.FAIL, reason=item["reason"], detail=detail, trial_id=trial)
            else:
                doubted.add(key)
        accepted = frozenset(Tightening.from_label(item["label"]) for item in data["settings"])
        reliable = same and not Reliability(**data["baseline"]).flaky and _same_surroundings(old, scenario)
        baseline = _baseline(run, data["verdicts"], changed=_names(old) - alike) if reliable else ()
        return cls(run.name, accepted, stand, frozenset(doubted), baseline)

    def options(self, options: Iterable[Option[Tightening]]) -> list[Option[Tightening]]:
        """The options still to be decided, with the chances that the earlier run gives them."""
        there = list(options)
        gone = self._gone(there)
        return [replace(option, risk=self._risk(option)) for option in there if option.key not in gone]

    def completed(
        self, result: SearchResult[Tightening], options: Sequence[Option[Tightening]]
    ) -> SearchResult[Tightening]:
        """The result with the refusals that stand, and with what lies beyond them."""
        stand = {option.key: self.stand[option.key] for option in options if option.key in self.stand}
        refused = {key: Refusal(frozenset[Tightening](), (verdict,), 1) for key, verdict in stand.items()}
        beyond = {
            option.key: min(option.requires & stand.keys())
            for option in options
            if option.requires & stand.keys() and option.key not in stand
        }
        return replace(result, refused={**result.refused, **refused}, unreached={**result.unreached, **beyond})

    def to_facts(self) -> dict[str, Any]:
        """As plain data for `run.json`, so that thinking again does not need the earlier run; without `baseline`."""
        return {
            "name": self.name,
            "accepted": sorted(key.label for key in self.accepted),
            "stand": [
                {"label": key.label, "trial": verdict.trial_id, "reason": verdict.reason, "detail": verdict.detail}
                for key, verdict in sorted(self.stand.items())
            ],
            "doubted": sorted(key.label for key in self.doubted),
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], baseline: Iterable[Observation] = ()) -> Self:
        """The inverse of `to_facts`, with the baseline runs, which are kept apart."""
        stand = {
            Tightening.from_label(item["label"]): Verdict(
                Outcome.FAIL, reason=item["reason"], detail=item["detail"], trial_id=item["trial"]
            )
            for item in facts["stand"]
        }
        accepted, doubted = (frozenset(map(Tightening.from_label, facts[name])) for name in ("accepted", "doubted"))
        return cls(facts["name"], accepted, stand, doubted, tuple(baseline))

    def _risk(self, option: Option[Tightening]) -> float:
        if option.key in self.accepted:
            return ACCEPTED_RISK
        return DOUBTED_RISK if option.key in self.doubted else option.risk

    def _gone(self, options: Sequence[Option[Tightening]]) -> set[Tightening]:
        """What is refused, and what requires it, directly or not."""
        gone = {option.key for option in options if option.key in self.stand}
        while more := {option.key for option in options if option.key not in gone and option.requires & gone}:
            gone |= more
        return gone


def scenario_path(earlier: Path | None) -> Path:
    """The scenario file of an earlier run. Raises UsageError without one."""
    if earlier is None:
        raise UsageError("no scenario", hint="name a scenario file, such as scenarios/redis.toml")
    return Path(Store.open(earlier).facts["scenario_path"])


def check_earlier(scenario: Scenario, earlier: Path | None, *, changed: bool) -> None:
    """Raise UsageError when the scenario is not that of the run to go on from, and nobody said that it changed."""
    if earlier is None or changed:
        return
    if str(Store.open(earlier).facts.get("identity", "")).split(" ")[0] != scenario.identity():
        raise UsageError(
            f"{scenario.path} is not the scenario that {earlier} was made with",
            hint="say --scenario-changed if that is meant; what does not depend on the change is not tried again",
        )


def _same_ground(old: Scenario, new: Scenario, before: Inspection, now: Inspection) -> bool:
    """Whether both scenarios start from the same unit on the same system; further packages are no other ground."""
    same_start = all(getattr(old, name) == getattr(new, name) for name in ("start", "root", "run_as", "leave_alone"))
    same_system = all(getattr(before, name) == getattr(now, name) for name in ("unit_text", "systemd", "kernel"))
    versions = all(now.packages.get(name, version) == version for name, version in before.packages.items())
    return same_start and same_system and versions


def _same_surroundings(old: Scenario, new: Scenario) -> bool:
    """Whether the service meets what it met then: companions, trees, capabilities, the same user.

    As another user it has two baselines, and the earlier run does not say which is which. Files may be others: what the
    service is with them is compared once it was seen.
    """
    alike = all(getattr(old, name) == getattr(new, name) for name in ("companions", "trees", "capabilities"))
    return alike and not new.run_as


def _checks(scenario: Scenario) -> dict[str, Any]:
    return {
        str(getattr(check, "name", "")): check for check in (*scenario.steps, *scenario.life_cycle, *scenario.after)
    }


def _names(scenario: Scenario) -> frozenset[str]:
    return frozenset({*_checks(scenario), "ready"})


def _alike(old: Scenario, new: Scenario) -> frozenset[str]:
    """Names of the checks that both scenarios have alike; a start is one."""
    before, now = _checks(old), _checks(new)
    alike = {name for name, check in before.items() if now.get(name) == check}
    return frozenset(alike | ({"ready"} if old.ready == new.ready else set()) | {"start"})


def _asks_for_all(old: Scenario, new: Scenario, alike: frozenset[str]) -> bool:
    """Whether the new scenario has all that the earlier one asked for."""
    return _names(old) <= alike and old.slowdown_max >= new.slowdown_max


def _baseline(run: Run, verdicts: Iterable[Mapping[str, Any]], *, changed: frozenset[str]) -> tuple[Observation, ...]:
    """The baseline runs that `run` judged, those of a still earlier one among them, without `changed` steps.

    A traced run is judged where there is no other.
    """
    passed = {item["trial"] for item in verdicts if item["outcome"] == Outcome.PASS.value}
    own = (item for item in run.observations if item.purpose in ("baseline", "observe") and item.trial_id in passed)
    return tuple(
        replace(item, steps=tuple(step for step in item.steps if step.name not in changed))
        for item in (*run.store.earlier_baseline(), *own)
    )


def _speaks_still(witness: Observation | None, unchanged: frozenset[str] | None) -> bool:
    """Whether what failed in the witness is asked for as before."""
    if unchanged is None:
        return True
    if witness is None:
        return False
    failed = "start" if witness.start_problem else next((step.name for step in witness.steps if not step.ok), "")
    return failed in unchanged


__all__ = ["Earlier", "check_earlier", "scenario_path"]
