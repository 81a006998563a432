"""What a look at a deployed unit found, on the terminal: refusal, cause, relaxation, and the command to try it."""

import shlex

from rich.console import Console

from harness.judge.watching import Finding, Report
from harness.report.plain import plain
from harness.results.recommendation import one_line


def show(report: Report, out: Console, *, scenario: str, drop_in: str) -> None:
    """Print a report. `scenario` is the file to try a relaxation with, `drop_in` the unit's present drop-in."""
    for finding in report.findings:
        _finding(finding, out, scenario, drop_in)
    for text in report.near:
        out.print(f"[bold]near[/]     {plain(one_line(text))}", soft_wrap=True)
    if not report.findings and not report.near:
        out.print("no refusal in the log, and no limit near", soft_wrap=True)


def _finding(finding: Finding, out: Console, scenario: str, drop_in: str) -> None:
    times = f" ({finding.times} times)" if finding.times > 1 else ""
    out.print(f"[bold]refused[/]  {plain(one_line(finding.evidence))}{times}", soft_wrap=True)
    if not finding.causes:
        out.print("cause    not known: no setting of the unit explains it", soft_wrap=True)
    for number, cause in enumerate(finding.causes):
        word = "cause" if number == 0 else "and"
        out.print(f"{word:8} {plain(cause.line)}: {plain(cause.because)}", soft_wrap=True)
    lines = [line for cause in finding.causes for line in cause.relaxation]
    if lines:
        out.print(f"relax    {plain('; '.join(lines))}", soft_wrap=True)
        out.print(f"try it   {plain(command(lines, scenario, drop_in))}", soft_wrap=True)
    out.print()


def command(lines: list[str], scenario: str, drop_in: str) -> str:
    """The command that tries the relaxation in a machine."""
    given = f" --with {shlex.quote(drop_in)}" if drop_in else ""
    return f"harness try {shlex.quote(scenario)}{given}" + "".join(f" --set {shlex.quote(line)}" for line in lines)
