"""`report.html`: one self-contained page of a run, to be opened from its folder months later.

Every value is escaped, and the page allows itself no script but its own: a journal may be hostile.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.report import charts, exports, facts
from harness.report.summary import PAGE
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


def from_template(name: str, **values: Any) -> str:
    """A page from one of the templates, with the style and script all pages share."""
    style, script = _source("page.css"), _source("page.js")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "seconds": seconds}
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shared = {"style": Markup(style), "script": Markup(script), "script_hash": digest}
    return environment.get_template(name).render(**shared, **values)


def _finalized(value: Any) -> Any:
    return value if isinstance(value, Markup) or not isinstance(value, str) else _printable(value)


def _printable(text: str) -> str:
    """Control characters, and what turns the direction of text, made visible; HTML cannot even hold some."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def seconds(value: float | None) -> str:
    """A duration for people."""
    if value is None:
        return "not measured"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes else f"{value:.1f} s" if value < 10 else f"{rest} s"


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"


def _source(name: str) -> str:
    return (files("harness.report") / "templates" / name).read_text(encoding="utf-8")
