"""What a look at a unit says: each refusal with the line that caused it, or that none is known, and limits run near.

The lines of a service are read as `traces.py` says and held against its settings as `causes.py` says. What systemd and
the kernel say themselves, in words of their own, is read here.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from harness.judge import relaxation
from harness.judge.cause import Cause, Place
from harness.judge.causes import causes
from harness.judge.denials import Denials
from harness.judge.novelty import template
from harness.judge.traces import Trace, trace
from harness.observation import JournalLine

# A line of the service counts as a refusal by its errno alone, even where no cause is found.
REFUSALS = frozenset({"EPERM", "EACCES", "EROFS", "EAFNOSUPPORT"})
# These are everyday answers: they count only where a setting explains them.
ORDINARY = frozenset({"ENOENT", "ENETUNREACH", "EADDRNOTAVAIL", "ECONNREFUSED", "ETIMEDOUT", "EINVAL", "ENOSYS"})
NEAR = 0.9
THROTTLED_SHARE = 0.05
PRESSURE_PERCENT = 10.0
_PATH_IN = re.compile(r": (/[^:]+): ")
_LISTS = (
    "ReadWritePaths",
    "ReadOnlyPaths",
    "InaccessiblePaths",
    "ExecPaths",
    "NoExecPaths",
    "BindPaths",
    "BindReadOnlyPaths",
)
_OOM = re.compile(r"constraint=(CONSTRAINT_\w+)(?:.*\boom_memcg=([^,\s]+))?")
_STEPS = {
    "CAPABILITIES": ("AmbientCapabilities", "CapabilityBoundingSet"),
    "SECCOMP": ("SystemCallFilter",),
    "USER": ("PrivateUsers", "DynamicUser"),
    "GROUP": ("SupplementaryGroups",),
    "NETWORK": ("PrivateNetwork", "JoinsNamespaceOf"),
}


@dataclass(frozen=True)
class Usage:
    """Counters of the unit's cgroup now; None is "not measured". `held_bytes` cannot be reclaimed, but for swap."""

    held_bytes: int | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    tasks: int | None = None
    oom_kills: int | None = None
    forks_rejected: int | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    files_highest: int | None = None
    pressure_percent: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Seen:
    """One look: settings, log lines, kernel lines about the unit, what is at the paths they name, and counters."""

    unit: Denials
    journal: tuple[JournalLine, ...] = ()
    kernel: tuple[str, ...] = ()
    places: Mapping[str, Place] | None = None
    usage: Usage = Usage()


@dataclass(frozen=True)
class Finding:
    """One refusal: the line that shows it, how often its like came, and its causes, likeliest first (none: unknown)."""

    evidence: str
    causes: tuple[Cause, ...]
    times: int = 1


@dataclass(frozen=True)
class Report:
    """All that a look found; `near` are sentences about limits."""

    findings: tuple[Finding, ...]
    near: tuple[str, ...]


def report(seen: Seen, *, known: Collection[str] = (), ignore: Collection[str] = ()) -> Report:
    """What there is to say. Lines with a template in `known`, or that match one of `ignore`, are left out."""
    found: dict[tuple[str, str], Finding] = {}
    for evidence, why in _all(seen):
        shape = template(evidence)
        if shape in known or any(re.search(pattern, evidence) for pattern in ignore):
            continue
        # What one line caused stands together, however many paths or calls it refused in one way.
        key = (why[0].directive if why else "", " ".join(why[0].relaxation) if why else shape)
        if key in found:
            old = found[key]
            found[key] = Finding(old.evidence, old.causes, old.times + 1)
        else:
            found[key] = Finding(evidence, tuple(why))
    named = [item for item in found.values() if item.causes]
    return Report((*named, *(item for item in found.values() if not item.causes)), tuple(_near(seen)))


def _all(seen: Seen) -> Iterator[tuple[str, list[Cause]]]:
    """Each line that shows a refusal, with its causes."""
    places = seen.places or {}
    killed = False
    for line in seen.kernel:
        # A call that this unit's filter does not deny was refused by a filter of the program's own.
        killed_here = trace(line).killed_for != ""
        killed = killed or killed_here
        if (why := _of_kernel(line, seen)) or killed_here:
            yield line, why
        elif "constraint=CONSTRAINT_NONE" in line:
            yield f"the whole machine ran out of memory: {line}", []
    throttled = _throttled(seen)
    if throttled:
        yield throttled
    for item in seen.journal:
        if item.from_manager:
            if not (killed and "/SYS" in item.message):  # the kernel's line says more
                yield from _of_manager(item.message, seen, places)
            continue
        read = trace(item.message)
        why = _of_limits(read, seen) or causes(read, seen.unit, places)
        if why or read.errno in REFUSALS:
            yield item.message, why


def _of_kernel(line: str, seen: Seen) -> list[Cause]:
    read, unit = trace(line), seen.unit
    if read.killed_for:
        return causes(read, unit, {})
    if "fork rejected by pids controller" in line:
        return [_limit("TasksMax", unit, "forks beyond it were rejected")]
    if unit.is_set("MemoryMax") and _own_limit_killed(line, seen):
        return [_limit("MemoryMax", unit, "a process was killed when the unit needed more")]
    return []


def _own_limit_killed(line: str, seen: Seen) -> bool:
    """Whether the kernel says that memory ran out below a limit, and that it was this unit's."""
    if found := _OOM.search(line):
        group = seen.unit.value("ControlGroup")
        return found[1] == "CONSTRAINT_MEMCG" and (not group or found[2] is None or found[2].endswith(group))
    return "Memory cgroup out of memory" in line


def _was_own_limit(seen: Seen) -> bool:
    """Whether a kill that systemd reports was for the unit's MemoryMax=: it words those of the whole machine alike.

    The kernel's lines tell; where there are none, the unit's peak does.
    """
    if not seen.unit.is_set("MemoryMax"):
        return False
    if said := [line for line in seen.kernel if "oom-kill:" in line or "Memory cgroup out of memory" in line]:
        return any(_own_limit_killed(line, seen) for line in said)
    limit, peak = seen.unit.value("MemoryMax"), seen.usage.memory_peak_bytes
    return limit.isdigit() and peak is not None and peak >= NEAR * int(limit)


def _of_manager(message: str, seen: Seen, places: Mapping[str, Place]) -> Iterator[tuple[str, list[Cause]]]:
    unit, read = seen.unit, trace(message)
    if read.signal == "SIGSYS":
        yield message, causes(read, unit, places)
    elif "killed by the OOM killer" in message or "'oom-kill'" in message:
        yield message, [_limit("MemoryMax", unit, "the unit needed more")] if _was_own_limit(seen) else []
    elif read.signal == "SIGXFSZ" or read.signal == "SIGXCPU":
        name = "LimitFSIZE" if read.signal == "SIGXFSZ" else "LimitCPU"
        yield message, [_limit(name, unit, f"{read.signal} is what it sends")] if unit.is_set(name) else []
    elif "Failed to set up mount namespacing" in message or "Failed to mount" in message:
        yield message, list(_of_namespace(message, unit))
    elif (
        "Failed to locate executable" in message
        or "Failed to execute" in message
        or "Unable to locate executable" in message
    ):
        yield message, causes(read, unit, places)
    elif "Changing to the requested working directory failed" in message:
        where = trace(f"{unit.value('WorkingDirectory')}: {message.rpartition(': ')[2]}")
        yield message, causes(where, unit, places)
    elif found := re.search(r"Failed at step ([A-Z_]+) spawning", message):
        names = [name for name in _STEPS.get(found[1], ()) if unit.is_set(name)]
        told = "systemd could not set it up"
        yield message, [Cause.of(name, unit, [f"{name}="], told) for name in names[:1]]


def _of_namespace(message: str, unit: Denials) -> Iterator[Cause]:
    """A path in a list that is not there: systemd then does not start the unit, unless it is written with `-`."""
    found = _PATH_IN.search(message)
    path = found[1] if found else ""
    path = path.removeprefix("/run/systemd/unit-root").removeprefix("/run/systemd/mount-rootfs")
    for name in _LISTS:
        if path and any(path in word.lstrip("+").split(":")[:2] for word in unit.words(name)):
            because = f"{path} is not there, and not marked as optional"
            yield Cause.of(name, unit, relaxation.optional(name, path, unit), because, item=path)


def _of_limits(read: Trace, seen: Seen) -> list[Cause]:
    unit, usage = seen.unit, seen.usage
    if read.errno == "EMFILE" and unit.is_set("LimitNOFILE"):
        return [_files(unit, usage)]
    if read.errno == "EFBIG" and unit.is_set("LimitFSIZE"):
        return [_limit("LimitFSIZE", unit, "no file may grow beyond it")]
    if (
        read.errno in ("EAGAIN", "ENOMEM", "EPERM")
        and read.words & {"mlock", "mlockall"}
        and unit.is_set("LimitMEMLOCK")
    ):
        return [_limit("LimitMEMLOCK", unit, "no more memory may be locked")]
    if read.errno == "EAGAIN" and read.words & {"fork", "thread", "clone", "vfork", "pthread_create"}:
        if usage.forks_rejected and unit.is_set("TasksMax"):
            return [_limit("TasksMax", unit, f"{usage.forks_rejected} forks beyond it were rejected")]
        own = unit.is_set("LimitNPROC") and not unit.is_root and unit.text.lines("Service", "LimitNPROC")
        if own and not usage.forks_rejected:
            return [_limit("LimitNPROC", unit, "its user has as many processes")]
        if unit.text.lines("Service", "TasksMax") and usage.forks_rejected is None:
            return [_limit("TasksMax", unit, "a fork was rejected")]
    if read.errno == "ENOMEM":
        names = [name for name in ("LimitAS", "LimitDATA", "LimitSTACK") if unit.text.lines("Service", name)]
        if len(names) == 1:
            return [_limit(names[0], unit, "memory was refused, which MemoryMax= never does")]
    return []


def _files(unit: Denials, usage: Usage) -> Cause:
    """The soft limit is what refuses; a process that raised its own has passed it."""
    soft, hard = unit.value("LimitNOFILESoft"), unit.value("LimitNOFILE")
    told = "the process had as many files open"
    if not soft.isdigit() or soft == hard or (usage.files_highest or 0) >= int(soft):
        return _limit("LimitNOFILE", unit, told)
    (more,) = relaxation.more("LimitNOFILE", soft)
    value = int(more.partition("=")[2])
    line = more if hard.isdigit() and value >= int(hard) else f"{more}:{hard}"
    return Cause.of("LimitNOFILE", unit, [line], f"{told} as its soft limit of {soft} allows")


def _throttled(seen: Seen) -> tuple[str, list[Cause]] | None:
    usage, unit = seen.usage, seen.unit
    share = _share(usage.throttled_periods, usage.periods)
    if share is None or share < THROTTLED_SHARE or not unit.text.lines("Service", "CPUQuota"):
        return None
    value = unit.text.lines("Service", "CPUQuota")[-1]
    lines = relaxation.more("CPUQuota", value)
    cause = Cause.of("CPUQuota", unit, lines, f"held back in {share:.0%} of its periods")
    return f"{usage.throttled_periods} of {usage.periods} periods throttled", [cause]


def _limit(name: str, unit: Denials, because: str) -> Cause:
    return Cause.of(name, unit, relaxation.more(name, unit.value(name)), because)


def _near(seen: Seen) -> Iterator[str]:
    """Limits that are nearly used up, and time lost to waiting."""
    unit, usage = seen.unit, seen.usage
    used = {"MemoryMax": usage.memory_bytes, "TasksMax": usage.tasks, "LimitNOFILE": usage.files_highest}
    for name, now in used.items():
        limit = unit.value(name)
        if now is not None and limit.isdigit() and int(limit) > 0 and now >= NEAR * int(limit):
            yield f"{now / int(limit):.0%} of {unit.line(name)} is in use"
    peak, limit = usage.memory_peak_bytes, unit.value("MemoryMax")
    if (
        peak is not None
        and limit.isdigit()
        and NEAR * int(limit) <= peak
        and (usage.memory_bytes or 0) < NEAR * int(limit)
    ):
        yield f"at its peak {peak / int(limit):.0%} of {unit.line('MemoryMax')} was in use, page cache included"
    for kind, percent in (usage.pressure_percent or {}).items():
        if percent >= PRESSURE_PERCENT:
            yield f"{kind}: in {percent:.0f} % of the last five minutes some of its tasks had to wait for it"


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole
