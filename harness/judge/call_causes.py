"""Which line of a unit refused a system call: a filter, a directive of the call's own, or a capability that is gone."""

import errno
from collections.abc import Iterator, Mapping

from harness.judge import relaxation
from harness.judge.cause import Cause, Place
from harness.judge.denials import Denials
from harness.judge.traces import Trace

# Calls that a directive of its own refuses with EPERM, and the capability that is asked for where it does not.
CALLS: Mapping[str, tuple[str, str]] = {
    "personality": ("LockPersonality", ""),
    "sched_setscheduler": ("RestrictRealtime", "CAP_SYS_NICE"),
    "sched_setattr": ("RestrictRealtime", "CAP_SYS_NICE"),
    "sched_setparam": ("RestrictRealtime", "CAP_SYS_NICE"),
    "unshare": ("RestrictNamespaces", "CAP_SYS_ADMIN"),
    "setns": ("RestrictNamespaces", "CAP_SYS_ADMIN"),
    "sethostname": ("ProtectHostname", "CAP_SYS_ADMIN"),
    "setdomainname": ("ProtectHostname", "CAP_SYS_ADMIN"),
    "clock_settime": ("ProtectClock", "CAP_SYS_TIME"),
    "settimeofday": ("ProtectClock", "CAP_SYS_TIME"),
    "adjtimex": ("ProtectClock", "CAP_SYS_TIME"),
    "clock_adjtime": ("ProtectClock", "CAP_SYS_TIME"),
    "init_module": ("ProtectKernelModules", "CAP_SYS_MODULE"),
    "finit_module": ("ProtectKernelModules", "CAP_SYS_MODULE"),
    "delete_module": ("ProtectKernelModules", "CAP_SYS_MODULE"),
    "syslog": ("ProtectKernelLogs", "CAP_SYSLOG"),
    "klogctl": ("ProtectKernelLogs", "CAP_SYSLOG"),
    "mprotect": ("MemoryDenyWriteExecute", ""),
    "mmap": ("MemoryDenyWriteExecute", ""),
    "pkey_mprotect": ("MemoryDenyWriteExecute", ""),
    "chmod": ("RestrictSUIDSGID", "CAP_FOWNER"),
    "fchmod": ("RestrictSUIDSGID", "CAP_FOWNER"),
    "fchmodat": ("RestrictSUIDSGID", "CAP_FOWNER"),
    "ioperm": ("PrivateDevices", "CAP_SYS_RAWIO"),
    "iopl": ("PrivateDevices", "CAP_SYS_RAWIO"),
    "mknod": ("", "CAP_MKNOD"),
    "mount": ("", "CAP_SYS_ADMIN"),
    "umount": ("", "CAP_SYS_ADMIN"),
    "umount2": ("", "CAP_SYS_ADMIN"),
    "chroot": ("", "CAP_SYS_CHROOT"),
    "ptrace": ("", "CAP_SYS_PTRACE"),
    "chown": ("", "CAP_CHOWN"),
    "fchown": ("", "CAP_CHOWN"),
    "lchown": ("", "CAP_CHOWN"),
    "setuid": ("", "CAP_SETUID"),
    "setreuid": ("", "CAP_SETUID"),
    "setresuid": ("", "CAP_SETUID"),
    "setgid": ("", "CAP_SETGID"),
    "setregid": ("", "CAP_SETGID"),
    "setresgid": ("", "CAP_SETGID"),
    "setgroups": ("", "CAP_SETGID"),
    "initgroups": ("", "CAP_SETGID"),
    "kill": ("", "CAP_KILL"),
    "mlock": ("", "CAP_IPC_LOCK"),
    "mlockall": ("", "CAP_IPC_LOCK"),
    "setpriority": ("", "CAP_SYS_NICE"),
    "nice": ("", "CAP_SYS_NICE"),
    "setrlimit": ("", "CAP_SYS_RESOURCE"),
    "prlimit": ("", "CAP_SYS_RESOURCE"),
    "acct": ("", "CAP_SYS_PACCT"),
    "swapon": ("", "CAP_SYS_ADMIN"),
    "swapoff": ("", "CAP_SYS_ADMIN"),
    "reboot": ("", "CAP_SYS_BOOT"),
    "keyctl": ("", ""),
    "add_key": ("", ""),
    "bpf": ("", "CAP_BPF"),
    "perf_event_open": ("", "CAP_PERFMON"),
    "quotactl": ("", "CAP_SYS_ADMIN"),
    "pivot_root": ("", "CAP_SYS_ADMIN"),
    "io_uring_setup": ("", ""),
    "getpriority": ("", ""),
}
EXECUTABLE_MEMORY = frozenset({"executable", "jit", "mprotect", "trampoline", "commit_memory"})


def of_calls(seen: Trace, unit: Denials, places: Mapping[str, Place]) -> Iterator[Cause]:
    """Filters answer before the kernel looks at capabilities, and each of them answers for itself."""
    called = [call for call in CALLS if call in seen.calls]
    for call in called:
        if unit.denies_call(call) and _same_errno(unit.errno_of_call(call), seen.errno):
            yield Cause.of(
                "SystemCallFilter", unit, [f"SystemCallFilter={call}"], f"it denies {call} with {seen.errno}"
            )
        directive, capability = CALLS[call]
        if directive != "RestrictSUIDSGID" or _may_own(seen.path, unit, places):
            yield from _of_switch(directive, seen, unit)
        yield from of_capability(capability, seen, unit)
    if not called and seen.words & EXECUTABLE_MEMORY and _refuses("MemoryDenyWriteExecute", seen):
        yield from of_executable_memory(unit)


def of_executable_memory(unit: Denials) -> Iterator[Cause]:
    """The directive that forbids it, where the unit sets it."""
    if unit.is_set("MemoryDenyWriteExecute"):
        yield Cause.of(
            "MemoryDenyWriteExecute", unit, ["MemoryDenyWriteExecute=no"], "memory was to be made executable"
        )


def _same_errno(value: str, name: str) -> bool:
    return value in (name, str(getattr(errno, name, "")))


def _may_own(path: str, unit: Denials, places: Mapping[str, Place]) -> bool:
    """Whether the unit may own what is at a path: nobody changes the mode of what belongs to others."""
    place = places.get(path)
    of_all = unit.is_root and not unit.lacks("CAP_FOWNER")
    return place is None or of_all or (place.uid == 0) is unit.is_root


def _refuses(directive: str, seen: Trace) -> bool:
    """All of these filters refuse with EPERM (src/shared/seccomp-util.c).

    Only memory that was to be made executable is refused with EACCES where the kernel does it itself (PR_SET_MDWE,
    systemd 254 and Linux 6.3); beside a path that is said of the file there.
    """
    of_a_file = any(path != seen.program for path in seen.paths)
    return seen.errno == "EPERM" or (directive == "MemoryDenyWriteExecute" and seen.errno == "EACCES" and not of_a_file)


def _of_switch(directive: str, seen: Trace, unit: Denials) -> Iterator[Cause]:
    if not directive or not _refuses(directive, seen) or not unit.is_set(directive):
        return
    if directive == "RestrictNamespaces":
        kinds = [kind for kind in ("user", "net", "mnt", "pid", "uts", "ipc", "cgroup", "time") if kind in seen.words]
        allowed = unit.words("RestrictNamespaces")
        if kinds and set(kinds) <= set(allowed):
            return
        lines = [f"RestrictNamespaces={' '.join(kinds)}"] if kinds else ["RestrictNamespaces=no"]
        yield Cause.of(directive, unit, lines, "it denies making or joining namespaces")
    else:
        yield Cause.of(directive, unit, [relaxation.lower(directive)], "it refuses this call")


def of_capability(capability: str, seen: Trace, unit: Denials) -> Iterator[Cause]:
    """Who took a capability that the kernel asks for; none for ""."""
    if not capability:
        return
    if seen.errno in ("EPERM", "EACCES") and unit.is_root and (name := unit.lacks(capability)):
        lines = [f"CapabilityBoundingSet={capability}"] if name == "CapabilityBoundingSet" else [relaxation.lower(name)]
        yield Cause.of(name, unit, lines, f"the call needs {capability}")
    elif unit.is_set("PrivateUsers") and seen.errno in ("EPERM", "EINVAL"):
        yield Cause.of(
            "PrivateUsers", unit, ["PrivateUsers=no"], "other users and the host's capabilities are gone in it"
        )
