"""What a person accepted for a scenario: `results/accepted/NAME.json`, the measure of every later night.

It holds all that a comparison needs, so that the run it came from may be deleted.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from harness.errors import UsageError
from harness.limits.found import State
from harness.results.folder import Run
from harness.results.store import write_whole
from harness.unit.dropin import LIMITS

FORMAT = 1
FOLDER = "accepted"
# Told of the host, or said by every run anew: nothing that a person accepts.
_LEFT_OUT = ("format", "canaries", "left_out", "verdicts", "reach", "undecided")


@dataclass(frozen=True)
class Accepted:
    """`drop_in` is the recommended one without comments; `recommendation` what the run said of it.

    The rest are facts of the world it was found in, to tell later what has changed: `scenario_data`, what the scenario
    says, `files` that it brings (path inside → digest), `inspection` of unit, systemd, kernel and packages.
    """

    scenario: str
    accepted_at: str
    note: str
    run: str
    harness: str
    scenario_data: dict[str, Any] = field(repr=False)
    files: dict[str, str] = field(repr=False)
    inspection: dict[str, Any] = field(repr=False)
    drop_in: str = field(repr=False)
    recommendation: dict[str, Any] = field(repr=False)

    @classmethod
    def of_run(cls, run: Run, *, note: str = "") -> Self:
        """What accepting a run means. Raises UsageError unless it is tight, confirmed and at its end."""
        data = run.recommendation
        if why := _why_not(data):
            raise UsageError(
                f"{run.path} {why}; only what is tight and confirmed can be accepted",
                hint=f"go on with it: harness tune {run.facts.get('scenario_path', '')}",
            )
        assert data is not None
        facts = run.facts
        kept = {name: value for name, value in facts["inspection"].items() if name not in ("syscall_groups", "written")}
        return cls(
            scenario=run.scenario,
            accepted_at=datetime.now(UTC).isoformat(timespec="seconds"),
            note=note,
            run=run.name,
            harness=str(facts.get("git_commit") or facts["harness"]),
            scenario_data=facts["scenario_data"],
            files=facts.get("files", {}),
            inspection=kept,
            drop_in=bare(run.drop_in),
            recommendation={name: value for name, value in data.items() if name not in _LEFT_OUT},
        )

    def write(self, results: Path) -> Path:
        """Write it below `results`; what was accepted before is replaced."""
        path = path_of(results, self.scenario)
        write_whole(path, json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n")
        return path

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the tightenings in force."""
        return tuple(sorted(item["label"] for item in self.recommendation["settings"]))

    @property
    def has_limits(self) -> bool:
        """Whether the drop-in sets limits."""
        return any(line.partition("=")[0] in LIMITS for line in self.drop_in.splitlines())

    @property
    def without_limits(self) -> str:
        """The drop-in less its limits."""
        lines = [line for line in self.drop_in.splitlines() if line.partition("=")[0] not in LIMITS]
        return "".join(f"{line}\n" for line in lines)


def path_of(results: Path, scenario: str) -> Path:
    """Where the accepted file of a scenario is."""
    return results / FOLDER / f"{scenario}.json"


def read(results: Path, scenario: str) -> Accepted | None:
    """What was accepted for a scenario, None if nothing was. Raises UsageError when it cannot be read."""
    path = path_of(results, scenario)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format", None) != FORMAT:
            raise ValueError(f"another format than {FORMAT}")
        return Accepted(**data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"cannot read {path}: {error}", hint="accept a run again: harness accept RUN") from error


def limits_of(recommendation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The limits of a recommendation, none where none were fitted; each with `directive`, `value` and `number`."""
    found: list[dict[str, Any]] = (recommendation.get("limits") or {}).get("limits", [])
    return found


def limits_set(recommendation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The limits that the drop-in sets: what is not confirmed is a comment in it."""
    state = (recommendation.get("limits") or {}).get("state")
    return limits_of(recommendation) if state == State.CONFIRMED.value else []


def bare(drop_in: str) -> str:
    """A drop-in without its comments: the candidate as it was tried."""
    return "".join(f"{line}\n" for line in drop_in.splitlines() if line and not line.startswith("#"))


def _why_not(data: Mapping[str, Any] | None) -> str:
    if data is None:
        return "holds no recommendation"
    if data["state"] != "tight":
        return f"is {data['state']} ({data['stop']})"
    if (data.get("limits") or {}).get("state") == State.PARTIAL.value:
        return "was cut off while limits were fitted"
    return ""
