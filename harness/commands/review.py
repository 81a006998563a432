"""Commands that review runs: `list`, `diff`, `accept` and `notebooks`."""

from pathlib import Path
from typing import Annotated

import typer

from harness.report import difference, listing
from harness.report.plain import plain
from harness.report.summary import console
from harness.results.accepted import Accepted
from harness.results.folder import Run

RunFolder = Annotated[Path, typer.Argument(help="A run folder below results/", show_default=False)]
Results = Annotated[Path, typer.Option(help="Folder that holds one folder per run")]


def add_to(app: typer.Typer) -> None:
    """Put the commands of this group on the command line."""
    app.command("list")(list_)
    app.command()(diff)
    app.command()(accept)
    app.command()(notebooks)


def list_(
    results: Results = Path("results"),
    scenario: Annotated[str, typer.Option(help="Only runs of this scenario")] = "",
) -> None:
    """List the runs of a results folder, oldest first.

    Example: harness list --scenario redis
    """
    items = [item for item in listing.runs(results) if scenario in ("", item.scenario)]
    out = console()
    if items:
        listing.show(items, out)
    else:
        of = f" of {plain(scenario)}" if scenario else ""
        out.print(f"no runs{of} in {plain(str(results))}; harness tune scenarios/NAME.toml makes one", soft_wrap=True)


def diff(before: RunFolder, after: RunFolder) -> None:
    """Say what a later run of the same unit tightens, leaves open and limits in another way.

    Example: harness diff results/redis-20260102-030405 results/redis-20260203-040506
    """
    difference.show(Run.open(before), Run.open(after), console())


def accept(
    run: RunFolder,
    results: Results = Path("results"),
    note: Annotated[str, typer.Option(help="A line for whoever reads it later")] = "",
) -> None:
    """Accept what a run recommends: every later night is compared with it.

    Example: harness accept results/redis-20260102-030405
    """
    accepted = Accepted.of_run(Run.open(run), note=note)
    path = accepted.write(results)
    out = console()
    out.print(f"accepted {plain(str(path))}", soft_wrap=True)
    out.print("next     harness nightly", soft_wrap=True)


def notebooks(
    results: Results = Path("results"),
    out: Annotated[Path, typer.Option(help="Folder for the HTML pages")] = Path("results/notebooks"),
) -> None:
    """Execute the notebooks over a results folder, and write them as HTML.

    Example: harness notebooks --results results
    """
    from harness.notebook import execute

    for path in execute(results, out):
        console().print(plain(str(path)), soft_wrap=True)
