"""Mistakes in a scenario file that lie between its tables, or in what it names outside of itself.

They are looked for in the raw data, so that they are said together with those of single keys.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness.mistakes import meant
from harness.unit import catalogue
from harness.unit.dropin import LIMITS

MAXIMUM_FILE_BYTES = 64 * 1024 * 1024
RESERVED_NAMES = frozenset({"start", "ready", "stop"})


def of(raw: dict[str, Any], folder: Path) -> list[str]:
    """One line for each mistake; `raw` may have any shape, `folder` is where the file lies."""
    names, targets = _values(raw, "name", "steps", "after", "life_cycle"), _values(raw, "target", "files")
    return [*between(names, targets), *_unknown_directives(raw), *_missing_sources(raw, folder)]


def between(names: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Mistakes in what the tables have together: names of steps, targets of files."""
    mistakes = []
    if double := _more_than_once(names):
        mistakes.append(f"step names must be unique; used more than once: {', '.join(double)}")
    if taken := sorted(RESERVED_NAMES.intersection(names)):
        mistakes.append(f"no step may be called {' or '.join(taken)}: trials measure these by themselves")
    if double := _more_than_once(targets):
        mistakes.append(f"files: more than one is put at {', '.join(double)}")
    return mistakes


def _values(raw: dict[str, Any], key: str, *tables: str) -> list[str]:
    """Texts under `key` in lists of tables, which may have any shape."""
    items = [item for table in tables if isinstance(found := raw.get(table), list) for item in found]
    return [item[key] for item in items if isinstance(item, dict) and isinstance(item.get(key), str)]


def _more_than_once(values: Iterable[str]) -> list[str]:
    return sorted(value for value, count in Counter(values).items() if count > 1)


def _unknown_directives(raw: dict[str, Any]) -> list[str]:
    """Mistakes in `leave_alone`: a name that is misspelt would leave nothing alone."""
    known = {*LIMITS, *(key for directive in catalogue.load() for key in directive.keys)}
    alone = raw.get("leave_alone")
    unknown = [name for name in alone if name not in known] if isinstance(alone, dict) else []
    return [f"leave_alone.{name}: no directive that is known here{meant(name, sorted(known))}" for name in unknown]


def _missing_sources(raw: dict[str, Any], folder: Path) -> list[str]:
    """Mistakes in `files.N.source`, found beside others: so `raw` may have any shape."""
    mistakes = []
    files = raw.get("files")
    for number, item in enumerate(files if isinstance(files, list) else ()):
        name = item.get("source") if isinstance(item, dict) else None
        if not isinstance(name, str) or not name:
            continue
        source = folder / name
        if not source.is_file():
            mistakes.append(f"files.{number}.source: there is no file {source}")
        elif source.stat().st_size > MAXIMUM_FILE_BYTES:
            mistakes.append(f"files.{number}.source: larger than 64 MiB; make it part of the root tree instead")
    return mistakes
