"""The answer of a run as data: each setting with its reason, each refusal with its witness."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from harness.inspection import Inspection
from harness.judge.verdict import Outcome, Verdict, together
from harness.limits import advice
from harness.limits.found import Found, State
from harness.results.cautions import cautions, remarks
from harness.scenario import Scenario
from harness.search.result import SearchResult, Stop
from harness.search.sequential import Reliability
from harness.unit import dropin, listed
from harness.unit.canary import CanaryResult, Standing, standing_of
from harness.unit.needs import Needs
from harness.unit.start import Start
from harness.unit.surface import Reach, reach
from harness.unit.syscalls import answered
from harness.unit.tightening import LeftOut, Tightening
from harness.unit.unitfile import UnitFile, strip_sandboxing

FORMAT = 1


@dataclass(frozen=True)
class Confirmation:
    """Runs of the whole answer with fresh seeds, and what they tell together; None when there were none.

    Every run has to pass, unless the service fails at times by itself: then a sequential test tells. `exposure` is the
    highest that systemd reported in them.
    """

    verdicts: tuple[Verdict, ...] = ()
    exposure: float | None = None
    outcome: Outcome | None = None

    @classmethod
    def of_all(cls, verdicts: Sequence[Verdict], exposure: float | None) -> Self:
        """A confirmation for which every run has to pass."""
        return cls(tuple(verdicts), exposure, together(verdicts))

    @property
    def passed(self) -> bool:
        """Whether the answer works."""
        return self.outcome is Outcome.PASS

    @property
    def passes(self) -> tuple[Verdict, ...]:
        """The runs that passed."""
        return tuple(verdict for verdict in self.verdicts if verdict.passed)


@dataclass(frozen=True)
class Answer:
    """What a walk found; `recommendation` and the drop-in are made from it."""

    scenario: Scenario
    inspection: Inspection
    start: Start
    unit: UnitFile
    result: SearchResult[Tightening]
    confirmation: Confirmation
    left_out: tuple[LeftOut, ...]
    canaries: tuple[CanaryResult, ...]
    needs: Needs
    reliability: Reliability
    tracer: str
    exposure_before: float | None
    trials: int
    duration_s: float
    limits: Found | None = None
    earlier: str = ""
    trace_failed: str = ""
    verdicts: tuple[Verdict, ...] = ()

    @property
    def confirmed(self) -> int:
        """How many confirming runs passed, 0 if they tell that it does not work."""
        return len(self.confirmation.passes) if self.confirmation.passed else 0

    @property
    def is_tight(self) -> bool:
        """Whether no single further tightening passes, and the whole was confirmed."""
        return self.result.stop is Stop.TIGHT and self.confirmation.passed

    @property
    def state(self) -> str:
        """One word for it: tight, unconfirmed or partial."""
        if self.result.stop is not Stop.TIGHT:
            return "partial"
        return "tight" if self.confirmation.passed else "unconfirmed"

    @property
    def stop(self) -> str:
        """Why the walk ended where it did."""
        if self.is_cut_off and self.limits is not None:
            return self.limits.stop
        return self.result.stop.value

    @property
    def is_cut_off(self) -> bool:
        """Whether the limits were begun and not brought to an end."""
        return self.limits is not None and self.limits.state is State.PARTIAL

    def passing_trial(self) -> str:
        """The trial in which everything accepted passed together, "" when there was none."""
        if self.confirmation.passed:
            return self.confirmation.passes[0].trial_id
        passing = [
            d for d in self.result.decisions if d.verdict.passed and d.accepted | d.added == self.result.accepted
        ]
        return passing[-1].verdict.trial_id if passing else ""

    def standing(self, key: Tightening) -> Standing:
        """Whether a tightening is really enforced on this host; UNKNOWN where no canary speaks for it."""
        return standing_of(self.canaries, key) if self.canaries else Standing.UNKNOWN

    def reach(self) -> list[Reach]:
        """What an intruder in the service would have, before and after."""
        return reach(self.result.accepted, self.start, needs=self.needs)

    def unproven(self) -> list[Tightening]:
        """What is in force in the drop-in and cannot be shown to be enforced on this host: not counted as tightened."""
        return [key for key in sorted(self.result.accepted) if self.standing(key) is not Standing.ENFORCED]

    def comments(self) -> dict[str, list[str]]:
        """Comment lines by directive: why each of its values is as tight as it is, and not tighter."""
        lines: dict[str, list[str]] = {}
        trial = self.passing_trial()
        for directive in dict.fromkeys(key.directive for key in sorted(self.result.accepted)):
            lines[directive] = [f"tight: passed trial {trial}"]
        for directive, _ in self.start.run_as[:1]:
            lines[directive] = [f"as another user than root, as asked: passed trial {trial}"]
        for key, verdict in self.refusals():
            if key.directive in lines and lines[key.directive][0].startswith("tight"):
                lines[key.directive][0] = f"passed trial {trial}"
            softer = replace(key, items=tuple(map(answered, key.items)))
            with_error = bool(key.items) and softer in self.result.accepted
            lines.setdefault(key.directive, []).append(refusal_text(key, verdict, with_error=with_error))
        for key in self.unproven():
            name = key.rung or " ".join(key.items)
            told = f"{name} is {self.standing(key).value} on this host: not counted as tightened"
            lines[key.directive].append(one_line(told))
        if self.needs.writable and any(key.directive == "ProtectSystem" for key in self.result.accepted):
            refused = [line for line in lines.get("ReadWritePaths", []) if line.startswith("not ")]
            lines["ReadWritePaths"] = [f"left writable; passed trial {trial}", *refused]
            if untried := listed.not_proven(self.needs):
                lines["ReadWritePaths"].append(f"{' '.join(untried)}: {listed.WHY_NOT_PROVEN}")
        for name, told in (*cautions(self.result.accepted, self.needs), *remarks(self.result.accepted, self.needs)):
            lines[name].append(one_line(told))
        taken = {item for key in self.result.accepted if key.directive == "CapabilityBoundingSet" for item in key.items}
        if untried := sorted(taken & set(self.inspection.withheld)):
            lines["CapabilityBoundingSet"].append(
                one_line(f"no machine has {' '.join(untried)}: that it does without was not tried")
            )
        return lines

    def cautions(self) -> list[str]:
        """What the workload did not show and a reader has to know before the drop-in goes anywhere."""
        told = [text for _, text in cautions(self.result.accepted, self.needs)]
        if self.trace_failed and self.tracer:
            cut = f"the traced pass failed ({self.trace_failed})"
            told.insert(0, f"{cut}: what the service does after that, such as whom it reaches, was not seen")
        return told

    def resting_on_earlier(self) -> list[str]:
        """Trials of earlier runs, as RUN/ID, that refusals of this one rest on."""
        return [verdict.trial_id for _, verdict in self.refusals() if "/" in verdict.trial_id]

    def refusals(self) -> list[tuple[Tightening, Verdict]]:
        """Each refused tightening with its witness, in order."""
        return [
            (key, refusal.witnesses[-1]) for key, refusal in sorted(self.result.refused.items()) if refusal.witnesses
        ]

    def drop_in(self) -> str:
        """The recommended drop-in: every line under its reason, refusals of directives it does not set at the end."""
        comments = self.comments()
        header = [
            f"{self.scenario.unit}, hardened by trial: {summary_line(self)}",
            f"{self.inspection.systemd}, Linux {self.inspection.kernel}, scenario {self.scenario.name}",
        ]
        if resting := self.resting_on_earlier():
            header.append(f"{len(resting)} refusals rest on trials of {resting[0].partition('/')[0]}, not repeated.")
        if not self.is_tight:
            header.append(f"Not final: the run is {self.state} ({self.result.stop.value}).")
        text = dropin.render(
            self.result.accepted,
            self.start,
            needs=self.needs,
            comments=comments,
            header=header,
        )
        set_here = {line.partition("=")[0] for line in text.splitlines() if not line.startswith("#")}
        unset = [
            f"{name} {line}"
            for name, lines in comments.items()
            if listed.WRITTEN_AS.get(name, name) not in set_here
            for line in lines
        ]
        text += "".join(f"# {line}\n" for line in unset)
        limits = advice.drop_in_lines(self.limits) if self.limits is not None and self.limits.trials else []
        return text + "".join(f"{line}\n" for line in limits)

    def full_unit(self) -> str:
        """The whole unit with the answer worked in."""
        return dropin.full_unit(strip_sandboxing(self.unit, self.start.stripped_names()), self.drop_in())

    def to_json(self) -> dict[str, Any]:
        """`recommendation.json`."""
        trial = self.passing_trial()
        return {
            "format": FORMAT,
            "scenario": self.scenario.name,
            "unit": self.scenario.unit,
            "start": self.scenario.start.value,
            "state": self.state,
            "stop": self.result.stop.value,
            "exposure_before": self.exposure_before,
            "exposure_after": self.confirmation.exposure,
            "trials": self.trials,
            "search_trials": self.result.trials,
            "from": self.earlier,
            "duration_s": round(self.duration_s, 1),
            "confirmed": self.confirmed,
            "baseline": asdict(self.reliability),
            "tracer": self.tracer,
            "settings": [
                {**key.to_json(), "label": key.label, "reason": f"tight: passed trial {trial}", "trial": trial}
                | {"standing": self.standing(key).value}
                for key in sorted(self.result.accepted)
            ],
            "refused": [
                {
                    **key.to_json(),
                    "label": key.label,
                    "reason": verdict.reason,
                    "trial": verdict.trial_id,
                    "evidence": verdict.detail.splitlines(),
                }
                for key, verdict in self.refusals()
            ],
            "unreached": [{"label": key.label, "because": other.label} for key, other in self._unreached()],
            "undecided": sorted(key.label for key in self.result.undecided),
            "pairs": [
                {"refused": pair.refused.label, "kept": sorted(key.label for key in pair.kept)}
                for pair in self.result.pairs
            ],
            "left_out": [{"directive": item.directive, "reason": item.reason} for item in self.left_out],
            "canaries": [result.to_json() for result in self.canaries if result.standing is not Standing.ENFORCED],
            "cautions": self.cautions(),
            "left_alone": dict(self.scenario.leave_alone),
            "limits": None if self.limits is None else advice.to_json(self.limits),
            "reach": [asdict(row) for row in self.reach()],
            "needs": asdict(self.needs),
            "systemd": self.inspection.systemd,
            "kernel": self.inspection.kernel,
            "cgroups": self.inspection.cgroups,
            "packages": self.inspection.packages,
            "verdicts": [
                {"trial": item.trial_id, "outcome": item.outcome.value, "reason": item.reason}
                | {"suspects": list(item.suspects)}
                for item in self.verdicts
            ],
        }

    def _unreached(self) -> Iterable[tuple[Tightening, Tightening]]:
        return sorted(self.result.unreached.items())


def refusal_text(key: Tightening, verdict: Verdict, *, with_error: bool = False) -> str:
    """`not strict: trial 0017, step save: exit status 1 …` on one line; `with_error` says that calls have an error."""
    verb = "an error and not the end for" if with_error else "not denying"
    what = f"not {key.rung}" if key.rung else f"{verb} {_shortened(' '.join(key.items))}"
    return one_line(f"{what}: trial {verdict.trial_id}, {verdict.reason}")


def summary_line(answer: Answer) -> str:
    """Exposure before and after, trials and confirmation in one line."""
    before = "?" if answer.exposure_before is None else f"{answer.exposure_before:.1f}"
    after = "?" if answer.confirmation.exposure is None else f"{answer.confirmation.exposure:.1f}"
    return f"exposure {before} → {after}, {answer.trials} trials, confirmed {answer.confirmed} times"


def one_line(text: str, *, most: int = 240) -> str:
    """Text that may come from a log made fit for one comment line: no control characters, not too long."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    clean = " ".join(clean.split())
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def _shortened(items: str) -> str:
    words = items.split()
    return items if len(words) <= 4 else " ".join(words[:3]) + f" and {len(words) - 3} more"
