"""The command line: arguments, progress, exit status. The only place that prints and exits."""

import io
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness import __version__, apart, session, stored
from harness import check as check_module
from harness import init as init_module
from harness.commands import nightly as nightly_commands
from harness.commands import review as review_commands
from harness.deploy import commands
from harness.deploy.parts import Part
from harness.errors import ExitStatus, HarnessError, UsageError
from harness.machine import doctor as doctor_module
from harness.report import check as check_report
from harness.report import trial as trial_report
from harness.report.canaries import show as show_canaries
from harness.report.limits import show as show_limits
from harness.report.limits import show_data
from harness.report.plain import plain
from harness.report.progress import Reporter
from harness.report.summary import console, show
from harness.report.why import explain
from harness.results.earlier import check_earlier, scenario_path
from harness.scenario import Start, load
from harness.tune import Only

app = typer.Typer(
    help="Finds the tightest systemd confinement under which a service still works, by trying it.",
    epilog="Exit status: 0 done · 1 no longer works · 2 usage · 3 baseline does not pass · 4 no machine · 5 stopped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
ScenarioFile = Annotated[Path, typer.Argument(help="Scenario file, such as scenarios/redis.toml", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(help="A run folder below results/", show_default=False)]
Results = Annotated[Path, typer.Option(help="Folder that holds one folder per run")]


def _show_version(asked: bool) -> None:
    if asked:
        console().print(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version")
    ] = False,
) -> None:
    """Options of the program itself."""


@app.command()
def doctor(boot: Annotated[bool, typer.Option(help="Boot one machine as well")] = True) -> None:
    """Check whether this host can make machines and which directives they really enforce.

    Says what to install where something is missing.

    Example: harness doctor
    """
    findings = doctor_module.examine()
    if boot and all(finding.ok for finding in findings):
        findings.append(doctor_module.try_boot())
    out = console()
    for finding in findings:
        mark = "[green]ok[/]  " if finding.ok else "[bold red]no[/]  "
        out.print(f"{mark}{plain(finding.name):16} {plain(finding.detail)}", soft_wrap=True)
        if finding.hint and not finding.ok:
            out.print(f"      → {plain(finding.hint)}", soft_wrap=True)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(ExitStatus.MACHINE)
    if boot:
        show_canaries(session.host_canaries(), out)


@app.command()
def check(
    unit: Annotated[str, typer.Argument(help="An installed service, or the path of a unit file", show_default=False)],
    filters: Annotated[bool, typer.Option("--filters", help="Read its system call filters: stops it for a moment")] = (
        False
    ),
    canaries: Annotated[bool, typer.Option("--canaries", help="Try in a machine what this host enforces")] = False,
    every: Annotated[bool, typer.Option("--all", help="List directives that are not set, too")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
    least: Annotated[int, typer.Option("--min", min=0, max=100, help="Exit with 1 below this score")] = 0,
) -> None:
    """Say what a unit's lines do, which of them the kernel enforces, which do nothing, and what is open.

    Changes nothing. Exits with 1 below --min, or where something that is set is not enforced.

    Example: harness check nginx.service --min 60
    """
    found = check_module.check(unit, read_filters=filters, try_canaries=canaries)
    if as_json:
        sys.stdout.write(check_report.to_json(found) + "\n")
    else:
        check_report.show(found, console(), every=every)
    if found.not_enforced or found.score < least:
        raise typer.Exit(ExitStatus.NO_LONGER_WORKS)


@app.command()
def init(
    unit: Annotated[str, typer.Argument(help="An installed service, such as nginx.service")],
    output: Annotated[Path | None, typer.Option(help="File to write (default scenarios/NAME.toml)")] = None,
) -> None:
    """Write a commented scenario for an installed unit, to be completed by hand.

    Example: harness init nginx.service
    """
    doctor_module.require()
    path = init_module.write(unit, output)
    out = console()
    out.print(f"wrote {plain(str(path))}", soft_wrap=True)
    steps = plain("[[steps]]")
    out.print(f"next: say what the service must do in {steps}, then `harness try {plain(str(path))}`", soft_wrap=True)


@app.command("try")
def try_(
    scenario: ScenarioFile,
    drop_in: Annotated[Path | None, typer.Option("--with", help="A drop-in to try it under")] = None,
    lines: Annotated[list[str] | None, typer.Option("--set", help="A further line, such as PrivateTmp=no")] = None,
) -> None:
    """Run one trial and show all of it: the baseline, or the unit as shipped under a drop-in and further lines.

    Example: harness try scenarios/redis.toml --with hardening.conf --set ProtectHome=read-only
    """
    try:
        text = drop_in.read_text(encoding="utf-8") if drop_in is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the drop-in {drop_in}: {error}", hint="name a systemd drop-in file") from error
    text += "".join(["\n[Service]\n", *(f"{line}\n" for line in lines)]) if lines else ""
    observation, verdict = session.try_once(load(scenario), text)
    trial_report.show(observation, verdict, console())
    if not verdict.passed:
        raise typer.Exit(ExitStatus.BASELINE)


@app.command()
def tune(
    scenario: Annotated[Path | None, typer.Argument(help="Scenario file; with --from that run's, if not named")] = None,
    results: Results = Path("results"),
    workers: Annotated[int, typer.Option(min=0, max=64, help="Machines side by side (0: one per processor)")] = 0,
    max_trials: Annotated[int | None, typer.Option(min=1, help="Stop after this many trials")] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0, help="Stop after this many minutes")] = None,
    fresh: Annotated[bool, typer.Option(help="Start anew even if a run of it was cut off")] = False,
    only: Annotated[Only, typer.Option(help="Search directives, or fit limits on top of the last run, or both")] = (
        Only.BOTH
    ),
    earlier: Annotated[Path | None, typer.Option("--from", help="Go on from the answer of an earlier run")] = None,
    scenario_changed: Annotated[bool, typer.Option("--scenario-changed", help="Its scenario is another now")] = False,
    full: Annotated[bool, typer.Option("--full", help="With --from: try again all that it refused")] = False,
    start: Annotated[Start | None, typer.Option(help="Where to start, instead of what the scenario says")] = None,
) -> None:
    """Find the tightest configuration that works, with limits; goes on with a run that was cut off.

    Example: harness tune scenarios/redis.toml
    """
    scenario = scenario or scenario_path(earlier)
    options = session.Options(results, workers, max_trials, max_minutes, fresh, only, earlier, full)
    with Reporter() as reporter:
        listener = session.Listener(reporter.phase, reporter.observation, reporter.note)
        loaded = load(scenario)
        loaded = loaded if start is None else loaded.model_copy(update={"start": start})
        check_earlier(loaded, earlier, changed=scenario_changed)
        if only is not Only.DIRECTIVES and (told := loaded.limits.too_few()):
            raise UsageError(f"{scenario}: limits.{told}", hint="raise it, or leave limits out: --only directives")
        answer, store = session.tune(loaded, options, listener)
    apart.write_page(store.folder)
    show(answer, store.folder, console())


@app.command()
def report(
    run: RunFolder,
    page_only: Annotated[bool, typer.Option(help="Only the page, from what was recommended before")] = False,
) -> None:
    """Think again over a stored run: write derived/ anew with its page, report.html, and show the summary.

    Example: harness report results/redis-20260102-030405
    """
    # Here and not above: pandas and matplotlib take longer to load than all the rest, and tuning needs neither.
    from harness.report import page
    from harness.results.folder import Run

    out = console()
    if not page_only:
        answer, store = stored.think_again(run)
    path = page.write(Run.open(run))
    if page_only:
        out.print(f"page     {plain(str(path))}", soft_wrap=True)
    else:
        show(answer, store.folder, out)


@app.command()
def fit(run: RunFolder) -> None:
    """Fit the limits again from the stored samples of a run, without a machine, and show what they rest on.

    Example: harness fit results/redis-20260102-030405
    """
    answer, store = stored.think_again(run)
    if answer.limits is None or not answer.limits.trials:
        raise UsageError(
            f"{run} holds no trials for limits",
            hint="run `harness tune --only limits` with its scenario: without a load step tune fits none by itself",
        )
    out = console()
    show_data(answer.limits, out)
    show_limits(answer.limits, out)
    out.print(f"written anew: {plain(str(store.derived))}", soft_wrap=True)


@app.command()
def why(
    run: RunFolder,
    directive: Annotated[str, typer.Argument(help="A directive, such as ProtectSystem", show_default=False)],
) -> None:
    """Say why a directive is not stricter: the failing trial, its step, and the lines that show it.

    Example: harness why results/redis-20260102-030405 IPAddressDeny
    """
    answer, store = stored.think_again(run)
    explain(answer, store.folder, directive, console())


UnitName = Annotated[str, typer.Argument(help="A service that runs here, such as nginx.service", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask")]
Grace = Annotated[float, typer.Option("--grace", min=0, max=86400, help="Seconds to watch it before it is kept")]


@app.command("apply")
def apply_(
    run: RunFolder,
    unit: Annotated[str, typer.Option(help="The unit to change, named so that no other is by mistake")],
    yes: Yes = False,
    steps: Annotated[bool, typer.Option("--steps", help="Run the scenario's functional steps as well")] = False,
    grace_s: Grace = 30.0,
    limits_only: Annotated[bool, typer.Option("--limits-only", help="Leave the directives as they are")] = False,
    directives_only: Annotated[bool, typer.Option("--directives-only", help="Leave the limits as they are")] = False,
    with_cautions: Annotated[bool, typer.Option("--with-cautions", help="With --yes: in spite of cautions")] = False,
) -> None:
    """Put a run's drop-in on the unit of this machine; it is kept only if the unit goes on working.

    Example: harness apply results/redis-20260102-030405 --unit redis-server.service
    """
    if limits_only and directives_only:
        raise UsageError("--limits-only and --directives-only exclude each other", hint="without either it is both")
    part = Part.LIMITS if limits_only else Part.DIRECTIVES if directives_only else Part.ALL
    wishes = commands.Wishes(yes, steps, grace_s, with_cautions)
    commands.apply_run(run, unit, part, wishes, console(), console(stderr=True))


@app.command()
def rollback(unit: UnitName, yes: Yes = False, grace_s: Grace = 5.0) -> None:
    """Bring back what a unit had before the last `harness apply`.

    Example: harness rollback redis-server.service
    """
    commands.rollback(unit, commands.Wishes(yes, False, grace_s), console(), console(stderr=True))


@app.command()
def watch(
    unit: UnitName,
    since: Annotated[str | None, typer.Option(help="Once, from then on: as journalctl has it, like -1h")] = None,
    scenario: Annotated[Path | None, typer.Option(help="Scenario to try a relaxation with")] = None,
) -> None:
    """Say what a running unit was refused, by which line of it, and the smallest relaxation; or follow it.

    Example: harness watch redis-server.service --since -1d
    """
    commands.watch_unit(unit, since, scenario, console())


review_commands.add_to(app)
nightly_commands.add_to(app)


def main() -> None:
    """Entry point: turns errors into a message, a hint and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 shows a question mark, and no traceback
    err = console(stderr=True)
    try:
        app()
    except HarnessError as error:
        _print_error(err, error.message, error.hint)
        sys.exit(error.status)
    except OSError as error:
        _print_error(err, str(error), "check free space and permissions; the same command goes on where it stopped")
        sys.exit(ExitStatus.MACHINE)


def _print_error(err: Console, message: str, hint: str) -> None:
    err.print(f"[bold red]error[/]  {plain(message)}", soft_wrap=True)
    if hint:
        err.print(f"[bold]hint[/]   {plain(hint)}", soft_wrap=True)
