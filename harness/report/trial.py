"""One trial shown in full: what every step did, what was logged, and the verdict."""

import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from harness.errors import UsageError
from harness.judge.rules import judge
from harness.observation import Observation
from harness.scenario import Scenario
from harness.session import check_ready
from harness.trial.run import Trial, run_trial
from harness.unit import catalogue

SHOWN_LINES = 20


def try_once(scenario: Scenario, drop_in: Path | None, out: Console) -> bool:
    """Run one trial of a scenario under a drop-in file (none: as shipped) and print it; whether it passed."""
    check_ready(scenario)
    try:
        text = drop_in.read_text(encoding="utf-8") if drop_in is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the drop-in {drop_in}: {error}", hint="name a systemd drop-in file") from error
    with tempfile.TemporaryDirectory(prefix="harness-try-") as folder:
        trial = Trial(scenario, "0001", "by-hand", text, scenario.seed, folder=Path(folder))
        observation = run_trial(trial)
    verdict = judge(scenario, observation, catalogue=catalogue.load())
    _print(observation, out)
    style = "green" if verdict.passed else "bold red"
    out.print(f"[{style}]{verdict.outcome.value}[/]  {escape(verdict.reason)}", soft_wrap=True)
    if verdict.suspects:
        out.print("suspects: " + ", ".join(verdict.suspects), soft_wrap=True)
    return verdict.passed


def _print(observation: Observation, out: Console) -> None:
    for step in observation.steps:
        mark = "[green]ok[/]" if step.ok else "[bold red]no[/]"
        line = f"{mark}  {step.duration_s:6.2f} s  {escape(step.part)}: {escape(step.name)}"
        out.print(line + (f"  {escape(step.problem)}" if step.problem else ""), soft_wrap=True)
        if not step.ok:
            for text in (*step.stdout.splitlines()[-SHOWN_LINES:], *step.stderr.splitlines()[-SHOWN_LINES:]):
                out.print(f"      {escape(text)}", soft_wrap=True)
    if observation.start_problem:
        out.print(f"[bold red]no[/]  start: {escape(observation.start_problem)}", soft_wrap=True)
    for entry in observation.journal[-SHOWN_LINES:]:
        out.print(f"[dim]log   {escape(entry.message)}[/]", soft_wrap=True)
    for record in observation.kernel:
        out.print(f"[dim]kernel {escape(record)}[/]", soft_wrap=True)
    exposure = "not measured" if observation.exposure is None else f"{observation.exposure:.1f}"
    out.print(f"exposure {exposure}, {observation.durations_s.get('total', 0.0):.1f} s in all", soft_wrap=True)
