"""`report.html`: one self-contained page of a run, to be opened from its folder months later."""

from collections.abc import Sequence
from pathlib import Path

from harness.report import charts, exports, facts
from harness.report.summary import PAGE
from harness.report.template import from_template
from harness.results.folder import Run
from harness.results.store import write_whole


def write(run: Run) -> Path:
    """Write the page, and beside it the answer for other tools, into the run's folder; returns the page's path.

    Raises UsageError when the run holds no recommendation yet.
    """
    path, others = run.store.derived / PAGE, exports.of_run(run)
    write_whole(path, render(run, others))
    for export in others:
        write_whole(run.store.derived / export.file_name, export.text)
    return path


def render(run: Run, others: Sequence[exports.Export]) -> str:
    """The page as text; `others` are the answer in the words of other tools."""
    page = facts.of_run(run)
    texts = [
        ("Drop-in", f"{run.unit}.d/50-harness.conf", run.drop_in),
        ("Whole unit", run.unit, run.full_unit),
        *((item.title, item.file_name, item.text) for item in others),
    ]
    return from_template("page.html.j2", page=page, texts=texts, figures=charts.of_run(run), states=facts.STATES)
