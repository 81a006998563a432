"""The raw facts of one trial, as plain frozen data: written once, never edited, judged as often as wanted.

`None` means "not measured". Every number carries its unit in its name. The JSON form is what
`observations.jsonl` holds, one object a line.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self

# One more address of a machine in its traced baseline, as every host has one beside loopback's (RFC 5737): a service
# that binds each address by itself, rather than none in particular, is seen to listen on this one.
OWN_ADDRESS = "198.51.100.1"
FORMAT = 1


class Stage(Enum):
    """How far a trial got."""

    NOTHING = "nothing"
    BOOTED = "booted"
    STARTED = "started"
    READY = "ready"
    STEPS = "steps"
    LIFE_CYCLE = "life-cycle"
    STOPPED = "stopped"
    DONE = "done"


@dataclass(frozen=True)
class Counters:
    """Counters of the unit's cgroup, summed or maximised over its restarts."""

    memory_peak_bytes: int | None = None
    tasks_peak: int | None = None
    oom_kills: int | None = None
    forks_rejected: int | None = None
    cpu_usage_usec: int | None = None
    cpu_throttled_periods: int | None = None

    def merged(self, other: Self) -> Self:
        """Both together: peaks are maximised, counts are summed; what one lacks comes from the other."""
        values = {}
        for item in dataclasses.fields(self):
            pair = [v for v in (getattr(self, item.name), getattr(other, item.name)) if v is not None]
            combine = max if item.name.endswith(("_bytes", "_peak")) else sum
            values[item.name] = combine(pair) if pair else None
        return type(self)(**values)


@dataclass(frozen=True)
class Sampling:
    """How well a sampled trial could be watched, and how busy the host was meanwhile.

    `samples` rows, the longest time between two of them, processor time that the sampling itself took over
    `duration_s`. `waited_s` is how long the trial waited for the host to become quiet. `other_work_share` is the share
    of all `processors` that work outside the trial took, `cpu_pressure_share` that of the time in which some task of
    the host, the trial's own included, waited for a processor. `swap_bytes` is the host's swap space.
    """

    samples: int
    longest_gap_s: float
    cpu_s: float
    duration_s: float
    waited_s: float
    processors: int
    other_work_share: float
    cpu_pressure_share: float | None = None
    swap_bytes: int = 0


@dataclass(frozen=True)
class Load:
    """What a load step's tool said of it: requests per second, and latencies in seconds. None is "not said"."""

    throughput_per_s: float | None = None
    latency_p50_s: float | None = None
    latency_p99_s: float | None = None


@dataclass(frozen=True)
class Process:
    """One process of the unit as `/proc/PID/status` shows it.

    It was first seen at the step `seen_at`, and at `sightings` steps in all. `capabilities` is CapEff and `bounding`
    CapBnd, as numbers; `seccomp` the mode (2 is a filter); `namespaces` are the kinds in which it is apart from the
    machine's systemd. `memory_peak_bytes` is the most it ever had resident (VmHWM: shared pages and mapped files count
    in every process), as last seen.
    """

    pid: int
    comm: str
    uid: int
    gid: int
    capabilities: int
    seen_at: str
    bounding: int = 0
    no_new_privileges: bool = False
    seccomp: int = 0
    namespaces: tuple[str, ...] = ()
    sightings: int = 1
    memory_peak_bytes: int | None = None


@dataclass(frozen=True)
class StepResult:
    """What one step, ready check, life-cycle action or after-check did.

    `problem` is empty when all was as expected. `service_cpu_s` is processor time that the unit's processes used
    meanwhile. `load` is what a load step's tool reported of its last repeat.
    """

    name: str
    part: str
    kind: str
    problem: str
    status: int | None
    duration_s: float
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False
    service_cpu_s: float | None = None
    load: Load | None = None

    @property
    def ok(self) -> bool:
        """Whether it did what the scenario expects."""
        return not self.problem


@dataclass(frozen=True)
class JournalLine:
    """One journal record about the unit or from it. `priority` is syslog's (0 emergency … 7 debug)."""

    priority: int
    identifier: str
    pid: int | None
    message: str
    from_manager: bool


@dataclass(frozen=True)
class UnitState:
    """`systemctl show` of the unit at the end of the workload and after the stop, as systemd words it."""

    active_state: str = ""
    sub_state: str = ""
    result: str = ""
    exec_main_code: str = ""
    exec_main_status: int | None = None
    restarts: int | None = None


@dataclass(frozen=True)
class Seen:
    """What a traced pass saw the unit use: names as the kernel's manual pages have them.

    Paths are as they were given, absolute ones with the links of their directories followed. `capabilities` are the
    numbers of those asked for and granted; None where the tracer or this kernel cannot tell. `refused` are calls that
    the kernel answered each time with EPERM, EACCES or ENOSYS, `shared` lasting files it made that others than their
    owner may read.
    """

    calls: tuple[str, ...]
    capabilities: tuple[int, ...] | None
    families: tuple[str, ...]
    peers: tuple[str, ...]
    opened: tuple[str, ...]
    opened_for_writing: tuple[str, ...]
    executed: tuple[str, ...]
    namespaces: tuple[str, ...]
    writable_code: bool
    refused: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    tracer: str = "bpftrace"


@dataclass(frozen=True)
class Observation:
    """All that was seen in one trial.

    `purpose` is the phase that asked for it, `tightenings` are the labels of what its candidate tightens.
    `lost` is empty unless the machine could not be had or vanished; then nothing else may be relied on.
    `written` are paths below the root that differ afterwards from the root tree, `made_before` directories that
    companions had made when the unit was started; `listening` are the unit's
    addresses such as `tcp 0.0.0.0:6379`. `exposure` is systemd's own figure, measured inside the machine.
    """

    trial_id: str
    candidate_id: str
    seed: int
    repeat: int
    purpose: str = ""
    tightenings: tuple[str, ...] = ()
    reached: Stage = Stage.NOTHING
    lost: str = ""
    start_problem: str = ""
    steps: tuple[StepResult, ...] = ()
    at_work: UnitState = UnitState()
    after_stop: UnitState = UnitState()
    stop_problem: str = ""
    processes: tuple[Process, ...] = ()
    counters: Counters = Counters()
    journal: tuple[JournalLine, ...] = ()
    kernel: tuple[str, ...] = ()
    listening: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    made_before: tuple[str, ...] = ()
    exposure: float | None = None
    durations_s: dict[str, float] = field(default_factory=dict)
    seen: Seen | None = None
    sampling: Sampling | None = None
    format: int = FORMAT

    def to_json(self) -> str:
        """One line of JSON; text that is not valid Unicode is kept readable rather than refused."""
        return json.dumps(dataclasses.asdict(self), default=lambda value: value.value, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`. Raises ValueError on another format number or a torn line."""
        raw: dict[str, Any] = json.loads(text)
        if raw.get("format") != FORMAT:
            raise ValueError(f"observation format {raw.get('format')!r}; this version reads {FORMAT}")
        raw["reached"] = Stage(raw["reached"])
        raw["steps"] = tuple(_step(item) for item in raw["steps"])
        raw["at_work"] = UnitState(**raw["at_work"])
        raw["after_stop"] = UnitState(**raw["after_stop"])
        raw["processes"] = tuple(
            Process(**{key: _frozen(value) for key, value in item.items()}) for item in raw["processes"]
        )
        raw["counters"] = Counters(**raw["counters"])
        raw["journal"] = tuple(JournalLine(**item) for item in raw["journal"])
        for name in ("tightenings", "kernel", "listening", "written"):
            raw[name] = tuple(raw[name])
        raw["made_before"] = tuple(raw.get("made_before", ()))
        if raw["seen"] is not None:
            raw["seen"] = Seen(**{key: _frozen(value) for key, value in raw["seen"].items()})
        if raw.get("sampling") is not None:
            raw["sampling"] = Sampling(**raw["sampling"])
        return cls(**raw)


def _step(item: dict[str, Any]) -> StepResult:
    load = item.get("load")
    return StepResult(**{**item, "load": None if load is None else Load(**load)})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
