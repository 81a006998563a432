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
_ROLES = {"measured": ("soft", "without limits"), "confirming": ("pass", "at all limits")}
MOST_POINTS = 300
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


def over_time(
    samples: pd.DataFrame, axes: Axes, *, column: str, unit: str, per: float = 1.0, levels: Sequence[Level] = ()
) -> Axes:
    """Use over time in the runs without limits and at all limits, one line a run, with limit, cliff and knee drawn in.

    Censored runs are dashed: what they used says only "at least this much". `per` turns the column into `unit`.
    """
    for role, (colour, label) in _ROLES.items():
        for censored, style in ((False, "-"), (True, ":")):
            chosen = samples[samples["role"].eq(role) & samples["censored"].eq(censored)]
            told = label + (", censored" if censored else "")
            for _, run in chosen.groupby("trial"):
                times, values = _thinned(run["time_s"], run[column].astype(float) / per)
                axes.plot(times, values, style, color=PALETTE[colour], linewidth=0.8, alpha=0.55, label=told)
                told = "_"  # one entry in the legend
    draw_levels(levels, axes)
    _legend(axes)
    _name(axes, "Time since the start of the machine's work (s)", unit)
    axes.set_xlim(left=0)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.08)
    return axes


def peaks_of_runs(
    limit_runs: pd.DataFrame, axes: Axes, *, column: str, unit: str, per: float = 1.0, levels: Sequence[Level] = ()
) -> Axes:
    """How the peaks of the runs without limits are spread: each a mark in order of size, with the limit drawn in.

    Censored runs are hollow. What is right of a level would have come up against it.
    """
    runs = limit_runs[limit_runs["role"].eq("measured") & limit_runs[column].notna()].sort_values(column)
    values = runs[column].to_numpy(float) / per
    shares = (np.arange(len(values)) + 1) / max(1, len(values))
    free = runs["censored"].eq("").to_numpy(bool)
    axes.step(values, shares, where="post", color=PALETTE["rule"], linewidth=1)
    axes.plot(values[free], shares[free], "o", color=PALETTE["pass"], markeredgewidth=0, label="measured")
    if not free.all():
        hollow: Mapping[str, Any] = {"markerfacecolor": "none", "color": PALETTE["warm"]}
        axes.plot(values[~free], shares[~free], "o", label="censored: at least this much", **hollow)
    for number, level in enumerate(levels):
        axes.axvline(level.value, color=PALETTE[level.colour], linewidth=1, linestyle="--")
        height = 0.04 + 0.11 * (number % 4)
        axes.annotate(
            level.name, (level.value, height), xycoords=("data", "axes fraction"), xytext=(-3, 0), ha="right",
            textcoords="offset points", fontsize="small", color=PALETTE[level.colour],
        )  # fmt: skip
    _legend(axes)
    _name(axes, unit, "Share of runs")
    axes.set_ylim(0, 1.08)
    return axes


def refusals(directives: pd.DataFrame, axes: Axes, *, most: int = 15) -> Axes:
    """How many services each directive broke somewhere: the most frequent first."""
    refused = directives[directives["decision"].eq("refused")]
    counts = refused.groupby("directive")["scenario"].nunique().sort_values().tail(most)
    axes.barh([str(name) for name in counts.index], counts.to_numpy(float), color=PALETTE["fail"], height=0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _name(axes, "Services in which a tightening of it was refused", "")
    return axes


def over_nights(nights: pd.DataFrame, axes: Axes, *, column: str, unit: str, per: float = 1.0) -> Axes:
    """A figure of every service over the nights, one line each; where something no longer works there is a cross."""
    for name, rows in nights[nights[column].notna()].groupby("scenario"):
        ordered = rows.sort_values("started_at")
        values = ordered[column].to_numpy(float) / per
        (line,) = axes.plot(ordered["started_at"], values, "o-", markersize=4, linewidth=1, label=str(name))
        broken = ordered["word"].eq("no longer works").to_numpy(bool)
        axes.plot(ordered["started_at"][broken], values[broken], "X", color=PALETTE["fail"], markersize=8)
        line.set_clip_on(False)
    _legend(axes)
    _name(axes, "Night", unit)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
    axes.tick_params(axis="x", labelrotation=30)
    return axes


def levels_of(limit: Mapping[str, Any], *, per: float = 1.0) -> list[Level]:
    """The lines of one limit (a row of `frames.limits`): the limit itself, its cliff and its knee, in `per` of a unit.

    Of cliff and knee the smallest value that worked; values that are alike share a line.
    """
    named: dict[float, list[str]] = {}
    told = ((str(limit["directive"]) + "=", "number"), ("cliff", "cliff_worked"), ("knee", "knee_worked"))
    for name, key in told:
        value = limit.get(key)
        if value is not None and not pd.isna(value):
            named.setdefault(round(float(value) / per, 6), []).append(name)
    return [
        Level(" and ".join(names), value, "mark" if names[0].endswith("=") else "fail" if "cliff" in names else "warm")
        for value, names in named.items()
    ]


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


def _thinned(times: pd.Series, values: pd.Series) -> tuple[Any, Any]:
    """At most `MOST_POINTS` points, each the highest of its neighbours: a peak is what counts."""
    if len(times) <= MOST_POINTS:
        return times, values
    size = -(-len(times) // MOST_POINTS)
    groups = np.arange(len(times)) // size
    return times.groupby(groups).first(), values.groupby(groups).max()


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
