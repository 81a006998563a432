"""Runs as pandas DataFrames, for plots and notebooks: one tidy table for each kind of fact.

`TABLES` names every column with its dtype, unit and meaning; docs/review.md shows them. What was not measured is NA.
Import this module only where frames are needed: pandas takes longer to load than the rest of the harness.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from harness.judge.culprits import blamed, evidence
from harness.observation import Observation
from harness.results.folder import Run
from harness.unit import catalogue
from harness.unit.tightening import Tightening

Row = dict[str, Any]


class Column(NamedTuple):
    """dtype as pandas names it; unit "" where there is none."""

    dtype: str
    unit: str
    what: str


_RUN = {"run": Column("string", "", "name of the run folder")}
_TRIAL = {**_RUN, "trial": Column("string", "", "trial id, as in trials/ID/")}
TABLES: Mapping[str, Mapping[str, Column]] = {
    "runs": {
        **_RUN,
        "scenario": Column("string", "", "name of the scenario"),
        "unit": Column("string", "", "the unit"),
        "started_at": Column("datetime64[ns, UTC]", "UTC", "when the run began"),
        "state": Column("string", "", "tight, unconfirmed or partial"),
        "exposure_before": Column("Float64", "0 to 10", "systemd's exposure of the baseline"),
        "exposure_after": Column("Float64", "0 to 10", "systemd's exposure of the recommendation"),
        "trials": Column("Int64", "", "trials made"),
        "confirmed": Column("Int64", "", "confirming runs that passed"),
        "duration_s": Column("Float64", "s", "over all sessions of the run"),
    },
    "trials": {
        **_TRIAL,
        "number": Column("Int64", "", "order in which trials ended, from 1"),
        "purpose": Column("string", "", "observe, baseline, search, confirm, or what asked for it"),
        "candidate": Column("string", "", "hash of the drop-in"),
        "seed": Column("Int64", "", "HARNESS_SEED of its steps"),
        "repeat": Column("Int64", "", "how often this candidate was tried before"),
        "tightenings": Column("Int64", "", "tightenings in the candidate"),
        "reached": Column("string", "", "how far it got"),
        "outcome": Column("string", "", "pass, fail or unresolved; NA where the walk did not judge it"),
        "reason": Column("string", "", "why, in one line"),
        "exposure": Column("Float64", "0 to 10", "systemd's exposure of the candidate"),
        "duration_s": Column("Float64", "s", "the whole trial"),
        "boot_s": Column("Float64", "s", "until the machine was up"),
        "memory_peak_bytes": Column("Int64", "bytes", "peak of the unit's cgroup, page cache included"),
        "tasks_peak": Column("Int64", "", "most tasks at a time"),
        "cpu_usage_usec": Column("Int64", "µs", "processor time of the unit"),
        "oom_kills": Column("Int64", "", "processes killed for lack of memory"),
        "forks_rejected": Column("Int64", "", "forks refused by TasksMax="),
    },
    "steps": {
        **_TRIAL,
        "number": Column("Int64", "", "order within the trial, from 1"),
        "part": Column("string", "", "ready, steps, life-cycle or after"),
        "step": Column("string", "", "its name in the scenario"),
        "kind": Column("string", "", "functional or load"),
        "ok": Column("boolean", "", "did what the scenario expects"),
        "problem": Column("string", "", "what was wrong, empty when ok"),
        "status": Column("Int64", "", "exit status"),
        "duration_s": Column("Float64", "s", "how long it took"),
        "timed_out": Column("boolean", "", "ended by its time limit"),
        "service_cpu_s": Column("Float64", "s", "processor time the unit used meanwhile (load steps)"),
    },
    "denials": {
        **_TRIAL,
        "suspects": Column("string", "", "directives or tightenings the line points to, most likely first"),
        "line": Column("string", "", "the kernel, journal or step line as written"),
    },
    "directives": {
        **_RUN,
        "scenario": Column("string", "", "name of the scenario"),
        "directive": Column("string", "", "its name"),
        "tightening": Column("string", "", "the value climbed to, or the items denied"),
        "decision": Column("string", "", "in force, refused, unreached, undecided or not searched"),
        "standing": Column("string", "", "enforced, already, vacuous or unknown on the host of the run"),
        "reason": Column("string", "", "why"),
        "trial": Column("string", "", "the trial that shows it"),
    },
}


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
