"""Plots of runs. Each takes a frame of `results.frames` and an Axes, draws into it and returns it.

Quantity and unit stand on each axis. Failed trials are crosses, unresolved and censored ones hollow. Colours are those
of `PALETTE`; `svg` exchanges them for CSS variables where a page has a light and a dark face.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

MIB = 1 << 20
# Names are those of the page's CSS variables, values what a figure of its own looks like.
PALETTE = {
    "ink": "#22262b",
    "soft": "#6b737d",
    "rule": "#d5d9de",
    "pass": "#1f7a4d",
    "fail": "#c2362b",
    "mark": "#2b62c4",
    "warm": "#b26a00",
}
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": PALETTE["rule"],
    "axes.labelcolor": PALETTE["ink"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": PALETTE["ink"],
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "font.size": 10,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "legend.labelcolor": PALETTE["ink"],
    "svg.fonttype": "none",
    "text.color": PALETTE["ink"],
    "xtick.color": PALETTE["soft"],
    "ytick.color": PALETTE["soft"],
}
_OUTCOMES = {"pass": ("o", "pass"), "fail": ("X", "fail"), "unresolved": ("o", "soft")}


class Level(NamedTuple):
    """A line to draw into a plot: a limit, a knee or a cliff, in the unit of the axis."""

    name: str
    value: float
    colour: str = "mark"


def figure(width_in: float = 7.2, height_in: float = 2.6, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure in the style of the report, with its Axes one above the other."""
    with mpl.rc_context(_STYLE):
        made = Figure(figsize=(width_in, height_in), layout="constrained")
        made.patch.set_alpha(0)
        axes = [made.add_subplot(rows, 1, number + 1) for number in range(rows)]
        for item in axes:
            item.patch.set_alpha(0)
    return made, axes


def search_walk(trials: pd.DataFrame, axes: Axes) -> Axes:
    """The search as it went: tightenings of each candidate in the order of trials, passing and failing ones apart."""
    order = trials.sort_values("number")
    passed = order[order["outcome"] == "pass"]
    if not passed.empty:
        best = passed["tightenings"].astype(float).cummax()
        axes.step(passed["number"], best, where="post", color=PALETTE["pass"], alpha=0.5, linewidth=1)
    _by_outcome(order, "tightenings", axes)
    _name(axes, "Trials in the order they ended", "Tightenings at once")
    axes.set_ylim(bottom=min(-2.0, axes.get_ylim()[0]))
    return axes


def peaks(
    trials: pd.DataFrame, axes: Axes, *, column: str, unit: str, per: float = 1.0, levels: Sequence[Level] = ()
) -> Axes:
    """A peak or sum of each trial in order, such as memory, with limits drawn in; `per` turns it into `unit`."""
    measured = trials[trials[column].notna()].sort_values("number")
    shown = measured.assign(**{column: measured[column].astype(float) / per})
    _by_outcome(shown, column, axes)
    draw_levels(levels, axes)
    _name(axes, "Trials in the order they ended", unit)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
    return axes


def step_durations(steps: pd.DataFrame, trials: pd.DataFrame, axes: Axes, *, most: int = 12) -> Axes:
    """How long each step took at baseline and under the whole recommendation: what the confinement costs."""
    purposes = trials.set_index("trial")["purpose"]
    told = steps.assign(purpose=steps["trial"].map(purposes))
    told = told[told["ok"].fillna(False) & told["purpose"].isin(["baseline", "confirm"])]
    longest = told.groupby("step")["duration_s"].median().sort_values(ascending=False).index[:most]
    names = [name for name in dict.fromkeys(told["step"]) if name in set(longest)][::-1]
    for purpose, colour, shift in (("baseline", "soft", 0.14), ("confirm", "pass", -0.14)):
        rows = told[told["purpose"].eq(purpose) & told["step"].isin(names)]
        heights = [names.index(name) + shift for name in rows["step"]]
        label = "baseline" if purpose == "baseline" else "recommendation"
        axes.plot(rows["duration_s"], heights, "o", color=PALETTE[colour], markersize=5, alpha=0.8, label=label)
    axes.set_yticks(range(len(names)), [shortened(name) for name in names])
    _name(axes, "Duration (s)", "")
    axes.set_xlim(left=0)
    axes.set_ylim(-0.6, len(names) - 0.4)
    _legend(axes)
    return axes


def draw_levels(levels: Sequence[Level], axes: Axes) -> Axes:
    """Limits, knees and cliffs as lines across, each named at its right end."""
    for level in levels:
        axes.axhline(level.value, color=PALETTE[level.colour], linewidth=1, linestyle="--")
        axes.annotate(
            level.name,
            (1, level.value),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize="small",
            color=PALETTE[level.colour],
        )
    return axes


def shortened(text: str, most: int = 28) -> str:
    """A name short enough for an axis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def svg(made: Figure, *, prefix: str, variables: bool = True, title: str = "") -> str:
    """The figure as an SVG element for a page: ids of its own, colours as CSS variables, the same for the same data.

    `prefix` sets it apart from other figures of the page; `title` is read out instead of it.
    """
    buffer = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": prefix}):
        made.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Placed by the page: a fixed size would not fit a phone.
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{_attribute(title)}" ', 1)
    # The page's own font is taken, whatever the figure was laid out with.
    text = re.sub(r"font-family: [^;\"]*;?", "", text)
    if variables:
        for name, value in PALETTE.items():
            text = text.replace(value, f"var(--{name})")
    return text


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _by_outcome(rows: pd.DataFrame, column: str, axes: Axes) -> None:
    outcomes = rows["outcome"].fillna("unresolved")
    for outcome, (marker, colour) in _OUTCOMES.items():
        part = rows[outcomes == outcome]
        if part.empty:
            continue
        hollow: Mapping[str, Any] = {"markerfacecolor": "none"} if outcome == "unresolved" else {"markeredgewidth": 0}
        x, y = np.asarray(part["number"], dtype=float), np.asarray(part[column], dtype=float)
        label = "not judged" if outcome == "unresolved" else outcome
        axes.plot(x, y, marker, color=PALETTE[colour], markersize=7, label=label, clip_on=False, **hollow)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 0.99), ncols=4, handletextpad=0.2, columnspacing=1.2,
            frameon=False, fontsize="small", labelcolor=PALETTE["ink"], borderaxespad=0,
        )  # fmt: skip


def _name(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize="small")
    axes.set_ylabel(y, fontsize="small")
    axes.grid(axis="both", color=PALETTE["rule"], linewidth=0.5)
    axes.set_axisbelow(True)
