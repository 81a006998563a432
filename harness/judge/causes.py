"""From the trace of a refusal to the line of the unit that refused: named only where its value really denies it.

`culprits.py` points a search to suspects, and a wrong one costs a trial. Here somebody is told what to change, so a
directive counts only if the unit sets it, its value covers the very path, call, address or capability, and it refuses
with the errno that was seen. Where nothing fits, nothing is named.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from harness.judge import relaxation
from harness.judge.call_causes import of_calls, of_capability, of_executable_memory
from harness.judge.cause import Cause, Place
from harness.judge.denials import NO, Denials
from harness.judge.traces import Trace

NATIVE = frozenset({"c000003e", "c00000b7", "c00000f3"})  # AUDIT_ARCH_ of x86-64, arm64, riscv64
FAMILIES = {
    "netlink": "AF_NETLINK", "rtnetlink": "AF_NETLINK", "inet6": "AF_INET6", "ipv6": "AF_INET6", "packet": "AF_PACKET",
    "unix": "AF_UNIX", "inet": "AF_INET", "vsock": "AF_VSOCK", "bluetooth": "AF_BLUETOOTH", "alg": "AF_ALG",
}  # fmt: skip
# PCRE in PHP, LuaJIT, and cffi in Python tell of it without an errno.
NO_JIT = ("allocation of jit memory failed", "runtime code generation failed", "allocate write+execute memory")
HIDING = frozenset({"hidden", "empty", "private"})


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
            yield Cause.of("NoNewPrivileges", unit, ["NoNewPrivileges=no"], "a set-user-id program gained nothing")
        return
    if any(words in seen.text.lower() for words in NO_JIT):
        yield from of_executable_memory(unit)
        return
    if seen.errno in ("EROFS", "EACCES", "ENOENT", "EPERM") and seen.path:
        by_path = [cause for path in reversed(seen.paths) for cause in _of_path(seen, path, unit, places)]
        if by_path:
            yield from by_path
            return
    if seen.errno in ("EPERM", "EACCES", "EINVAL", "ENOSYS"):
        by_call = list(of_calls(seen, unit, places))
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
        yield Cause.of("SystemCallArchitectures", unit, [wider], "a call of another architecture")
    elif call and unit.denies_call(call):
        yield Cause.of("SystemCallFilter", unit, [f"SystemCallFilter={call}"], f"it denies {call}")
    elif not call and unit.is_set("SystemCallFilter"):
        told = "the kernel's line would name the call: journalctl -k --grep type=1326"
        yield Cause.of("SystemCallFilter", unit, [], f"SIGSYS, and no other line kills; {told}")
    elif not call and unit.is_set("SystemCallArchitectures"):
        yield Cause.of("SystemCallArchitectures", unit, ["SystemCallArchitectures="], "SIGSYS, and no other line kills")


def _of_path(seen: Trace, path: str, unit: Denials, places: Mapping[str, Place]) -> Iterator[Cause]:
    mount, place = unit.mount_of(path), places.get(path)
    existing = frozenset(places)
    if mount is not None and mount.directive:
        around = places.get(relaxation.nearest(path, existing))
        if seen.errno == "EROFS" and mount.mode == "ro" and not (around is not None and around.read_only):
            lines = relaxation.open_path(mount.directive, relaxation.nearest(path, existing), unit, writes=True)
            yield Cause.of(mount.directive, unit, lines, f"{path} is read-only under it", item=mount.path)
            return
        if seen.errno == "EROFS" and mount.mode in ("empty", "hidden"):
            lines = relaxation.open_path(mount.directive, relaxation.nearest(path, existing), unit, writes=True)
            yield Cause.of(mount.directive, unit, lines, f"{path} is hidden under it", item=mount.path)
            return
        there = place is not None or relaxation.nearest(path, existing) not in ("/", path, mount.path)
        if seen.errno in ("EACCES", "ENOENT", "EPERM") and mount.mode in HIDING and there:
            yield _hidden(mount.directive, path, unit, item=mount.path)
            return
    if path.startswith("/proc/") and seen.errno in ("ENOENT", "EPERM", "EACCES"):
        yield from _of_proc(path, unit, places)
    if seen.errno == "EPERM" and path.startswith("/dev/") and place is not None and _closed(path, unit):
        yield Cause.of("DevicePolicy", unit, relaxation.device(path, unit, private=False), f"it does not allow {path}")
    runs = place is not None and place.mode & 0o111 and not place.is_directory
    if seen.errno in ("EACCES", "EPERM") and runs and not unit.executable(path):
        yield Cause.of("NoExecPaths", unit, relaxation.run(path, unit), f"{path} may not be executed under it")


def _hidden(directive: str, path: str, unit: Denials, *, item: str) -> Cause:
    if directive == "PrivateDevices":
        return Cause.of(directive, unit, relaxation.device(path, unit, private=True), f"{path} is not in its /dev")
    lines = relaxation.open_path(directive, path, unit, writes=False)
    return Cause.of(directive, unit, lines, f"{path} is there, and hidden under it", item=item)


def _of_proc(path: str, unit: Denials, places: Mapping[str, Place]) -> Iterator[Cause]:
    first = path.split("/")[2]
    if first.isdigit() and unit.value("ProtectProc") not in NO:
        yield Cause.of("ProtectProc", unit, ["ProtectProc=default"], "it hides processes of other users")
    elif (
        not first.isdigit()
        and first not in ("self", "thread-self")
        and unit.value("ProcSubset") == "pid"
        and path in places
    ):
        yield Cause.of("ProcSubset", unit, ["ProcSubset=all"], f"it leaves {path} out")


def _closed(path: str, unit: Denials) -> bool:
    allowed = unit.value("DeviceAllow")
    return unit.value("DevicePolicy") in ("closed", "strict") and path not in allowed


def _of_network(seen: Trace, unit: Denials) -> Iterator[Cause]:
    if seen.errno == "EAFNOSUPPORT" and unit.is_set("RestrictAddressFamilies"):
        families = {FAMILIES[word] for word in seen.words if word in FAMILIES}
        families |= {f"AF_{word[3:].upper()}" for word in seen.words if word.startswith("af_")}
        if any(":" in address for address in seen.addresses) or "[::" in seen.text:
            families.add("AF_INET6")
        denied = sorted(family for family in families if unit.denies_family(family))
        if denied or not families:
            lines = [f"RestrictAddressFamilies={' '.join(denied)}"] if denied else []
            yield Cause.of("RestrictAddressFamilies", unit, lines, "it refuses sockets of a family with this errno")
    elif seen.errno in ("EPERM", "ETIMEDOUT", "EACCES"):
        # A wildcard is what is bound to, and no packet's peer.
        peers = [address for address in seen.addresses if not ipaddress.ip_address(address).is_unspecified]
        denied = [address for address in peers if unit.denies_address(address)]
        if seen.errno == "EPERM" and "bind" in seen.words and unit.value("SocketBindDeny") not in NO:
            yield from _of_bind(seen, unit)
        elif denied and seen.errno != "EACCES":
            yield Cause.of("IPAddressDeny", unit, [f"IPAddressAllow={denied[-1]}"], f"it blocks {denied[-1]}")
        elif "bind" in seen.words or "listen" in seen.words:
            yield from _of_bind(seen, unit)
    if seen.errno in ("ENETUNREACH", "EADDRNOTAVAIL") and unit.is_set("PrivateNetwork"):
        yield Cause.of("PrivateNetwork", unit, ["PrivateNetwork=no"], "there is no network but its own loopback")
    if seen.words & {"socket", "raw"} and seen.errno == "EPERM":
        yield from of_capability("CAP_NET_RAW", seen, unit)


def _of_bind(seen: Trace, unit: Denials) -> Iterator[Cause]:
    if seen.errno == "EPERM" and unit.value("SocketBindDeny") not in NO:
        yield Cause.of("SocketBindDeny", unit, ["SocketBindAllow=any"], "it refuses to bind with this errno")
    elif seen.errno == "EACCES":
        yield from of_capability("CAP_NET_BIND_SERVICE", seen, unit)


def _of_owner(seen: Trace, unit: Denials, places: Mapping[str, Place]) -> Iterator[Cause]:
    """A file that root may open only by its capability to pass over permissions."""
    for path in seen.paths:
        place = places.get(path)
        if place is None or not unit.is_root or seen.errno != "EACCES":
            continue
        others = place.mode & 0o7
        by_mode = others & 0o6 != 0o6 if place.uid != 0 else place.mode & 0o600 != 0o600
        if by_mode and (name := unit.lacks("CAP_DAC_OVERRIDE")):
            yield Cause.of(
                name, unit, ["CapabilityBoundingSet=CAP_DAC_OVERRIDE"], f"root may not pass over the mode of {path}"
            )
        elif by_mode and unit.is_set("PrivateUsers"):
            yield Cause.of("PrivateUsers", unit, ["PrivateUsers=no"], f"the owner of {path} is nobody in it")


def _only(names: Iterable[str], unit: Denials) -> Iterator[Cause]:
    """The one of several directives that is set; with more of them the line does not tell which."""
    there = [name for name in names if unit.is_set(name)]
    if len(there) == 1:
        yield Cause.of(there[0], unit, [], "the only line here that makes anything read-only; the log names no path")
