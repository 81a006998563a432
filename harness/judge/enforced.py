"""Whether the kernel holds a unit's processes to what its lines say, told from /proc, control groups and filters.

What systemd repeats counts for nothing here: each part of a directive is looked for in every process of the unit.
"""

from collections.abc import Iterable

from harness.judge import calls, mounts, resources
from harness.judge.holding import Check, Finding, Hold, Part, Seen, hold_of, part
from harness.judge.settings import Setting
from harness.unit.capability import CAPABILITIES, TAKEN_BY
from harness.unit.confined import Confined, Look
from harness.unit.itemset import kept_by
from harness.unit.start import NotUnderstood

# They confine nothing by themselves: they let through, grant, name, or decide what happens afterwards.
GRANTS = frozenset(
    "AmbientCapabilities BindReadOnlyPaths CoredumpFilter CPUQuotaPeriodSec Delegate ExecPaths IPAddressAllow IOWeight "
    "NotifyAccess OOMPolicy ReadWritePaths SocketBindAllow SupplementaryGroups SystemCallErrorNumber "
    "SystemCallLog".split()
)
# Done when the unit stops, or kept where no file of the kernel's shows it.
UNSEEN = {
    "RemoveIPC": "done by systemd when the unit stops",
    "KeyringMode": "the kernel shows no process's keyrings to others",
    "SecureBits": "the kernel shows them to the process alone",
    "RestrictFileSystems": "held in a BPF map; a canary tells (--canaries)",
}
BPF_FRAMEWORK = frozenset({"RestrictFileSystems", "SocketBindDeny", "RestrictNetworkInterfaces"})


def find(setting: Setting, look: Look) -> Finding:
    """What the kernel shows of a directive that is set."""
    name = setting.directive.name
    if not setting.confines:
        return Finding(Hold.OPEN)
    if name in GRANTS:
        return Finding(Hold.NO_LIMIT)
    if name in BPF_FRAMEWORK and "-BPF_FRAMEWORK" in look.host.features:
        return Finding(Hold.ABSENT, (Part("", Hold.ABSENT, "this systemd is built without its BPF programs"),))
    if not look.running:
        return Finding(Hold.NOT_RUNNING)
    if name == "User" and look.owner == 0:
        return Finding(Hold.OPEN)  # a specifier that stands for root
    if name in UNSEEN:
        return Finding(Hold.UNKNOWN, (Part("", Hold.UNKNOWN, UNSEEN[name]),))
    if name in resources.CHECKS:
        ok, evidence = resources.CHECKS[name](setting, look)
        return _whole([Part("", hold_of(ok), evidence)])
    check = CHECKS.get(name)
    if check is None:
        return Finding(Hold.UNKNOWN, (Part("", Hold.UNKNOWN, "nothing in /proc shows it"),))
    return _whole(_merged([list(check(setting, look, process)) for process in look.processes], look.processes))


def _merged(each: list[list[Part]], processes: Iterable[Confined]) -> list[Part]:
    """One part for all processes: the worst that any of them shows, with the first that shows it."""
    order = (Hold.ABSENT, Hold.UNKNOWN, Hold.FILTERED, Hold.ENFORCED)
    worst: dict[str, Part] = {}
    for process, parts in zip(processes, each, strict=True):
        for found in parts:
            before = worst.get(found.name)
            if before is None or order.index(found.hold) < order.index(before.hold):
                evidence = found.evidence
                if found.hold is Hold.ABSENT:
                    evidence = f"{process.comm} (pid {process.pid}): {evidence}"
                worst[found.name] = Part(found.name, found.hold, evidence)
    return list(worst.values())


def _whole(parts: list[Part]) -> Finding:
    holds = {part.hold for part in parts}
    if Hold.ABSENT in holds:
        hold = Hold.PARTLY if holds & {Hold.ENFORCED, Hold.FILTERED} else Hold.ABSENT
    else:
        hold = next((h for h in (Hold.FILTERED, Hold.ENFORCED) if h in holds), Hold.UNKNOWN)
    return Finding(hold, tuple(parts))


# -- privileges


def _no_new_privileges(setting: Setting, look: Look, process: Confined) -> Seen:
    yield part("", process.no_new_privileges, "NoNewPrivs is 1", "NoNewPrivs is 0")


def _bounding(setting: Setting, look: Look, process: Confined) -> Seen:
    directive = setting.directive
    try:
        kept = kept_by(directive, [value for value in setting.values if value]).kept
    except NotUnderstood as error:
        yield part("", None, "", str(error))
        return
    if not any(setting.values):
        kept = frozenset()
    left = [name for name in _held(process.bounding) if name not in kept]
    yield part("", not left, f"CapBnd is {process.bounding:x}", "CapBnd still has " + " ".join(left[:4]))


def _held(mask: int) -> list[str]:
    return [f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if mask >> number & 1]


def _lacks(setting: Setting, process: Confined) -> Seen:
    names = TAKEN_BY[setting.directive.name]
    left = [name for name in names if name in _held(process.bounding)]
    yield part("capabilities", not left, "CapBnd has none of " + " ".join(names), "CapBnd has " + " ".join(left))


def _user(setting: Setting, look: Look, process: Confined) -> Seen:
    other = look.owner is not None and look.owner not in (0, process.uid) and process.uid != 0
    if other:
        yield part("", None, "", f"it has become user {process.uid}")
        return
    yield part("", process.uid != 0, f"user id {process.uid}", "it is root")


def _umask(setting: Setting, look: Look, process: Confined) -> Seen:
    same = process.umask is not None and process.umask == int(setting.value, 8)
    mask = "unknown" if process.umask is None else f"{process.umask:04o}"
    yield part("", True if same else None, f"Umask is {mask}", f"Umask is {mask}: a process may change its own")


def _apart(kind: str, name: str = "") -> Check:
    def check(setting: Setting, look: Look, process: Confined) -> Seen:
        yield part(name, kind in process.apart, f"a {kind} namespace of its own", f"the {kind} namespace of process 1")

    return check


# -- several parts


def _devices(setting: Setting, look: Look, process: Confined) -> Seen:
    yield mounts.own_dev(look, process)
    yield from _lacks(setting, process)
    ok, evidence = resources.device_policy(setting, look)
    yield Part("device policy", hold_of(ok), evidence)
    yield from _calls(setting, look, process)


def _modules(setting: Setting, look: Look, process: Confined) -> Seen:
    yield from mounts.hidden_part("files", process, ("/usr/lib/modules",))
    yield from _lacks(setting, process)
    yield from _calls(setting, look, process)


def _logs(setting: Setting, look: Look, process: Confined) -> Seen:
    yield from mounts.hidden_part("files", process, ("/proc/kmsg",))
    yield from _lacks(setting, process)
    yield from _calls(setting, look, process)


def _clock(setting: Setting, look: Look, process: Confined) -> Seen:
    yield from _lacks(setting, process)
    yield from _calls(setting, look, process)


def _hostname(setting: Setting, look: Look, process: Confined) -> Seen:
    yield from _apart("uts", "namespace")(setting, look, process)
    if setting.value == "yes":
        yield from _calls(setting, look, process)


def _calls(setting: Setting, look: Look, process: Confined) -> Seen:
    """Filters of system calls: what those that were read refuse, else only whether there is any."""
    if process.seccomp == 0:
        yield Part("system calls", Hold.ABSENT, "no filter of system calls is loaded")
    elif process.filters is None:
        count = "" if process.filter_count is None else f"{process.filter_count} "
        yield Part("system calls", Hold.FILTERED, f"{count}filters are loaded; --filters reads what they refuse")
    else:
        ok, evidence = calls.refused(setting, look, process.filters)
        yield Part("system calls", hold_of(ok), evidence)


def _write_and_execute(setting: Setting, look: Look, process: Confined) -> Seen:
    if look.host.version >= 254 and (
        process.filters is None or calls.refused(setting, look, process.filters)[0] is False
    ):
        yield Part("", Hold.UNKNOWN, "set by prctl(2) since systemd 254, which the kernel shows to the process alone")
        return
    yield from _calls(setting, look, process)


CHECKS: dict[str, Check] = {
    "NoNewPrivileges": _no_new_privileges,
    "CapabilityBoundingSet": _bounding,
    "User": _user,
    "DynamicUser": _user,
    "UMask": _umask,
    "PrivateNetwork": _apart("net"),
    "PrivateIPC": _apart("ipc"),
    "PrivateUsers": _apart("user"),
    "PrivatePIDs": _apart("pid"),
    "PrivateMounts": _apart("mnt"),
    "ProtectSystem": mounts.system,
    "ProtectHome": mounts.home,
    "PrivateTmp": mounts.tmp,
    "PrivateDevices": _devices,
    "ProtectProc": mounts.proc,
    "ProcSubset": mounts.proc,
    "ProtectKernelTunables": mounts.tunables,
    "ProtectKernelModules": _modules,
    "ProtectKernelLogs": _logs,
    "ProtectClock": _clock,
    "ProtectHostname": _hostname,
    "ProtectControlGroups": mounts.control_groups,
    "MemoryDenyWriteExecute": _write_and_execute,
    **dict.fromkeys(("ReadOnlyPaths", "InaccessiblePaths", "NoExecPaths", "TemporaryFileSystem"), mounts.paths),
    **dict.fromkeys(
        (
            "SystemCallFilter", "SystemCallArchitectures", "RestrictAddressFamilies", "RestrictNamespaces",
            "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
        ),
        _calls,
    ),
}  # fmt: skip
