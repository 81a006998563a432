"""What an intruder in the service would have, counted: the exposure score leaves much of it out and can be gamed.

Worked out from the settings and the system call groups of the systemd inside; what other filters take away beside
SystemCallFilter= is not subtracted, so the number of calls is "at most this many".
"""

from collections.abc import Collection
from dataclasses import dataclass

from harness.unit import catalogue, dropin, listed
from harness.unit.catalogue import ALLOW_LIST
from harness.unit.itemset import OTHER, kept_by
from harness.unit.needs import NOTHING, Needs
from harness.unit.start import NotUnderstood, Start
from harness.unit.syscalls import calls_beyond, named
from harness.unit.tightening import Tightening
from harness.unit.unitfile import parse

KNOWN = "@known"
COUNTED = (
    ("capabilities", "CapabilityBoundingSet"),
    ("address families", "RestrictAddressFamilies"),
    ("namespaces it may make", "RestrictNamespaces"),
)


@dataclass(frozen=True)
class Reach:
    """One kind of thing the service can reach: how many, or which, before and after; None where it cannot be told."""

    what: str
    before: str
    after: str


def reach(accepted: Collection[Tightening], start: Start, *, needs: Needs = NOTHING) -> list[Reach]:
    """What the service can reach at the start of the search, and with everything accepted."""
    rows = [_set(what, directive, accepted, start) for what, directive in COUNTED]
    calls = _calls(accepted, start, needs)
    if calls is not None:
        rows.append(calls)
    rows += _rows_of_lines(accepted, start, needs)
    return [row for row in rows if row.before != row.after or row.what == "writable"]


def _set(what: str, name: str, accepted: Collection[Tightening], start: Start) -> Reach:
    directive = catalogue.load()[name]
    try:
        before = kept_by(directive, start.own(directive))
    except NotUnderstood:
        return Reach(what, "?", "?")
    denied = {item for step in accepted if step.directive == name for item in step.items}
    return Reach(what, _count(before.kept), _count(before.without(denied).kept))


def _count(items: Collection[str]) -> str:
    named = [item for item in items if item != OTHER]
    return f"{len(named)} and all others" if OTHER in items else str(len(named))


def _calls(accepted: Collection[Tightening], start: Start, needs: Needs) -> Reach | None:
    known = start.group(KNOWN)
    if not known:
        return None
    steps = [step for step in accepted if step.directive == "SystemCallFilter"]
    allowed = start.group(ALLOW_LIST) | calls_beyond(start, needs) if any(step.rung for step in steps) else known
    denied = {named(item) for step in steps for item in step.items}
    gone = {call for item in denied for call in (start.group(item) or {item})}
    return Reach("system calls", str(len(known)), str(len(allowed - gone)))


def _executable(accepted: Collection[Tightening], needs: Needs) -> str:
    """Where programs can be run from: what is excepted, and mounts that NoExecPaths=/ does not reach."""
    shut = {listed.plain(item) for step in accepted if step.directive == "NoExecPaths" for item in step.items}
    if not shut:
        return "/"
    denied = {item for step in accepted if step.directive == "ExecPaths" for item in step.items}
    left = [*listed.still_executable(denied, needs), *(path for path in needs.apart if path not in shut)]
    return " ".join(left) or "nothing"


def _rows_of_lines(accepted: Collection[Tightening], start: Start, needs: Needs) -> list[Reach]:
    """What the lines of the drop-in leave open, by name."""
    unit = parse(dropin.render(accepted, start, needs=needs))
    rungs = {(step.directive, step.rung) for step in accepted}

    def values(key: str) -> list[str]:
        return [value.strip('"').removeprefix("-") for value in unit.values("Service", key) if value]

    def left(key: str, none: str) -> str:
        return " ".join(values(key)) or none

    known = catalogue.load()
    own = [word.lstrip("-+") for value in start.own(known["ReadWritePaths"]) for word in value.split()]
    before = next(iter(start.own(known["ProtectSystem"])[-1:]), "")
    after = next((rung for rung in ("strict", "full") if ("ProtectSystem", rung) in rungs), before)
    addresses = left("IPAddressAllow", "none") if unit.values("Service", "IPAddressDeny") else "any"
    if ("PrivateNetwork", "yes") in rungs:
        addresses = "none"
    ports = left("SocketBindAllow", "none") if unit.values("Service", "SocketBindDeny") else "any"
    closed = {("PrivateDevices", "yes"), ("DevicePolicy", "closed"), ("DevicePolicy", "strict")} & rungs
    processes = "its own" if ("PrivatePIDs", "yes") in rungs else "all"
    if processes == "all" and {("ProtectProc", "invisible"), ("ProtectProc", "noaccess")} & rungs:
        # Of root, which is in group 0: proc(5), gid=.
        processes = "those of its user" if start.has_user else "all"
    hidden = [*unit.values("Service", "InaccessiblePaths"), *unit.values("Service", "TemporaryFileSystem")]
    return [
        Reach("addresses", "any", addresses),
        Reach("ports to bind", "any", ports),
        Reach("devices", "any", left("DeviceAllow", "null, zero, random and the like") if closed else "any"),
        Reach("processes it sees", "all", processes),
        Reach("executable", "/", _executable(accepted, needs)),
        Reach("places hidden", "0", str(len(hidden))),
        Reach("writable", _writable(before, own), _writable(after, [*own, *values("ReadWritePaths")])),
    ]


def _writable(system: str, excepted: Collection[str]) -> str:
    """What a value of ProtectSystem= leaves writable beside `excepted`."""
    if system == "strict":
        return " ".join(dict.fromkeys(excepted)) or "only what systemd makes for it"
    return "/var and the like" if system == "full" else "/"
