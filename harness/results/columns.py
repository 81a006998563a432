"""What every data frame of `results.frames` holds: each column with its dtype, unit and meaning."""

from collections.abc import Mapping
from typing import NamedTuple

from harness.samples import COLUMNS as SAMPLED


class Column(NamedTuple):
    """dtype as pandas names it; unit "" where there is none."""

    dtype: str
    unit: str
    what: str


_RUN = {"run": Column("string", "", "name of the run folder")}
_TRIAL = {**_RUN, "trial": Column("string", "", "trial id, as in trials/ID/")}
# Arrow's names of kinds → those of pandas.
_SAMPLED = {"int64": "Int64", "int32": "Int32", "float64": "Float64", "string": "string"}
_SAME = "as in [samples](results.md#samples)"
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
    "samples": {
        **_TRIAL,
        "role": Column("string", "", "measured, tried, confirming, or empty"),
        "censored": Column("boolean", "", "what was used says only: at least this much"),
        "memory_needed_bytes": Column("Int64", "bytes", "what cannot be reclaimed: anonymous, shared, locked, kernel"),
        "cpu_percent": Column("Float64", "% of a processor", "use over the 100 ms before"),
        **{name: Column(_SAMPLED[kind], "", _SAME) for name, kind in SAMPLED.items()},
    },
    "limits": {
        **_RUN,
        "scenario": Column("string", "", "name of the scenario"),
        "directive": Column("string", "", "MemoryMax, CPUQuota, TasksMax, LimitNOFILE or LimitNPROC"),
        "value": Column("string", "", "as systemd writes it"),
        "number": Column("Float64", "of the directive", "the same as a number: bytes, % of a processor, or a count"),
        "median": Column("Float64", "of the directive", "of the runs it was fitted to"),
        "largest": Column("Float64", "of the directive", "of these runs"),
        "bound": Column("Float64", "of the directive", "extrapolated to the 99 % quantile"),
        "runs": Column("Int64", "", "runs it was fitted to, censored ones not counted"),
        "cliff_failed": Column("Float64", "of the directive", "largest limit that was tried and too small"),
        "cliff_worked": Column("Float64", "of the directive", "smallest limit that was tried and enough"),
        "knee_failed": Column("Float64", "of the directive", "largest limit that was tried and too slow"),
        "knee_worked": Column("Float64", "of the directive", "smallest limit that was tried and fast enough"),
        "confirmed": Column("boolean", "", "whether clean runs at all limits together confirmed it"),
        "clean_runs": Column("Int64", "", "how many there were"),
    },
    "limit_runs": {
        **_TRIAL,
        "role": Column("string", "", "measured (without any limit), tried, or confirming (at all limits)"),
        "outcome": Column("string", "", "pass, fail or unresolved"),
        "censored": Column("string", "", "why what it used says only: at least this much; empty when it is not so"),
        "needed_bytes": Column("Int64", "bytes", "peak of what cannot be reclaimed"),
        "peak_bytes": Column("Int64", "bytes", "peak of all that was charged, page cache included"),
        "cpu_percent": Column("Float64", "% of a processor", "mean use under load"),
        "window_percent": Column("Float64", "% of a processor", "use in the busiest 100 ms under load"),
        "tasks": Column("Int64", "", "most tasks at a time"),
        "fd_highest": Column("Int64", "", "highest descriptor number of any process"),
        "start_s": Column("Float64", "s", "from start to ready"),
    },
    "nights": {
        "night": Column("string", "", "name of the night's folder"),
        "started_at": Column("datetime64[ns, UTC]", "UTC", "when the night began"),
        "scenario": Column("string", "", "name of the scenario"),
        "word": Column("string", "", "same, could be tighter, no longer works, limits moved or undecided"),
        "reason": Column("string", "", "why, in one line"),
        "causes": Column("string", "", "what changed around it since it was accepted"),
        "exposure": Column("Float64", "0 to 10", "systemd's, that night"),
        "exposure_accepted": Column("Float64", "0 to 10", "systemd's, as accepted"),
        "memory_max_bytes": Column("Int64", "bytes", "MemoryMax= of the recommendation"),
        "cpu_quota_percent": Column("Float64", "% of a processor", "CPUQuota="),
        "tasks_max": Column("Int64", "", "TasksMax="),
        "trials": Column("Int64", "", "trials of that night"),
        "duration_s": Column("Float64", "s", "what they took"),
    },
}
