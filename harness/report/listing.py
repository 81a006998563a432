"""All runs of a results folder on the terminal, one a line."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.errors import UsageError
from harness.report.plain import plain
from harness.report.template import figure, seconds
from harness.results import accepted as accepted_file
from harness.results.accepted import limits_set
from harness.results.folder import Run


@dataclass(frozen=True)
class Listed:
    """One run. `state` is that of the recommendation, or of the run where there is none; `problem` why it is unread."""

    name: str
    scenario: str = ""
    started_at: str = ""
    state: str = ""
    exposure_before: float | None = None
    exposure_after: float | None = None
    trials: int | None = None
    duration_s: float | None = None
    limits: str = ""
    is_accepted: bool = False
    problem: str = ""


def runs(results: Path) -> list[Listed]:
    """Every run below a results folder, oldest first; one that cannot be read is listed with its problem."""
    accepted = _accepted(results)
    return sorted(_read(results, accepted), key=lambda item: (item.started_at, item.name))


def show(items: Iterable[Listed], out: Console) -> None:
    """Print one line a run."""
    table = Table(box=None, padding=(0, 1), show_header=True, header_style="bold", expand=False)
    for title in ("Run", "state", "exposure", "trials", "time", "limits"):
        # Nothing that is copied from here is broken in two.
        table.add_column(title, overflow="fold", no_wrap=title == "Run", min_width=18 if title == "limits" else None)
    for item in items:
        exposure = f"{figure(item.exposure_before)} → {figure(item.exposure_after)}"
        state = f"{item.state}, accepted" if item.is_accepted else item.state
        trials = "-" if item.trials is None else str(item.trials)
        cells = (item.name, item.problem or state, exposure, trials, seconds(item.duration_s), item.limits or "-")
        table.add_row(*map(plain, cells))
    out.print(table)


def _read(results: Path, accepted: set[str]) -> Iterator[Listed]:
    for file in results.glob("*/run.json"):
        try:
            yield _listed(Run.open(file.parent), accepted)
        except UsageError as error:
            yield Listed(file.parent.name, problem=error.message)


def _listed(run: Run, accepted: set[str]) -> Listed:
    data: dict[str, Any] = run.recommendation or {}
    return Listed(
        name=run.name,
        scenario=run.scenario,
        started_at=str(run.facts.get("started_at", "")),
        state=_state(run, data),
        exposure_before=data.get("exposure_before"),
        exposure_after=data.get("exposure_after"),
        trials=data.get("trials"),
        duration_s=data.get("duration_s", run.facts.get("duration_s")),
        limits=" ".join(f"{item['directive']}={item['value']}" for item in limits_set(data)),
        is_accepted=run.name in accepted,
    )


def _state(run: Run, data: Mapping[str, Any]) -> str:
    state = str(data.get("state", run.facts.get("state", "")))
    return "cut off" if state == "running" and not run.store.is_held else state


def _accepted(results: Path) -> set[str]:
    """Names of the runs that were accepted; a damaged file is not the listing's to complain of."""
    found = set()
    for file in (results / accepted_file.FOLDER).glob("*.json"):
        try:
            found.add(str(json.loads(file.read_text(encoding="utf-8"))["run"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found
