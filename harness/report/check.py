"""A check on the terminal and as JSON."""

import json
from typing import Any

from rich.console import Console

from harness.judge.check import Check, Row
from harness.judge.holding import Hold
from harness.judge.settings import Idle, place
from harness.report.plain import plain

FORMAT = 1
COLOURS = {
    Hold.ENFORCED: "green",
    Hold.FILTERED: "green",
    Hold.ABSENT: "bold red",
    Hold.PARTLY: "yellow",
    Hold.UNKNOWN: "dim",
    Hold.NOT_RUNNING: "dim",
    Hold.NO_LIMIT: "dim",
}


def show(check: Check, out: Console, *, every: bool = False) -> None:
    """Print what is set and how it holds, lines that do nothing, contradictions, what is open, and the score.

    `every` lists directives that are not set, too, with what they would do.
    """
    exposure = "unknown" if check.exposure is None else f"{check.exposure:.1f}"
    runs = f"{check.processes} processes" if check.processes != 1 else "1 process"
    state = runs if check.running else "no process to look at"
    out.print(f"[bold]{plain(check.name)}[/]  exposure {exposure}, score {check.score} of 100, {state}", soft_wrap=True)
    if check.reload_needed:
        out.print("systemd has not read its files as they are now: systemctl daemon-reload", soft_wrap=True)
    _settings(check, out)
    _listed(out, "lines that do nothing", [f"{_place(i)}  → {i.why}" for i in check.idle])
    _listed(out, "contradictions", [c.what for c in check.contradictions])
    _open(check, out, every=every)
    scored = " · ".join(f"{s.name} {s.points:g}/{s.weight}" for s in check.scored)
    out.print(f"\n[bold]score[/]  {check.score} of 100: {scored}", soft_wrap=True)


def to_json(check: Check) -> str:
    """The whole check as one JSON object (docs/check.md)."""
    data: dict[str, Any] = {
        "format": FORMAT,
        "unit": check.name,
        "systemd": check.systemd,
        "running": check.running,
        "processes": check.processes,
        "reload_needed": check.reload_needed,
        "exposure": check.exposure,
        "score": check.score,
        "groups": [{"name": s.name, "points": s.points, "weight": s.weight} for s in check.scored],
        "directives": [_row(row) for row in check.rows],
        "idle": [
            {
                "file": i.line.source,
                "line": i.line.line,
                "directive": i.line.key,
                "value": i.line.value,
                "words": list(i.words),
                "why": i.why,
            }
            for i in check.idle
        ],
        "contradictions": [c.what for c in check.contradictions],
    }
    return json.dumps(data, indent=2, ensure_ascii=False)


def _row(row: Row) -> dict[str, Any]:
    parts = [{"name": p.name, "holds": p.hold.value, "evidence": p.evidence} for p in row.finding.parts]
    return {
        "name": row.name,
        "value": row.value or None,
        "effect": row.effect,
        "holds": row.finding.hold.value,
        "parts": parts,
        "tighter": row.tighter or None,
        "manual": row.manual,
    }


def _settings(check: Check, out: Console) -> None:
    out.print()
    for row in check.rows:
        if row.value:
            hold = row.finding.hold
            word = "off" if hold is Hold.OPEN else hold.value
            colour = COLOURS.get(hold, "default")
            out.print(f"[{colour}]{word:16}[/] {plain(row.name)}={plain(row.value)}", soft_wrap=True)
            out.print(f"{'':16} [dim]{plain(row.finding.evidence or row.effect)}[/]", soft_wrap=True)


def _open(check: Check, out: Console, *, every: bool) -> None:
    rows = [row for row in check.rows if row.tighter]
    tight = [f"{row.name}: {row.tighter}" for row in rows if row.value]
    _listed(out, "could be tighter", tight)
    unset = [row for row in rows if not row.value and not row.tighter.startswith("needs systemd")]
    if every:
        _listed(out, "not set", [f"{row.name}: {row.effect}  → {row.tighter}" for row in unset])
    elif unset:
        out.print(f"\n[bold]not set[/]  {plain(' '.join(row.name for row in unset))}  (--all says what each does)")


def _listed(out: Console, title: str, lines: list[str]) -> None:
    if lines:
        out.print(f"\n[bold]{title}[/]")
    for line in lines:
        out.print(f"  {plain(line)}", soft_wrap=True)


def _place(idle: Idle) -> str:
    """File and number of a line, and of its words those that do nothing."""
    what = f"{idle.line.key}={idle.line.value}"
    if idle.words and not set(idle.line.value.removeprefix("~").split()) <= set(idle.words):
        what = f"{' '.join(idle.words)} in {idle.line.key}="
    return f"{place(idle.line)}: {what}"
