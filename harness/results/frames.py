"""Runs and nights as pandas DataFrames, for plots and notebooks: one tidy table for each kind of fact.

`columns.TABLES` names every column with its dtype, unit and meaning; docs/review.md shows them. What was not measured
is NA.
Import this module only where frames are needed: pandas takes longer to load than the rest of the harness.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness import samples as samples_file
from harness.judge.culprits import blamed, evidence
from harness.judge.verdict import Outcome, Verdict
from harness.limits.limitset import NO_LIMITS
from harness.limits.run import WINDOW_S, needed_series, read
from harness.observation import Observation
from harness.results import nights as nights_file
from harness.results.accepted import limits_of
from harness.results.columns import TABLES
from harness.results.folder import Run
from harness.unit import catalogue
from harness.unit.tightening import Tightening

Row = dict[str, Any]


def runs(*of: Run) -> pd.DataFrame:
    """One row a run."""
    return _frame("runs", map(_run, of))


def trials(*of: Run) -> pd.DataFrame:
    """One row a trial, in the order in which they ended."""
    return _frame("trials", (row for run in of for row in _trials(run)))


def steps(*of: Run) -> pd.DataFrame:
    """One row for every step, ready check, life-cycle action and after-check of every trial."""
    return _each("steps", _steps, of)


def denials(*of: Run) -> pd.DataFrame:
    """One row for every line of a trial that did not pass which points to a directive: suspects, never proof."""
    return _frame("denials", (row for run in of for row in _denials(run)))


def directives(*of: Run) -> pd.DataFrame:
    """One row for every tightening the recommendation speaks of, and for every directive it left out."""
    return _frame("directives", (row for run in of for row in _directives(run)))


def samples(*of: Run) -> pd.DataFrame:
    """One row for every sample of every trial that was sampled."""
    parts = [part for run in of for part in _samples(run)]
    return pd.concat(parts, ignore_index=True) if parts else _frame("samples", ())


def limits(*of: Run) -> pd.DataFrame:
    """One row for every limit that a run recommends, with what it was fitted to."""
    return _frame("limits", (row for run in of for row in _limits(run)))


def limit_runs(*of: Run) -> pd.DataFrame:
    """One row for every trial made for limits: what the unit used in it at most."""
    return _frame("limit_runs", (row for run in of for row in _limit_runs(run)))


def nights(results: Path | str) -> pd.DataFrame:
    """One row for every service in every night below a results folder, oldest first."""
    return _frame(
        "nights", (_night(night, item) for night in nights_file.read(Path(results)) for item in night.services)
    )


def risked(limit_runs: pd.DataFrame, *, column: str, values: Iterable[float]) -> pd.DataFrame:
    """For each of some limits on a column of `limit_runs`, how many runs without limits went above it.

    Columns: `limit`, `runs`, `above`, `share`. Censored runs count where they are above, and not where they are below.
    """
    runs = limit_runs[limit_runs["role"].eq("measured") & limit_runs[column].notna()]
    used, free = runs[column].astype(float), runs["censored"].eq("")
    rows = []
    for value in values:
        above = int((used > value).sum())
        counted = int((free | (used > value)).sum())
        rows.append({"limit": value, "runs": counted, "above": above, "share": above / counted if counted else None})
    return pd.DataFrame(rows, columns=["limit", "runs", "above", "share"])


def decisions(directives: pd.DataFrame) -> pd.DataFrame:
    """Directives as rows, scenarios as columns: how many of its tightenings are in force and refused in each."""
    counted = directives.groupby(["directive", "scenario", "decision"]).size().unstack("decision", fill_value=0)
    told = [
        ", ".join(f"{int(count)} {name}" for name, count in row.items() if count) for row in counted.to_dict("records")
    ]
    return pd.Series(told, index=counted.index).unstack("scenario").fillna("")


def _each(table: str, rows: Callable[[Observation], Iterable[Row]], of: Iterable[Run]) -> pd.DataFrame:
    found = ({"run": run.name} | row for run in of for seen in run.observations for row in rows(seen))
    return _frame(table, found)


def _frame(table: str, rows: Iterable[Row]) -> pd.DataFrame:
    columns = TABLES[table]
    kept = list(rows)
    data = {
        name: pd.Series([_whole(row.get(name)) for row in kept], dtype=column.dtype) for name, column in columns.items()
    }
    return pd.DataFrame(data)


def _whole(value: Any) -> Any:
    """Text without halves of characters, which a service may have logged and no string column takes."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _run(run: Run) -> Row:
    data = run.recommendation or {}
    return {
        **{name: data.get(name) for name in ("exposure_before", "exposure_after", "confirmed")},
        "run": run.name,
        "scenario": run.scenario,
        "unit": run.unit,
        "started_at": run.facts.get("started_at"),
        "state": data.get("state", run.facts.get("state")),
        "trials": data.get("trials"),
        "duration_s": data.get("duration_s", run.facts.get("duration_s")),
    }


def _verdicts(run: Run) -> dict[str, Row]:
    return {item["trial"]: item for item in (run.recommendation or {}).get("verdicts", ())}


def _trials(run: Run) -> Iterable[Row]:
    verdicts = _verdicts(run)
    for number, seen in enumerate(run.observations, 1):
        verdict = verdicts.get(seen.trial_id, {})
        counters = seen.counters
        yield {
            "run": run.name,
            "trial": seen.trial_id,
            "number": number,
            "purpose": seen.purpose,
            "candidate": seen.candidate_id,
            "seed": seen.seed,
            "repeat": seen.repeat,
            "tightenings": len(seen.tightenings),
            "reached": seen.reached.value,
            "outcome": "unresolved" if seen.lost else verdict.get("outcome"),
            "reason": seen.lost or verdict.get("reason"),
            "exposure": seen.exposure,
            "duration_s": seen.durations_s.get("total"),
            "boot_s": seen.durations_s.get("boot"),
            "memory_peak_bytes": counters.memory_peak_bytes,
            "tasks_peak": counters.tasks_peak,
            "cpu_usage_usec": counters.cpu_usage_usec,
            "oom_kills": counters.oom_kills,
            "forks_rejected": counters.forks_rejected,
        }


def _steps(seen: Observation) -> Iterable[Row]:
    for number, step in enumerate(seen.steps, 1):
        yield {
            "trial": seen.trial_id,
            "number": number,
            "part": step.part,
            "step": step.name,
            "kind": step.kind,
            "ok": step.ok,
            "problem": step.problem,
            "status": step.status,
            "duration_s": step.duration_s,
            "timed_out": step.timed_out,
            "service_cpu_s": step.service_cpu_s,
        }


def _denials(run: Run) -> Iterable[Row]:
    groups = run.facts.get("inspection", {}).get("syscall_groups", {})
    passed = {trial for trial, verdict in _verdicts(run).items() if verdict["outcome"] == "pass"}
    for seen in run.observations:
        for line in dict.fromkeys(() if seen.trial_id in passed else evidence(seen)):
            if names := blamed(line, catalogue.load(), groups):
                yield {"run": run.name, "trial": seen.trial_id, "suspects": ", ".join(names), "line": line}


def _directives(run: Run) -> Iterable[Row]:
    data = run.recommendation or {}
    common = {"run": run.name, "scenario": run.scenario}
    for decision, rows in (("in force", data.get("settings", ())), ("refused", data.get("refused", ()))):
        for row in rows:
            yield {**common, "decision": decision, **row, **_label(row["label"])}
    for row in data.get("unreached", ()):
        yield {**common, "decision": "unreached", "reason": f"needs {row['because']}", **_label(row["label"])}
    for label in data.get("undecided", ()):
        yield {**common, "decision": "undecided", **_label(label)}
    for row in data.get("left_out", ()):
        yield {**common, "decision": "not searched", **row}


def _label(label: str) -> Row:
    key = Tightening.from_label(label)
    return {"directive": key.directive, "tightening": key.rung or " ".join(f"-{item}" for item in key.items)}


def _roles(run: Run) -> dict[str, str]:
    """Trial → what it was made for, of those made for limits."""
    told = ((run.recommendation or {}).get("limits") or {}).get("runs", {})
    return {trial: role for role in ("measured", "tried", "confirming") for trial in told.get(role, ())}


def _samples(run: Run) -> Iterable[pd.DataFrame]:
    roles = _roles(run)
    censored = (((run.recommendation or {}).get("limits") or {}).get("runs") or {}).get("censored", {})
    dtypes = {name: item.dtype for name, item in TABLES["samples"].items()}
    for seen in run.observations:
        frame = _sampled(run, seen)
        if frame is not None:
            told = frame.assign(
                run=run.name,
                trial=seen.trial_id,
                role=roles.get(seen.trial_id, ""),
                censored=seen.trial_id in censored,
                memory_needed_bytes=needed_series(frame),
                cpu_percent=_cpu_percent(frame),
            )
            yield told.astype(dtypes)[list(dtypes)]


def _sampled(run: Run, seen: Observation) -> pd.DataFrame | None:
    """Samples of a trial; None where there are none, or a crash tore the file."""
    try:
        return samples_file.read(run.store.trial_folder(seen.trial_id))
    except ValueError:
        return None


def _cpu_percent(frame: pd.DataFrame) -> pd.Series:
    """Processor time over the 100 ms before each row, within one life of the unit's cgroup."""
    found = pd.Series(np.nan, index=frame.index)
    for _, part in frame.dropna(subset=["cpu_usage_usec"]).groupby("incarnation"):
        times_s, used = part["time_s"].to_numpy(float), part["cpu_usage_usec"].to_numpy(float)
        before = np.interp(times_s - WINDOW_S, times_s, used)
        found[part.index] = np.where(times_s - WINDOW_S >= times_s[0], (used - before) / (1e4 * WINDOW_S), np.nan)
    return found


def _limits(run: Run) -> Iterable[Row]:
    told = (run.recommendation or {}).get("limits") or {}
    for item in limits_of(run.recommendation or {}):
        fitted = item.get("fitted_to") or {}
        yield {
            **item,
            **{name: fitted.get(name) for name in ("median", "largest", "bound", "runs")},
            "run": run.name,
            "scenario": run.scenario,
            "confirmed": told["state"] == "confirmed",
            "clean_runs": told["clean_runs"],
        }


def _limit_runs(run: Run) -> Iterable[Row]:
    roles, verdicts = _roles(run), _verdicts(run)
    for seen in run.observations:
        if seen.trial_id in roles:
            verdict = verdicts.get(seen.trial_id, {})
            outcome = Outcome(verdict.get("outcome", Outcome.UNRESOLVED.value))
            used = read(seen, Verdict(outcome, verdict.get("reason", "")), _sampled(run, seen), NO_LIMITS)
            names = ("needed_bytes", "peak_bytes", "cpu_percent", "window_percent", "tasks", "fd_highest", "start_s")
            yield {
                **{name: getattr(used, name) for name in names},
                "run": run.name,
                "trial": seen.trial_id,
                "role": roles[seen.trial_id],
                "outcome": outcome.value,
                "censored": "; ".join(used.censored),
            }


def _night(night: nights_file.Night, item: nights_file.Service) -> Row:
    numbers = {limit["directive"]: limit.get("number") for limit in item.limits}
    return {
        "night": night.name,
        "started_at": night.started_at,
        "scenario": item.scenario,
        "word": item.word.value,
        "reason": item.reason,
        "causes": "; ".join(item.causes),
        "exposure": item.exposure,
        "exposure_accepted": item.exposure_accepted,
        "memory_max_bytes": numbers.get("MemoryMax"),
        "cpu_quota_percent": numbers.get("CPUQuota"),
        "tasks_max": numbers.get("TasksMax"),
        "trials": item.trials,
        "duration_s": item.duration_s,
    }
