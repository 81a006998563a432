"""The nights: `results/nights/DATE/nightly.json`, what each said of every service, and which are old enough to go."""

import fcntl
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from harness.errors import UsageError
from harness.results.judgement import Word
from harness.results.store import write_whole

FORMAT = 1
FOLDER = "nights"
FILE_NAME = "nightly.json"
_NAME = re.compile(r"20\d{6}-\d{6}(-\d+)?")


@dataclass(frozen=True)
class Service:
    """What one night says of one service.

    `causes` are what changed around it since it was accepted, `culprits` the lines to blame, `differences` all that
    differs. `run` is the folder of tonight's run, relative to the night's. Exposure is from 0 to 10; None is "not
    measured". `limits` have `directive`, `value` and `number`, those of tonight where they were fitted tonight, else
    the accepted ones.
    """

    scenario: str
    unit: str
    word: Word
    reason: str
    causes: tuple[str, ...] = ()
    culprits: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    run: str = ""
    accepted_at: str = ""
    exposure_accepted: float | None = None
    exposure: float | None = None
    limits: tuple[dict[str, Any], ...] = ()
    trials: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True)
class Night:
    """One night: `order` is that in which services were tried, drawn from `seed`; `stopped` says why it ended early."""

    name: str
    started_at: str
    duration_s: float
    seed: int
    order: tuple[str, ...]
    services: tuple[Service, ...] = field(default=())
    stopped: str = ""

    @property
    def broken(self) -> list[Service]:
        """Services of which what was accepted no longer works."""
        return [item for item in self.services if item.word is Word.BROKEN]

    @property
    def undecided(self) -> list[Service]:
        """Services of which nothing could be said."""
        return [item for item in self.services if item.word is Word.UNDECIDED]

    def write(self, results: Path) -> Path:
        """Write `nightly.json` into the night's folder."""
        path = folder_of(results) / self.name / FILE_NAME
        data = {"format": FORMAT, **asdict(self)}
        write_whole(path, json.dumps(data, indent=1, sort_keys=True, default=lambda value: value.value) + "\n")
        return path

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `write`. Raises ValueError on another format."""
        data = json.loads(text)
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise ValueError(f"another format than {FORMAT}")
        services = tuple(
            Service(**{key: _frozen(value) for key, value in item.items()} | {"word": Word(item["word"])})
            for item in data.pop("services")
        )
        return cls(**{key: _frozen(value) for key, value in data.items()}, services=services)


def folder_of(results: Path) -> Path:
    """Where the nights of a results folder are."""
    return results / FOLDER


def read(results: Path) -> Iterator[Night]:
    """All nights, oldest first; one that cannot be read, or was cut off before it was written, is passed over."""
    for file in sorted(folder_of(results).glob(f"*/{FILE_NAME}")):
        try:
            yield Night.from_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue


def prune(results: Path, keep: int, *, spare: str = "") -> list[Path]:
    """Delete all nights but the newest `keep`, with their runs; returns what was deleted, which is never `spare`.

    Only folders named by date and time, as a night names its own, are touched.
    """
    found = folder_of(results).iterdir() if folder_of(results).is_dir() else ()
    named = [path for path in found if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]
    old = [path for path in sorted(named)[: -max(1, keep)] if path.name != spare]  # the clock may have been set back
    for path in old:
        shutil.rmtree(path)
    return old


@contextmanager
def lock(results: Path) -> Iterator[None]:
    """Hold the nights of a results folder for this process. Raises UsageError when another one holds them."""
    folder = folder_of(results)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"{folder} is in use by another night", hint="wait for it, or end it, and try again"
            ) from error
        yield


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
