"""What one sampled trial says of the unit's use: figures taken out of its samples and its observation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from harness.judge.traces import trace
from harness.judge.verdict import Outcome, Verdict
from harness.limits import growth
from harness.limits.limitset import LimitSet
from harness.observation import Observation

if TYPE_CHECKING:
    import pandas

WINDOW_S = 0.1
LONG_WINDOW_S = 1.0
NEEDED = ("memory_anon_bytes", "memory_shmem_bytes", "memory_locked_file_bytes", "memory_kernel_bytes")
# Beyond this share of the processors in use by others, what a service took says little of what it would take.
BUSY_SHARE = 0.05
# A gap of this many seconds between two samples may hide a peak.
GAP_S = 0.5
# These many quota periods of a load step still do what came before it.
FIRST_PERIODS = 2
# A service that waits this share of the time for memory or for its quota fails because of it.
STALLED_SHARE = 0.2
# Memory this near to its limit has been kept there by reclaim.
CAPPED_SHARE = 0.98
OTHER_WORK = "other work"
# Lines of the kernel that name the cgroup, of mm/oom_kill.c and kernel/cgroup/pids.c.
OUT_OF_MEMORY = "oom-kill:constraint=CONSTRAINT_MEMCG"
FORK_REJECTED = "fork rejected by pids controller"


class Cause(Enum):
    """Which limit made a run fail, as the kernel's own counters tell."""

    NONE = "none"
    MEMORY = "memory"
    TASKS = "tasks"
    CPU = "processor time"
    FILES = "descriptors"
    OTHER = "not clear"


@dataclass(frozen=True)
class Run:
    """One run under `limits`; None is "not measured".

    `needed_bytes` is the peak of memory that cannot be reclaimed, `peak_bytes` that of all charged to the unit, which
    is only sampled where the kernel keeps none.
    `cpu_percent` is the mean use in the load steps (all steps, when there is no load step), `window_percent` that of
    the busiest 100 ms and `long_window_percent` of the busiest second there, each in percent of one processor.
    `throttled_share` is the share of the `load_periods` in which its quota held it back in the load steps, less the end
    of what came before; `load_held_back_s` and `start_held_back_s` are for how long it was in all of them and in the
    first start. `costs_s` are what the load steps cost: seconds, seconds per request, or the 99 % latency. `growth`
    tells a leak.
    """

    trial_id: str
    limits: LimitSet
    outcome: Outcome
    reason: str = ""
    cause: Cause = Cause.NONE
    censored: tuple[str, ...] = ()
    needed_bytes: int | None = None
    peak_bytes: int | None = None
    peak_is_sampled: bool = False
    cpu_percent: float | None = None
    window_percent: float | None = None
    long_window_percent: float | None = None
    throttled_share: float | None = None
    load_periods: int | None = None
    load_held_back_s: float | None = None
    start_held_back_s: float | None = None
    tasks: int | None = None
    fd_highest: int | None = None
    start_s: float | None = None
    costs_s: dict[str, float] = field(default_factory=dict)
    growth: growth.Growth | None = None
    processors: int | None = None

    @property
    def busy(self) -> bool:
        """Whether times measured in it say little: other work took the processors."""
        return any(reason.startswith(OTHER_WORK) for reason in self.censored)

    @property
    def passed(self) -> bool:
        """Whether the service worked; being slow is judged apart."""
        return self.outcome is Outcome.PASS


def read(observation: Observation, verdict: Verdict, frame: pandas.DataFrame | None, limits: LimitSet) -> Run:
    """Take the figures of one run out of its facts; `frame` has the columns of `harness.samples`, None is none."""
    outcome = Outcome.PASS if verdict.only_slow else verdict.outcome
    counters = observation.counters
    sampled = frame if frame is not None and len(frame) else None
    work = _work(observation, sampled)
    periods, throttled = (None, 0) if work is None else _periods(work, limits.period_s)
    return Run(
        trial_id=observation.trial_id,
        limits=limits,
        outcome=outcome,
        reason="" if outcome is Outcome.PASS else verdict.reason,
        cause=Cause.NONE if outcome is not Outcome.FAIL else _cause(observation, sampled, limits.period_s),
        censored=(*_censored(observation, sampled), *_capped(observation, sampled, limits)),
        needed_bytes=None if sampled is None else _needed(sampled),
        peak_bytes=_peak_bytes(observation, sampled),
        peak_is_sampled=counters.memory_peak_bytes is None,
        cpu_percent=None if work is None else _mean_percent(work),
        window_percent=None if work is None else _window_percent(work, WINDOW_S),
        long_window_percent=None if work is None else _window_percent(work, LONG_WINDOW_S),
        throttled_share=throttled / periods if periods else None,
        load_periods=periods,
        load_held_back_s=None if work is None else _held_back_s(work, limits.period_s),
        start_held_back_s=None if sampled is None else _start_held_back_s(sampled, limits.period_s),
        tasks=_tasks(observation, sampled),
        fd_highest=None if sampled is None else _highest(sampled, "fd_highest"),
        start_s=_start_s(observation),
        costs_s=_costs_s(observation),
        growth=None if sampled is None else growth.fastest(_held(observation, sampled)),
        processors=observation.sampling.processors if observation.sampling else None,
    )


def needed_series(frame: pandas.DataFrame) -> pandas.Series:
    """Memory that cannot be reclaimed, in bytes, row by row: anonymous, shared, locked and the kernel's own."""
    return frame[list(NEEDED)].sum(axis=1, min_count=1)


def _needed(frame: pandas.DataFrame) -> int | None:
    series = needed_series(frame).dropna()
    return int(series.max()) or None if len(series) else None  # a unit without any memory was not seen at work


def _peak_bytes(observation: Observation, frame: pandas.DataFrame | None) -> int | None:
    """The kernel's own peak, or where it keeps none (cgroup v2 before Linux 5.19) the most that was sampled."""
    counted = observation.counters.memory_peak_bytes
    return counted if counted is not None or frame is None else _highest(frame, "memory_usage_bytes")


def _tasks(observation: Observation, frame: pandas.DataFrame | None) -> int | None:
    """Most tasks at once: the kernel's own peak, which is read before the stop, or what was sampled in the stop."""
    known = [observation.counters.tasks_peak, None if frame is None else _highest(frame, "tasks")]
    return max((count for count in known if count is not None), default=None)


def _highest(frame: pandas.DataFrame, column: str) -> int | None:
    series = frame[column].dropna()
    return int(series.max()) if len(series) else None


def _held(observation: Observation, frame: pandas.DataFrame) -> Iterator[pandas.DataFrame]:
    """Time and needed memory of the first incarnation: from ready on to the end of the steps, and in each load step."""
    steps = frame[(frame["incarnation"] == 1) & (frame["part"] == "steps")]
    held = steps[["time_s", "step"]].assign(needed_bytes=needed_series(steps)).dropna()
    yield held
    for step in observation.steps:
        if step.kind == "load":
            yield held[held["step"] == step.name]


def _work(observation: Observation, frame: pandas.DataFrame | None) -> list[pandas.DataFrame] | None:
    """The rows of each load step, or of all steps together where there is none, with the row before them."""
    if frame is None:
        return None
    names = [step.name for step in observation.steps if step.kind == "load"]
    rows = frame.reset_index(drop=True)
    steps = rows["part"] == "steps"
    chosen = [steps & (rows["step"] == name) for name in names] or [steps]
    parts = []
    for mask in chosen:
        numbers = rows.index[mask]
        if len(numbers):
            parts.append(rows.loc[max(0, numbers[0] - 1) : numbers[-1]])
    return parts or None


def _mean_percent(parts: list[pandas.DataFrame]) -> float | None:
    used = time_s = 0.0
    for part in parts:
        known = part[["time_s", "cpu_usage_usec"]].dropna()
        if len(known) > 1:
            used += _rise(known["cpu_usage_usec"]) / 1e6
            time_s += float(known["time_s"].iloc[-1] - known["time_s"].iloc[0])
    return 100 * used / time_s if time_s > 0 else None


def _window_percent(parts: list[pandas.DataFrame], window_s: float) -> float | None:
    """The busiest window of that length, between samples by straight lines; None where no part is that long."""
    import numpy

    busiest = []
    for part in parts:
        known = part[["time_s", "cpu_usage_usec"]].dropna()
        times_s = known["time_s"].to_numpy(dtype=float)
        used_s = _counted(known["cpu_usage_usec"]).to_numpy(dtype=float) / 1e6
        if len(times_s) > 1 and times_s[-1] - times_s[0] >= window_s:
            starts_s = numpy.concatenate([times_s, times_s - window_s])
            starts_s = starts_s[(starts_s >= times_s[0]) & (starts_s + window_s <= times_s[-1] + 1e-9)]
            used = numpy.interp(starts_s + window_s, times_s, used_s) - numpy.interp(starts_s, times_s, used_s)
            busiest.append(100 * float(used.max()) / window_s)
    return max(busiest, default=None)


def _periods(parts: list[pandas.DataFrame], period_s: float) -> tuple[int, int]:
    """Quota periods, and throttled ones, less the first of the first load step, where those are the smaller part of it.

    A period that ends in the load holds the end of the start too, and what is left of a burst when its period is spent
    goes into the next one.
    """
    periods = throttled = 0
    for number, part in enumerate(parts):
        known = part[["time_s", "cpu_periods", "cpu_throttled_periods"]].dropna()
        if number == 0:
            began_s = known["time_s"].iloc[1:].min()  # the row before the step comes first
            rest = known[known["time_s"] >= began_s + FIRST_PERIODS * period_s]
            known = rest if len(rest) > len(known) / 2 else known
        periods += _rise(known["cpu_periods"])
        throttled += _rise(known["cpu_throttled_periods"])
    return periods, throttled


def _held_back_s(parts: list[pandas.DataFrame], period_s: float) -> float | None:
    """For how long the quota held it back; None where the kernel does not count that."""
    known = [rows for part in parts if len(rows := part[["cpu_throttled_usec", "cpu_throttled_periods"]].dropna())]
    if not known:
        return None
    usec, periods = (sum(_rise(rows[column]) for rows in known) for column in known[0])
    return _stood_still_s(usec, periods, period_s)


def _stood_still_s(usec: float, periods: float, period_s: float) -> float:
    """The kernel adds up the time of each processor that stands still: together no more than throttled periods last."""
    return float(min(usec / 1e6, periods * period_s))


def _counted(counter: pandas.Series) -> pandas.Series:
    """What a counter rose by since its first row; each start of the unit makes a new cgroup, which counts from 0."""
    steps = counter.diff()
    return steps.where(steps >= 0, counter).iloc[1:].cumsum().reindex(counter.index, fill_value=0)


def _rise(counter: pandas.Series) -> int:
    return int(_counted(counter).iloc[-1]) if len(counter) else 0


def _start_held_back_s(frame: pandas.DataFrame, period_s: float) -> float | None:
    """The counters begin with the start, so that their last values there are all of it."""
    start = frame[(frame["incarnation"] == 1) & (frame["part"] == "start")]
    known = start[["cpu_throttled_usec", "cpu_throttled_periods"]].dropna()
    if not len(known):
        return None
    usec, periods = known.iloc[-1]
    return _stood_still_s(usec, periods, period_s)


def _start_s(observation: Observation) -> float | None:
    start_s = observation.durations_s.get("start")
    ready = next((step for step in observation.steps if step.part == "ready"), None)
    return None if start_s is None or ready is None or not ready.ok else start_s + ready.duration_s


def _costs_s(observation: Observation) -> dict[str, float]:
    """What the load steps that worked cost; all steps together, where there is no load step."""
    load = [step for step in observation.steps if step.kind == "load" and step.ok]
    if not any(step.kind == "load" for step in observation.steps):
        done = [step for step in observation.steps if step.part == "steps"]
        return {"all steps": sum(step.duration_s for step in done)} if done and all(s.ok for s in done) else {}
    found = {}
    for step in load:
        said = step.load
        if said is None or said.throughput_per_s is None:
            found[step.name] = step.duration_s
        else:
            found[f"{step.name}, time per request"] = 1 / said.throughput_per_s
        if said is not None and said.latency_p99_s:  # one of 0 was too short for the tool to tell
            found[f"{step.name}, latency p99"] = said.latency_p99_s
    return found


def _cause(observation: Observation, frame: pandas.DataFrame | None, period_s: float) -> Cause:
    """Which limit a failure is due to, from counters and kernel lines, which on cgroup v1 outlive the unit's cgroup.

    Descriptors have no counter: there the service's own words tell, where nothing was counted that speaks for another.
    """
    kernel = " ".join(observation.kernel)
    results = {observation.at_work.result, observation.after_stop.result}
    if observation.counters.oom_kills or OUT_OF_MEMORY in kernel or "oom-kill" in results:
        return Cause.MEMORY
    if observation.counters.forks_rejected or FORK_REJECTED in kernel:
        return Cause.TASKS
    if frame is not None:
        last = frame[frame["incarnation"] == frame["incarnation"].max()]
        if _share_of(last, _rise(last["memory_pressure_usec"].dropna()) / 1e6) > STALLED_SHARE:
            return Cause.MEMORY
        if _share_of(last, _held_back_s([last], period_s) or 0.0) > STALLED_SHARE:
            return Cause.CPU
    # A step may have run out of its own: what it says is not the service's.
    if any(trace(line.message).errno == "EMFILE" for line in observation.journal if not line.from_manager):
        return Cause.FILES
    return Cause.OTHER


def _share_of(rows: pandas.DataFrame, held_up_s: float) -> float:
    """Share of the time of some rows."""
    time_s = float(rows["time_s"].iloc[-1] - rows["time_s"].iloc[0])
    return held_up_s / time_s if time_s > 0 else 0.0


def _capped(observation: Observation, frame: pandas.DataFrame | None, limits: LimitSet) -> Iterator[str]:
    """Limits that the run came up against: what it took then is no measure of what it would take."""
    peak_bytes, tasks = _peak_bytes(observation, frame), observation.counters.tasks_peak
    if limits.memory_bytes is not None and peak_bytes is not None and peak_bytes >= CAPPED_SHARE * limits.memory_bytes:
        yield "memory came up against MemoryMax="
    high = limits.memory_high_bytes
    if high is not None and peak_bytes is not None and peak_bytes >= CAPPED_SHARE * high:
        yield "memory came up against MemoryHigh="
    if limits.tasks is not None and tasks is not None and tasks >= limits.tasks:
        yield "tasks came up against TasksMax="
    if limits.files is not None and frame is not None and (_highest(frame, "fd_highest") or 0) + 1 >= limits.files:
        yield "descriptors came up against LimitNOFILE="
    if limits.quota_percent is not None and frame is not None and _held_back_s([frame], limits.period_s):
        yield "processor time came up against CPUQuota="


def _censored(observation: Observation, frame: pandas.DataFrame | None) -> Iterator[str]:
    """Why this run's use is only "at least this much"; nothing when it is what the service really took."""
    sampling = observation.sampling
    if sampling is None or frame is None:
        yield "no samples were kept"
        return
    if sampling.longest_gap_s > GAP_S:
        yield f"nothing was sampled for {sampling.longest_gap_s:.1f} s"
    if sampling.other_work_share > BUSY_SHARE:
        yield f"{OTHER_WORK} took {sampling.other_work_share:.0%} of the processors"
