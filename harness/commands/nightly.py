"""The command `nightly`: one night, or the units that spend one every night."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness import apart, schedule
from harness import nightly as nights_spent
from harness.errors import ExitStatus, HarnessError, UsageError
from harness.nightly import Plan, Search, Watcher
from harness.report import nights as index_page
from harness.report.ask import agreed
from harness.report.night import show_end, show_service, write_metrics
from harness.report.plain import plain
from harness.report.progress import Reporter
from harness.report.summary import console
from harness.results import nights
from harness.scenario import load
from harness.session import Listener

SCENARIOS = Path("scenarios")
METRICS = "harness.prom"
Deadline = Annotated[float | None, typer.Option(min=0.1, show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Put the command on the command line."""
    app.command()(nightly)


def nightly(
    scenarios: Annotated[list[Path] | None, typer.Argument(help="Scenario files (default: all in scenarios/)")] = None,
    results: Annotated[Path, typer.Option(help="Folder that holds runs, what was accepted, and nights")] = Path(
        "results"
    ),
    minutes: Annotated[float, typer.Option(min=0, help="Deadline of the whole night (0: none)")] = 480,
    minutes_each: Annotated[float, typer.Option(min=0, help="Deadline of each service (0: none)")] = 60,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Machines side by side (0: one per processor)")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Draws the order (default: a new one every night)")] = None,
    keep: Annotated[int, typer.Option(min=1, help="Nights to keep; older ones are deleted")] = 30,
    search: Annotated[
        Search, typer.Option(help="Tune anew where something changed or no longer works, or always, or never")
    ] = Search.CHANGED,
    metrics: Annotated[Path | None, typer.Option(help="Prometheus textfile (default: below nights/)")] = None,
    install: Annotated[bool, typer.Option(help="Show a service and a timer for every night, and write them")] = False,
    yes: Annotated[bool, typer.Option(help="With --install: write them without asking")] = False,
    calendar: Annotated[str, typer.Option(help="With --install: when, as systemd.time(7) has it")] = "*-*-* 02:00",
    unit_folder: Annotated[Path, typer.Option(help="With --install: where to")] = Path("/etc/systemd/system"),
) -> None:
    """Try again what was accepted of every service, and say what has changed since.

    Words: same, could be tighter, no longer works, limits moved, undecided. Exit status 1 only on: no longer works.

    Example: harness nightly --minutes-each 20
    """
    files = _files(scenarios)
    plan = Plan(results, minutes or None, minutes_each or None, workers, seed, keep, search)
    if install:
        _install(files, scenarios, plan, metrics=metrics, yes=yes, calendar=calendar, folder=unit_folder)
        return
    out = console()
    with Reporter() as reporter:
        watcher = Watcher(
            begins=lambda name, number, count: reporter.note(f"{name} ({number} of {count})"),
            ends=lambda service: reporter.aside(lambda: show_service(service, out)),
            session=Listener(reporter.phase, reporter.observation, reporter.note),
        )
        night = nights_spent.run(files, plan, watcher)
        reporter.note("writing the index and the notebooks")
        if why := apart.write_notebooks(results, nights.folder_of(results) / "notebooks"):
            reporter.note(f"no notebooks: {why}")
    known = list(nights.read(results))
    write_metrics(known, metrics or nights.folder_of(results) / METRICS)
    show_end(night, results, index_page.write(results, known), out)
    if night.broken:
        raise typer.Exit(ExitStatus.NO_LONGER_WORKS)
    if night.stopped:
        raise typer.Exit(ExitStatus.BUDGET)


def _files(given: Sequence[Path] | None) -> list[Path]:
    files = list(given or sorted(SCENARIOS.glob("*.toml")))
    if not files:
        raise UsageError(f"no scenario in {SCENARIOS}/", hint="name scenario files: harness nightly FILE …")
    names = [file.stem for file in files]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"more than one scenario is called {', '.join(double)}", hint="results go by that name")
    if missing := [str(file) for file in files if not file.is_file()]:
        raise UsageError(f"no such scenario file: {', '.join(missing)}", hint="name files that are there")
    return files


def _install(
    files: Sequence[Path],
    given: Sequence[Path] | None,
    plan: Plan,
    *,
    metrics: Path | None,
    yes: bool,
    calendar: str,
    folder: Path,
) -> None:
    """Show both units, ask, and write them; systemd is not told. Raises UsageError for a no."""
    units = schedule.units(
        _arguments(given, plan, metrics), calendar=calendar, minutes=plan.minutes, granted=_granted(files)
    )
    out = console()
    for name, text in ((schedule.SERVICE, units.service), (schedule.TIMER, units.timer)):
        out.print(f"[bold]{plain(str(folder / name))}[/]", soft_wrap=True)
        out.print(plain(text), soft_wrap=True)
    if not yes and not agreed("Write them?"):
        raise UsageError("nothing was written")
    units.write(folder)
    out.print(f"next: systemctl daemon-reload && systemctl enable --now {schedule.TIMER}", soft_wrap=True)


def _arguments(given: Sequence[Path] | None, plan: Plan, metrics: Path | None) -> list[str]:
    """The command line of the service: what was said here, with whole paths."""
    words = [str(file.absolute()) for file in given or ()]
    words += ["--results", str(plan.results.absolute()), "--keep", str(plan.keep)]
    words += ["--minutes", f"{plan.minutes or 0:g}", "--minutes-each", f"{plan.minutes_each or 0:g}"]
    words += ["--workers", str(plan.workers)] if plan.workers else []
    words += ["--seed", str(plan.seed)] if plan.seed is not None else []
    words += ["--metrics", str(metrics.absolute())] if metrics is not None else []
    return words + (["--search", plan.search.value] if plan.search is not Search.CHANGED else [])


def _granted(files: Sequence[Path]) -> set[str]:
    """Capabilities that any of the scenarios asks for; a scenario with mistakes is the night's to complain of."""
    found: set[str] = set()
    for file in files:
        try:
            found.update(load(file).capabilities)
        except HarnessError:
            continue
    return found
