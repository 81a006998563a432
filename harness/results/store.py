"""A run's folder: raw facts that are only ever appended to, and what is derived from them.

    results/NAME-YYYYMMDD-HHMMSS/
      run.json              what was run, where and with what
      observations.jsonl    one observation a line, fsynced per trial
      earlier.jsonl         baseline runs of an earlier run that this one goes on from, if it does
      trials/ID/            drop-in, journal, kernel lines
      derived/              can be deleted and made again by `harness report RUN`

A crash loses at most the trial in flight: a torn last line is cut off when the folder is opened again.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

from pydantic import ValidationError

from harness.errors import UsageError
from harness.observation import Observation
from harness.scenario import Scenario

FORMAT = 1
# What a run is not gone on with: it has its answer, or its baseline failed.
ENDED = ("done", "failed")


class Store:
    """One run's folder."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.facts = facts
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, results: Path, name: str, facts: dict[str, Any]) -> Self:
        """Make a new run folder for scenario `name` and write `run.json`. Raises UsageError where none can be."""
        if results.exists() and not results.is_dir():
            raise UsageError(f"{results} is no folder: results cannot be kept there", hint="name one with --results")
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        folder = results / f"{name}-{stamp}"
        number = 1
        while folder.exists():
            number += 1
            folder = results / f"{name}-{stamp}-{number}"
        (folder / "trials").mkdir(parents=True)
        store = cls(folder, {"format": FORMAT, "scenario": name, "started_at": _now(), "state": "running", **facts})
        store._write_facts()
        return store

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open an existing run folder. Raises UsageError when it is none, or of another format."""
        try:
            facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            if not isinstance(facts, dict):
                raise ValueError("run.json holds no object")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{folder} is not a run folder: {error}", hint="name a folder below results/ that holds run.json"
            ) from error
        if facts.get("format") != FORMAT:
            raise UsageError(
                f"{folder} has format {facts.get('format')}; this version reads {FORMAT}",
                hint="use the version of harness that wrote it",
            )
        return cls(folder, facts)

    @classmethod
    def unfinished(cls, results: Path, name: str, identity: str) -> Self | None:
        """The newest run of scenario `name` that was cut off and had this identity, if any."""
        for file in sorted(results.glob(f"{name}-*/run.json"), reverse=True):
            try:
                store = cls.open(file.parent)
            except UsageError:
                continue  # not ours to judge here: another format, or torn while it was made
            if store.facts.get("scenario") == name and store.facts.get("identity") == identity:
                return store if store.facts["state"] not in ENDED else None
        return None

    def lock(self) -> None:
        """Hold the folder for this process. Raises UsageError when another holds it."""
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"{self.folder} is in use by another harness", hint="wait for it, or end it, and try again"
            ) from error
        self._cut_torn_line()

    @property
    def is_held(self) -> bool:
        """Whether a process holds the folder now."""
        try:
            with (self.folder / "lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def unlock(self) -> None:
        """Let the folder go."""
        if self._lock is not None:
            # The file stays: were it removed, a second process could lock the old one and a third a new one.
            self._lock.close()

    def _cut_torn_line(self) -> None:
        file = self.folder / "observations.jsonl"
        if not file.exists():
            return
        data = file.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            with file.open("r+b") as opened:
                opened.truncate(whole)

    def update(self, **facts: Any) -> None:
        """Note further facts of the run in `run.json`."""
        self.facts.update(facts)
        self._write_facts()

    def _write_facts(self) -> None:
        write_whole(self.folder / "run.json", json.dumps(self.facts, indent=2, sort_keys=True) + "\n")

    def append(self, observation: Observation) -> None:
        """Append an observation; on disk when this returns."""
        path = self.folder / "observations.jsonl"
        try:
            with path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(observation.to_json() + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(error.errno, f"cannot append to {path}: {error.strerror}") from error

    def observations(self) -> Iterator[Observation]:
        """All observations, oldest first. Raises UsageError on a line that cannot be read."""
        return self._read(self.folder / "observations.jsonl")

    def keep_earlier_baseline(self, observations: Iterable[Observation]) -> None:
        """Keep baseline runs of an earlier run, so that thinking again does not need that."""
        write_whole(self.folder / "earlier.jsonl", "".join(f"{item.to_json()}\n" for item in observations))

    def earlier_baseline(self) -> Iterator[Observation]:
        """The baseline runs of an earlier run that were kept. Raises UsageError as `observations` does."""
        return self._read(self.folder / "earlier.jsonl")

    def _read(self, file: Path) -> Iterator[Observation]:
        if not file.exists():
            return
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
        for number, line in enumerate(lines[:-1], 1):
            try:
                yield Observation.from_json(line)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UsageError(
                    f"{file}:{number}: {error}", hint="the file was edited or damaged; start a new run with --fresh"
                ) from error

    def scenario(self) -> Scenario:
        """The scenario that the run was made with, its folder where it was then.

        Raises UsageError when this version does not read it.
        """
        data = {**self.facts["scenario_data"], "path": Path(self.facts["scenario_path"])}
        try:
            return Scenario.model_validate(data)
        except ValidationError as error:
            raise UsageError(
                f"{self.folder} was made with a scenario that this version does not read: {error}",
                hint="use the version of harness that made it",
            ) from error

    def trial_folder(self, trial_id: str) -> Path:
        """Where the raw files of a trial go; one of an earlier run is RUN/ID, and that run lies beside this one."""
        run, _, number = trial_id.rpartition("/")
        return (self.folder.parent / run if run else self.folder) / "trials" / number

    @property
    def derived(self) -> Path:
        """Where what can be made again goes."""
        return self.folder / "derived"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new one whole, never a part.

    Raises OSError that names the file; nothing new is left then.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
