"""What a lasting drop-in replaced, kept for `harness rollback`, under the hash of what replaced it.

Written before the drop-in is put in its place. By the hash it is found again only while the drop-in is what was
applied: what somebody edited since is not undone.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.results.store import write_whole

KEPT = Path("/var/lib/harness/applied")
FORMAT = 1


@dataclass(frozen=True)
class Record:
    """What was there before (`previous`, None for no drop-in), which run was applied, and when."""

    previous: str | None
    run: str
    at: str


def path(unit: str, text: str) -> Path:
    """Where the record of `text` as the drop-in of `unit` is."""
    return KEPT / unit / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def write(unit: str, text: str, record: Record) -> None:
    """Keep a record."""
    write_whole(path(unit, text), json.dumps({"format": FORMAT, **asdict(record)}, indent=2) + "\n")


def read(unit: str, text: str) -> Record:
    """The record of `text`. Raises UsageError when there is none."""
    file = path(unit, text)
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return Record(data["previous"], str(data["run"]), str(data["at"]))
    except FileNotFoundError:
        raise UsageError(
            f"the drop-in of {unit} is not what `harness apply` wrote: it was edited since, or is not from it",
            hint=f"look at `systemctl cat {unit}`, and change it by hand",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"cannot read {file}: {error}", hint="the drop-in is as it was; change it by hand") from error


def remove(unit: str, text: str) -> None:
    """Forget a record."""
    path(unit, text).unlink(missing_ok=True)
