"""Whether what was asked for is what the processes have: systemd skips some settings without a word.

Read back from the kernel (proc(5)) for every process of the unit, not from what systemd repeats.
"""

from collections.abc import Callable, Iterable

from harness.observation import Process
from harness.unit.capability import CAPABILITIES
from harness.unit.tightening import Tightening

Check = Callable[[Process], bool]
EVERY = (1 << len(CAPABILITIES)) - 1


def _apart(kind: str) -> Check:
    return lambda process: kind in process.namespaces


def _filtered(process: Process) -> bool:
    return process.seccomp == 2


def _no_new_privileges(process: Process) -> bool:
    return process.no_new_privileges


# Directive → what every process must show. MemoryDenyWriteExecute= is no filter since systemd 254 (PR_SET_MDWE).
CHECKS: dict[str, Check] = {
    "NoNewPrivileges": _no_new_privileges,
    "PrivateNetwork": _apart("net"),
    "PrivateIPC": _apart("ipc"),
    "PrivateUsers": _apart("user"),
    "PrivatePIDs": _apart("pid"),
    "ProtectHostname": _apart("uts"),
    **dict.fromkeys(
        (
            "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts", "ProtectKernelTunables",
            "ProtectControlGroups", "ProtectProc", "ProcSubset", "NoExecPaths", "InaccessiblePaths",
        ),
        _apart("mnt"),
    ),
    **dict.fromkeys(
        (
            "SystemCallFilter", "SystemCallArchitectures", "RestrictAddressFamilies", "RestrictNamespaces",
            "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "ProtectClock", "ProtectKernelModules",
            "ProtectKernelLogs",
        ),
        _filtered,
    ),
}  # fmt: skip


def ignored(tightenings: Iterable[Tightening], processes: Iterable[Process]) -> list[tuple[str, str]]:
    """(directive, what contradicts it) for each tightening that some process does not have; empty when all hold."""
    found: dict[str, str] = {}
    seen = list(processes)
    for tightening in sorted(tightenings):
        check = _check(tightening)
        lacking = next((process for process in seen if check is not None and not check(process)), None)
        if lacking is not None:
            found.setdefault(
                tightening.directive, f"{lacking.comm} (pid {lacking.pid}) runs without {tightening.label}"
            )
    return list(found.items())


def _has_own_users(process: Process) -> bool:
    return "user" in process.namespaces and process.bounding & EVERY == EVERY


def _check(tightening: Tightening) -> Check | None:
    if tightening.directive == "CapabilityBoundingSet":
        denied = sum(1 << CAPABILITIES.index(item.removeprefix("CAP_")) for item in tightening.items)
        # A user namespace of the process's own gives it the full set, which no machine has: capabilities(7).
        return lambda process: _has_own_users(process) or not process.bounding & denied
    return CHECKS.get(tightening.directive)
