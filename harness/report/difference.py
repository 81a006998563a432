"""Two runs side by side on the terminal: what the later one tightens, leaves open and limits in another way."""

import difflib
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.errors import UsageError
from harness.report.plain import plain
from harness.report.template import figure
from harness.results.accepted import bare
from harness.results.compare import Difference, differences
from harness.results.folder import Run
from harness.results.recommendation import one_line

_STYLES = {"gained": "green", "closed": "green", "lost": "red", "opened": "red", "moved": "yellow"}


def show(before: Run, after: Run, out: Console) -> None:
    """Print both runs in a line each, what differs with its reason, and the change of the drop-in.

    Raises UsageError when one of them recommends nothing, or they are of different units.
    """
    old, new = _recommendation(before), _recommendation(after)
    if before.unit != after.unit:
        raise UsageError(
            f"{before.path} is of {before.unit}, {after.path} of {after.unit}", hint="compare two runs of one unit"
        )
    for run, data in ((before, old), (after, new)):
        exposure = f"{figure(data['exposure_before'])} → {figure(data['exposure_after'])}"
        out.print(plain(f"{run.name}: {data['state']}, exposure {exposure}, {data['trials']} trials"), soft_wrap=True)
    out.print()
    found = differences(old, new)
    for item in found:
        out.print(_line(item), soft_wrap=True)
    lines = _changed_lines(before, after)
    if not found and not lines:
        out.print("the same settings and limits")
    if lines:
        out.print()
    for line in lines:
        out.print(Text(one_line(line, most=400), style={"+": "green", "-": "red"}[line[0]]), soft_wrap=True)


def _recommendation(run: Run) -> dict[str, Any]:
    if run.recommendation is None:
        raise UsageError(f"{run.path} holds no recommendation", hint="let it end first: harness tune goes on with it")
    return run.recommendation


def _line(item: Difference) -> Text:
    text = Text(f"{item.change:7}", style=_STYLES[item.change])
    text.append(one_line(item.what), style="bold")
    return text.append(f"  {one_line(item.why)}") if item.why else text


def _changed_lines(before: Run, after: Run) -> Sequence[str]:
    old, new = (bare(run.drop_in).splitlines() for run in (before, after))
    changed = difflib.unified_diff(old, new, lineterm="", n=0)
    return [line for line in changed if not line.startswith(("---", "+++", "@@"))]
