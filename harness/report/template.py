"""Pages from templates: one self-contained file each, with the style and script that all pages share.

Every value is escaped, and a page allows itself no script but its own: a journal may be hostile.
"""

import base64
import hashlib
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup


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
    environment.filters |= {"figure": figure, "seconds": seconds}
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


def figure(value: float | None) -> str:
    """An exposure for people."""
    return "?" if value is None else f"{value:.1f}"


def _source(name: str) -> str:
    return (files("harness.report") / "templates" / name).read_text(encoding="utf-8")
