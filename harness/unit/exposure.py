"""What `systemd-analyze security` says, read from its output (systemd-analyze(1)). Nothing is run here.

The JSON rows have no overall figure (systemd 252 to 262), so that one number is read from the text.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from harness.errors import UnitError

_OVERALL = re.compile(r"Overall exposure level for (?P<unit>\S+): (?P<level>\d+(?:\.\d+)?)(?=\s|$)")


@dataclass(frozen=True)
class Row:
    """One assessment. `set` is None where it does not apply; `exposure` is 0 to 10 in tenths, None for no share."""

    set: bool | None
    name: str
    json_field: str
    description: str
    exposure: float | None


def overall(text: str) -> float:
    """The exposure, 0.0 (tight) to 10.0 (open), of the last unit in the text output (LC_ALL=C). Raises `UnitError`."""
    found = _OVERALL.findall(text)
    if not found:
        raise UnitError(
            "systemd-analyze security gave no overall exposure level",
            hint="run it by hand: systemd-analyze security --offline=true FILE",
        )
    return float(found[-1][1])


def rows(text: str) -> tuple[Row, ...]:
    """The rows of `--json=short` or `--json=pretty` for one unit. Raises `UnitError`."""
    try:
        data = json.loads(text)
        return tuple(_row(entry) for entry in data)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise UnitError(
            f"systemd-analyze security gave rows that cannot be read: {error}",
            hint="run it by hand with --json=short; several units give several arrays",
        ) from error


def _row(entry: dict[str, Any]) -> Row:
    share = entry["exposure"]
    return Row(
        set=entry["set"],
        name=entry["name"],
        json_field=entry["json_field"],
        description=entry["description"],
        exposure=None if share is None else float(share),
    )
