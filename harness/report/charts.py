"""The figures of the report page: which plots a run gives, as SVG."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from harness.report import plots
from harness.results import frames
from harness.results.folder import Run


@dataclass(frozen=True)
class Chart:
    """One figure with what it shows in a sentence."""

    title: str
    says: str
    svg: Markup


def of_run(run: Run) -> list[Chart]:
    """Every figure that the run has data for."""
    trials, steps = frames.trials(run), frames.steps(run)
    made, (axes,) = plots.figure()
    plots.search_walk(trials, axes)
    charts = [_chart("walk", "The search as it went", _walk_text(trials.shape[0], trials["outcome"]), made)]
    if trials["memory_peak_bytes"].notna().any():
        made, (memory, processor, tasks) = plots.figure(height_in=6.4, rows=3)
        plots.peaks(trials, memory, column="memory_peak_bytes", unit="Peak memory (MiB)", per=plots.MIB)
        plots.peaks(trials, processor, column="cpu_usage_usec", unit="Processor time (s)", per=1e6)
        plots.peaks(trials, tasks, column="tasks_peak", unit="Most tasks at once")
        says = "One mark a trial. Failing trials end early, so they need less. Memory counts the page cache."
        charts.append(_chart("use", "Memory, processor and tasks", says, made))
    if len(samples := frames.samples(run)):
        charts.append(_over_time(samples, frames.limits(run)))
    if (steps["ok"].fillna(False)).any():
        made, (axes,) = plots.figure(height_in=3.6)
        plots.step_durations(steps, trials, axes)
        says = "The same steps without any tightening and under the whole recommendation, one mark for each run."
        charts.append(_chart("cost", "What it costs", says, made))
    return charts


def _over_time(samples: pd.DataFrame, limits: pd.DataFrame) -> Chart:
    """Three axes one above the other: what cannot be reclaimed, processor time, tasks."""
    made, (memory, processor, tasks) = plots.figure(height_in=7.2, rows=3)
    rows: dict[str, Any] = {str(row["directive"]): row for row in limits.to_dict("records")}

    def levels(directive: str, per: float = 1.0) -> list[plots.Level]:
        return plots.levels_of(rows[directive], per=per) if directive in rows else []

    plots.over_time(
        samples, memory, column="memory_needed_bytes", unit="Memory not reclaimable (MiB)", per=plots.MIB,
        levels=levels("MemoryMax", plots.MIB),
    )  # fmt: skip
    plots.over_time(
        samples, processor, column="cpu_percent", unit="Processor, over 100 ms (%)", levels=levels("CPUQuota")
    )
    plots.over_time(samples, tasks, column="tasks", unit="Tasks", levels=levels("TasksMax"))
    says = (
        "One line a run: measured without any limit, and confirming at all limits together. Samples are 40 ms apart; "
        "the kernel counts tasks in between, so that a limit may lie above what is drawn, and 100 ms may straddle two "
        "periods of a quota. Of cliff and knee the smallest limit that worked."
    )
    return _chart("limits", "Use over time, with the limits", says, made)


def _chart(prefix: str, title: str, says: str, made: Figure) -> Chart:
    return Chart(title, says, Markup(plots.svg(made, prefix=prefix, title=f"{title}. {says}")))


def _walk_text(count: int, outcomes: pd.Series) -> str:
    passed, failed = int(outcomes.eq("pass").sum()), int(outcomes.eq("fail").sum())
    return f"{count} trials: {passed} passed, {failed} failed. Each mark is one candidate in a machine of its own."
