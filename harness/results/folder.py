"""A run folder as plain data, to be read months later.

Reads what is stored and what was derived, and walks over nothing: `recommendation.json` is taken as it stands.
"""

import json
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

    def _derived(self, name: str) -> str:
        path = self.store.derived / name
        return path.read_text(encoding="utf-8") if path.exists() else ""


def runs_in(results: Path | str, *, scenario: str = "") -> list[Run]:
    """All runs below a results folder that recommend something, those of nights included, oldest first.

    `scenario` names one to be left. What cannot be read is passed over.
    """
    folder = Path(results)
    found = []
    for file in (*folder.glob("*/run.json"), *folder.glob("nights/*/*/run.json")):
        try:
            run = Run.open(file.parent)
            if run.recommendation is not None and scenario in ("", run.scenario):
                found.append(run)
        except UsageError:
            continue
    return sorted(found, key=lambda run: (str(run.facts.get("started_at", "")), run.name))


def newest_in(results: Path | str, *, with_limits: bool = False) -> dict[str, Run]:
    """The newest run of each scenario, by its name; `with_limits` takes only those that fitted any."""
    found = {}
    for run in runs_in(results):
        limits = (run.recommendation or {}).get("limits") or {}
        if limits.get("trials") or not with_limits:
            found[run.scenario] = run
    return found


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
