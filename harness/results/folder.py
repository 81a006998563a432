"""Run folders as plain data: one to be read months later, and many to be listed fast.

Reads what is stored and what was derived, and walks over nothing: `recommendation.json` is taken as it stands.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from harness.errors import UsageError
from harness.observation import Observation
from harness.results import recommendation
from harness.results.store import Store
from harness.unit.dropin import FILE_NAME


class Run:
    """One run folder. `facts` is `run.json`; `recommendation` is None until one was derived."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.path = store.folder
        self.facts = store.facts

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a run folder. Raises UsageError when it is none, or of another format."""
        return cls(Store.open(Path(path)))

    @property
    def name(self) -> str:
        """Name of the folder: scenario, date and time."""
        return self.path.name

    @property
    def scenario(self) -> str:
        """Name of the scenario."""
        return str(self.facts["scenario"])

    @cached_property
    def recommendation(self) -> dict[str, Any] | None:
        """`derived/recommendation.json`. Raises UsageError when it is damaged or of another format."""
        return read_recommendation(self.store.derived / "recommendation.json")

    @cached_property
    def observations(self) -> tuple[Observation, ...]:
        """All trials, oldest first."""
        return tuple(self.store.observations())

    @property
    def drop_in(self) -> str:
        """The recommended drop-in with its comments, "" when there is none yet."""
        return self._derived(f"{self.unit}.d/{FILE_NAME}")

    @property
    def full_unit(self) -> str:
        """The whole unit with the drop-in worked in, "" when there is none yet."""
        return self._derived(self.unit)

    @property
    def unit(self) -> str:
        """Name of the unit."""
        return str(self.facts["scenario_data"]["unit"])

    def samples_file(self, trial_id: str) -> Path:
        """Where the samples of a trial are, if it has any."""
        return self.store.trial_folder(trial_id) / "samples.parquet"

    def _derived(self, name: str) -> str:
        path = self.store.derived / name
        return path.read_text(encoding="utf-8") if path.exists() else ""


@dataclass(frozen=True)
class Line:
    """One run in a listing. `started_at` is ISO 8601 in UTC; None is "not known yet"."""

    path: Path
    scenario: str
    started_at: str
    state: str
    trials: int | None
    duration_s: float | None
    exposure_before: float | None
    exposure_after: float | None


def read_recommendation(path: Path) -> dict[str, Any] | None:
    """What a run recommends, None where there is none. Raises UsageError when this version cannot read it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("it holds no object")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read {path}: {error}", hint="delete the folder `derived` and make it again: harness report RUN"
        ) from error
    if data.get("format") != recommendation.FORMAT:
        raise UsageError(
            f"{path} has format {data.get('format')}; this version reads {recommendation.FORMAT}",
            hint="delete the folder `derived` and make it again: harness report RUN",
        )
    return data


def listing(results: Path) -> Iterator[Line]:
    """Every run below `results`, oldest first; folders that cannot be read are passed over."""
    found = []
    for file in results.glob("*/run.json"):
        try:
            store = Store.open(file.parent)
            data = read_recommendation(store.derived / "recommendation.json") or {}
        except UsageError:
            continue  # another format, or torn while it was made
        facts = store.facts
        found.append(
            Line(
                path=store.folder,
                scenario=str(facts.get("scenario", "")),
                started_at=str(facts.get("started_at", "")),
                state=str(data.get("state", facts.get("state", ""))),
                trials=data.get("trials"),
                duration_s=data.get("duration_s"),
                exposure_before=data.get("exposure_before"),
                exposure_after=data.get("exposure_after"),
            )
        )
    yield from sorted(found, key=lambda line: (line.started_at, line.path.name))
