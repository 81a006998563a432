"""The small run that is committed for notebooks and tests, and copies of it that say other things."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.results.folder import Run

PROJECT = Path(__file__).parents[2]
RESULTS = PROJECT / "notebooks" / "sample"
Facts = dict[str, Any]


def sample() -> Run:
    """The committed run."""
    return Run.open(next(RESULTS.glob("*/run.json")).parent)


def copied(folder: Path, name: str = "") -> Path:
    """A copy of it that may be changed."""
    source = sample().path
    target = folder / (name or source.name)
    shutil.copytree(source, target)
    return target


def edit(path: Path, change: Callable[[Facts], object]) -> None:
    """Change a JSON file."""
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_observations(run: Path, change: Callable[[Facts], object]) -> None:
    """Change every stored observation."""
    file = run / "observations.jsonl"
    items = [json.loads(line) for line in file.read_text().splitlines()]
    for item in items:
        change(item)
    file.write_text("".join(json.dumps(item) + "\n" for item in items))
