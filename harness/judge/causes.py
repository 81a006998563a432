"""From the trace of a refusal to the line of the unit that refused: named only where its value really denies it.

`culprits.py` points a search to suspects, and a wrong one costs a trial. Here somebody is told what to change, so a
directive counts only if the unit sets it, its value covers the very path, call, address or capability, and it refuses
with the errno that was seen. Where nothing fits, nothing is named.
"""

import errno
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.judge import relaxation
from harness.judge.denials import NO, Denials
from harness.judge.traces import Trace

NATIVE = frozenset({"c000003e", "c00000b7", "c00000f3"})  # AUDIT_ARCH_ of x86-64, arm64, riscv64
FAMILIES = {
    "netlink": "AF_NETLINK", "rtnetlink": "AF_NETLINK", "inet6": "AF_INET6", "ipv6": "AF_INET6", "packet": "AF_PACKET",
    "unix": "AF_UNIX", "inet": "AF_INET", "vsock": "AF_VSOCK", "bluetooth": "AF_BLUETOOTH", "alg": "AF_ALG",
}  # fmt: skip
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
# PCRE in PHP, LuaJIT, and cffi in Python tell of it without an errno.
NO_JIT = ("allocation of jit memory failed", "runtime code generation failed", "allocate write+execute memory")
HIDING = frozenset({"hidden", "empty", "private"})


@dataclass(frozen=True)
class Place:
    """What is at a path on the machine, outside of the unit; a path that is not there has none."""

    mode: int
    uid: int
    is_directory: bool
    read_only: bool


@dataclass(frozen=True)
class Cause:
    """The likely cause of a refusal: directive, the line that sets it, lines that relax it, and why it is this one."""

    directive: str
    line: str
    relaxation: tuple[str, ...]
    because: str


def causes(seen: Trace, unit: Denials, places: Mapping[str, Place]) -> list[Cause]:
    """What refused; several where each by itself does. Empty when no setting of the unit explains the line."""
    found: dict[str, Cause] = {}
    for cause in _all(seen, unit, places):
        found.setdefault(cause.directive, cause)
    return list(found.values())


def _all(seen: Trace, unit: Denials, places: Mapping[str, Place]) -> Iterator[Cause]:
    if seen.killed_for or seen.signal == "SIGSYS":
        yield from _killed(seen, unit)
        return
    if "effective uid is not 0" in seen.text or "no new privileges" in seen.text.lower():
        if unit.is_set("NoNewPrivileges"):
            yield _cause("NoNewPrivileges", unit, ["NoNewPrivileges=no"], "a set-user-id program gained nothing")
        return
    if any(words in seen.text.lower() for words in NO_JIT):
        yield from _of_executable_memory(unit)
        return
    if seen.errno in ("EROFS", "EACCES", "ENOENT", "EPERM") and seen.path:
        by_path = [cause for path in reversed(seen.paths) for cause in _of_path(seen, path, unit, places)]
        if by_path:
            yield from by_path
            return
    if seen.errno in ("EPERM", "EACCES", "EINVAL", "ENOSYS"):
        by_call = list(_of_calls(seen, unit, places))
        yield from by_call
        if by_call:
            return
    yield from _of_network(seen, unit)
    if seen.errno in ("EACCES", "EPERM"):
        yield from _of_owner(seen, unit, places)
    if seen.errno == "EROFS" and not seen.path:
        yield from _only(("ProtectSystem", "ReadOnlyPaths", "ProtectControlGroups", "ProtectKernelTunables"), unit)


def _killed(seen: Trace, unit: Denials) -> Iterator[Cause]:
    """Only two directives kill: all other filters refuse with an errno."""
    call = seen.killed_for
    if seen.architecture and seen.architecture not in NATIVE and unit.is_set("SystemCallArchitectures"):
        wider = f"SystemCallArchitectures={unit.value('SystemCallArchitectures')} x86"
        yield _cause("SystemCallArchitectures", unit, [wider], "a call of another architecture")
    elif call and unit.denies_call(call):
        yield _cause("SystemCallFilter", unit, [f"SystemCallFilter={call}"], f"it denies {call}")
    elif not call and unit.is_set("SystemCallFilter"):
        told = "the kernel's line would name the call: journalctl -k --grep type=1326"
        yield _cause("SystemCallFilter", unit, [], f"SIGSYS, and no other line kills; {told}")
    elif not call and unit.is_set("SystemCallArchitectures"):
        yield _cause("SystemCallArchitectures", unit, ["SystemCallArchitectures="], "SIGSYS, and no other line kills")


def _of_path(seen: Trace, path: str, unit: Denials, places: Mapping[str, Place]) -> Iterator[Cause]:
    mount, place = unit.mount_of(path), places.get(path)
    existing = frozenset(places)
    if mount is not None and mount.directive:
        around = places.get(relaxation.nearest(path, existing))
        if seen.errno == "EROFS" and mount.mode == "ro" and not (around is not None and around.read_only):
            lines = relaxation.open_path(mount.directive, relaxation.nearest(path, existing), unit, writes=True)
            yield _cause(mount.directive, unit, lines, f"{path} is read-only under it", item=mount.path)
            return
        if seen.errno == "EROFS" and mount.mode in ("empty", "hidden"):
            lines = relaxation.open_path(mount.directive, relaxation.nearest(path, existing), unit, writes=True)
            yield _cause(mount.directive, unit, lines, f"{path} is hidden under it", item=mount.path)
            return
        there = place is not None or relaxation.nearest(path, existing) not in ("/", path, mount.path)
        if seen.errno in ("EACCES", "ENOENT", "EPERM") and mount.mode in HIDING and there:
            yield _hidden(mount.directive, path, unit, item=mount.path)
            return
    if path.startswith("/proc/") and seen.errno in ("ENOENT", "EPERM", "EACCES"):
        yield from _of_proc(path, unit, places)
    if seen.errno == "EPERM" and path.startswith("/dev/") and place is not None and _closed(path, unit):
        yield _cause("DevicePolicy", unit, relaxation.device(path, unit, private=False), f"it does not allow {path}")
    runs = place is not None and place.mode & 0o111 and not place.is_directory
    if seen.errno in ("EACCES", "EPERM") and runs and not unit.executable(path):
        yield _cause("NoExecPaths", unit, relaxation.run(path, unit), f"{path} may not be executed under it")


def _hidden(directive: str, path: str, unit: Denials, *, item: str) -> Cause:
    if directive == "PrivateDevices":
        return _cause(directive, unit, relaxation.device(path, unit, private=True), f"{path} is not in its /dev")
    lines = relaxation.open_path(directive, path, unit, writes=False)
    return _cause(directive, unit, lines, f"{path} is there, and hidden under it", item=item)


def _of_proc(path: str, unit: Denials, places: Mapping[str, Place]) -> Iterator[Cause]:
    first = path.split("/")[2]
    if first.isdigit() and unit.value("ProtectProc") not in NO:
        yield _cause("ProtectProc", unit, ["ProtectProc=default"], "it hides processes of other users")
    elif (
        not first.isdigit()
        and first not in ("self", "thread-self")
        and unit.value("ProcSubset") == "pid"
        and path in places
    ):
        yield _cause("ProcSubset", unit, ["ProcSubset=all"], f"it leaves {path} out")


def _closed(path: str, unit: Denials) -> bool:
    allowed = unit.value("DeviceAllow")
    return unit.value("DevicePolicy") in ("closed", "strict") and path not in allowed


def _of_calls(seen: Trace, unit: Denials, places: Mapping[str, Place]) -> Iterator[Cause]:
    """Filters answer before the kernel looks at capabilities, and each of them answers for itself."""
    called = [call for call in CALLS if call in seen.calls]
    for call in called:
        if unit.denies_call(call) and _same_errno(unit.errno_of_call(call), seen.errno):
            yield _cause("SystemCallFilter", unit, [f"SystemCallFilter={call}"], f"it denies {call} with {seen.errno}")
        directive, capability = CALLS[call]
        if directive != "RestrictSUIDSGID" or _may_own(seen.path, unit, places):
            yield from _of_switch(directive, seen, unit)
        yield from _of_capability(capability, seen, unit)
    if not called and seen.words & EXECUTABLE_MEMORY and _refuses("MemoryDenyWriteExecute", seen):
        yield from _of_executable_memory(unit)


def _of_executable_memory(unit: Denials) -> Iterator[Cause]:
    if unit.is_set("MemoryDenyWriteExecute"):
        yield _cause("MemoryDenyWriteExecute", unit, ["MemoryDenyWriteExecute=no"], "memory was to be made executable")


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
        yield _cause(directive, unit, lines, "it denies making or joining namespaces")
    else:
        yield _cause(directive, unit, [relaxation.lower(directive)], "it refuses this call")


def _of_capability(capability: str, seen: Trace, unit: Denials) -> Iterator[Cause]:
    if not capability:
        return
    if seen.errno in ("EPERM", "EACCES") and unit.is_root and (name := unit.lacks(capability)):
        lines = [f"CapabilityBoundingSet={capability}"] if name == "CapabilityBoundingSet" else [relaxation.lower(name)]
        yield _cause(name, unit, lines, f"the call needs {capability}")
    elif unit.is_set("PrivateUsers") and seen.errno in ("EPERM", "EINVAL"):
        yield _cause(
            "PrivateUsers", unit, ["PrivateUsers=no"], "other users and the host's capabilities are gone in it"
        )


def _of_network(seen: Trace, unit: Denials) -> Iterator[Cause]:
    if seen.errno == "EAFNOSUPPORT" and unit.is_set("RestrictAddressFamilies"):
        families = {FAMILIES[word] for word in seen.words if word in FAMILIES}
        families |= {f"AF_{word[3:].upper()}" for word in seen.words if word.startswith("af_")}
        if any(":" in address for address in seen.addresses) or "[::" in seen.text:
            families.add("AF_INET6")
        denied = sorted(family for family in families if unit.denies_family(family))
        if denied or not families:
            lines = [f"RestrictAddressFamilies={' '.join(denied)}"] if denied else []
            yield _cause("RestrictAddressFamilies", unit, lines, "it refuses sockets of a family with this errno")
    elif seen.errno in ("EPERM", "ETIMEDOUT", "EACCES"):
        # A wildcard is what is bound to, and no packet's peer.
        peers = [address for address in seen.addresses if not ipaddress.ip_address(address).is_unspecified]
        denied = [address for address in peers if unit.denies_address(address)]
        if seen.errno == "EPERM" and "bind" in seen.words and unit.value("SocketBindDeny") not in NO:
            yield from _of_bind(seen, unit)
        elif denied and seen.errno != "EACCES":
            yield _cause("IPAddressDeny", unit, [f"IPAddressAllow={denied[-1]}"], f"it blocks {denied[-1]}")
        elif "bind" in seen.words or "listen" in seen.words:
            yield from _of_bind(seen, unit)
    if seen.errno in ("ENETUNREACH", "EADDRNOTAVAIL") and unit.is_set("PrivateNetwork"):
        yield _cause("PrivateNetwork", unit, ["PrivateNetwork=no"], "there is no network but its own loopback")
    if seen.words & {"socket", "raw"} and seen.errno == "EPERM":
        yield from _of_capability("CAP_NET_RAW", seen, unit)


def _of_bind(seen: Trace, unit: Denials) -> Iterator[Cause]:
    if seen.errno == "EPERM" and unit.value("SocketBindDeny") not in NO:
        yield _cause("SocketBindDeny", unit, ["SocketBindAllow=any"], "it refuses to bind with this errno")
    elif seen.errno == "EACCES":
        yield from _of_capability("CAP_NET_BIND_SERVICE", seen, unit)


def _of_owner(seen: Trace, unit: Denials, places: Mapping[str, Place]) -> Iterator[Cause]:
    """A file that root may open only by its capability to pass over permissions."""
    for path in seen.paths:
        place = places.get(path)
        if place is None or not unit.is_root or seen.errno != "EACCES":
            continue
        others = place.mode & 0o7
        by_mode = others & 0o6 != 0o6 if place.uid != 0 else place.mode & 0o600 != 0o600
        if by_mode and (name := unit.lacks("CAP_DAC_OVERRIDE")):
            yield _cause(
                name, unit, ["CapabilityBoundingSet=CAP_DAC_OVERRIDE"], f"root may not pass over the mode of {path}"
            )
        elif by_mode and unit.is_set("PrivateUsers"):
            yield _cause("PrivateUsers", unit, ["PrivateUsers=no"], f"the owner of {path} is nobody in it")


def _only(names: Iterable[str], unit: Denials) -> Iterator[Cause]:
    """The one of several directives that is set; with more of them the line does not tell which."""
    there = [name for name in names if unit.is_set(name)]
    if len(there) == 1:
        yield _cause(there[0], unit, [], "the only line here that makes anything read-only; the log names no path")


def _cause(directive: str, unit: Denials, lines: list[str], because: str, *, item: str = "") -> Cause:
    return Cause(directive, unit.line(directive, item), tuple(lines), because)
