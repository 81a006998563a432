"""The commands that change or watch a unit of this machine, as the command line calls them."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from harness.deploy import apply, watch
from harness.deploy.change import lasting, require_root
from harness.deploy.checks import Checks
from harness.deploy.manager import Manager
from harness.deploy.parts import Part
from harness.errors import ExitStatus, UsageError
from harness.report import watch as shown
from harness.report.ask import agreed
from harness.report.plain import plain
from harness.results.folder import Run
from harness.unit.dropin import FILE_NAME


@dataclass(frozen=True)
class Wishes:
    """What the user said of a change: without a question, with functional steps, how long to watch, cautions or not."""

    yes: bool
    steps: bool
    grace_s: float
    with_cautions: bool = False


def apply_run(folder: Path, unit: str, part: Part, wishes: Wishes, out: Console, err: Console) -> None:
    """`harness apply`."""
    require_root()
    run = Run.open(folder)
    scenario = run.store.scenario()
    plan = apply.plan_apply(run, scenario, unit, part)
    if plan.before == plan.after:
        out.print(f"{plain(unit)} has it already: nothing to do", soft_wrap=True)
        return
    _agree(plan, wishes, out)
    how = apply.How(wishes.grace_s, Checks(scenario), wishes.steps, scenario.ignore_log, _said(err))
    state = apply.carry_out(plan, how, run=str(run.path.resolve()))
    out.print(f"{plain(unit)} is {state} with its new drop-in, and will be after a reboot", soft_wrap=True)
    out.print(f"next: harness watch {plain(unit)}; to go back: harness rollback {plain(unit)}", soft_wrap=True)


def rollback(unit: str, wishes: Wishes, out: Console, err: Console) -> None:
    """`harness rollback`."""
    require_root()
    plan, earlier = apply.plan_rollback(unit)
    _agree(plan, wishes, out)
    state = apply.carry_out(plan, apply.How(wishes.grace_s, said=_said(err)))
    out.print(f"{plain(unit)} is {state} with its settings from before {plain(earlier.at)}", soft_wrap=True)


def watch_unit(unit: str, since: str | None, scenario: Path | None, out: Console) -> None:
    """`harness watch`: exits with 1 when a line of the unit refused something."""
    require_root("reading the log of a unit")
    Manager(unit).require_loaded()
    known = scenario or getattr(watch.scenario_of(unit), "path", None) or Path("SCENARIO")
    drop_in = f"/etc/systemd/system/{unit}.d/{FILE_NAME}" if lasting(unit) is not None else ""
    if since is not None:
        report = watch.once(unit, since)
        shown.show(report, out, scenario=str(known), drop_in=drop_in)
        if any(finding.causes for finding in report.findings):
            raise typer.Exit(ExitStatus.NO_LONGER_WORKS)
        return
    out.print(f"watching {plain(unit)}; Ctrl-C ends it", soft_wrap=True)
    try:
        for report in watch.follow(unit):
            shown.show(report, out, scenario=str(known), drop_in=drop_in)
    except KeyboardInterrupt:
        return


def _agree(plan: apply.Plan, wishes: Wishes, out: Console) -> None:
    """Show what would change, and go on only with a yes. Raises UsageError for a no, or where nobody can be asked."""
    out.print(Text(plan.diff()), soft_wrap=True)
    for note in plan.notes:
        out.print(f"[bold]note[/]  {plain(note)}", soft_wrap=True)
    for caution in plan.cautions:
        out.print(f"[bold yellow]caution[/]  {plain(caution)}", soft_wrap=True)
    if wishes.yes and plan.cautions and not wishes.with_cautions:
        raise UsageError(
            "nothing was changed: there is a caution, and --yes alone does not answer it",
            hint="mend the scenario and tune again, or say --with-cautions as well",
        )
    if wishes.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing was changed: nobody is there to say yes", hint="say --yes, once you have seen the diff"
        )
    if not agreed(f"Restart {plan.unit} with this?" if plan.restarts else f"Change {plan.unit} to this?"):
        raise UsageError("nothing was changed")


def _said(err: Console) -> Callable[[str], None]:
    return lambda text: err.print(plain(text), soft_wrap=True)
