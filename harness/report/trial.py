"""One trial shown in full: what every step did, what was logged, and the verdict."""

from rich.console import Console

from harness.judge.verdict import Verdict
from harness.observation import Observation
from harness.report.plain import plain

SHOWN_LINES = 20
SHOWN_LOG_LINES = 200


def show(observation: Observation, verdict: Verdict, out: Console) -> None:
    """Print what a trial did, and its verdict."""
    _print(observation, out)
    style = "green" if verdict.passed else "bold red"
    out.print(f"[{style}]{verdict.outcome.value}[/]  {plain(verdict.reason)}", soft_wrap=True)
    if verdict.suspects:
        out.print("suspects: " + ", ".join(verdict.suspects), soft_wrap=True)


def _print(observation: Observation, out: Console) -> None:
    for step in observation.steps:
        mark = "[green]ok[/]" if step.ok else "[bold red]no[/]"
        line = f"{mark}  {step.duration_s:6.2f} s  {plain(step.part)}: {plain(step.name)}"
        out.print(line + (f"  {plain(step.problem)}" if step.problem else ""), soft_wrap=True)
        if not step.ok:
            for text in (*step.stdout.splitlines()[-SHOWN_LINES:], *step.stderr.splitlines()[-SHOWN_LINES:]):
                out.print(f"      {plain(text)}", soft_wrap=True)
    if observation.start_problem:
        out.print(f"[bold red]no[/]  start: {plain(observation.start_problem)}", soft_wrap=True)
    if (more := len(observation.journal) - SHOWN_LOG_LINES) > 0:
        out.print(f"[dim]log   {more} lines before these[/]", soft_wrap=True)
    for entry in observation.journal[-SHOWN_LOG_LINES:]:
        out.print(f"[dim]log   {plain(entry.message)}[/]", soft_wrap=True)
    for record in observation.kernel:
        out.print(f"[dim]kernel {plain(record)}[/]", soft_wrap=True)
    exposure = "not measured" if observation.exposure is None else f"{observation.exposure:.1f}"
    out.print(f"exposure {exposure}, {observation.durations_s.get('total', 0.0):.1f} s in all", soft_wrap=True)
