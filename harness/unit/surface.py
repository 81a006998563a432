"""What an intruder in the service would have, counted: the exposure score leaves much of it out and can be gamed.

Worked out from the settings and the system call groups of the systemd inside; what other filters take away beside
SystemCallFilter= is not subtracted, so the number of calls is "at most this many".
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.unit import catalogue
from harness.unit.catalogue import ALLOW_LIST
from harness.unit.itemset import OTHER, kept_by
from harness.unit.start import NotUnderstood, Start
from harness.unit.tightening import Tightening

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


def reach(
    accepted: Collection[Tightening], start: Start, *, writable: Sequence[str] = (), networks: Sequence[str] = ()
) -> list[Reach]:
    """What the service can reach at the start of the search, and with everything accepted."""
    rows = [_set(what, directive, accepted, start) for what, directive in COUNTED]
    calls = _calls(accepted, start)
    if calls is not None:
        rows.append(calls)
    rows.append(_peers(accepted, networks))
    rows.append(_writable(accepted, writable))
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


def _calls(accepted: Collection[Tightening], start: Start) -> Reach | None:
    known = start.group(KNOWN)
    if not known:
        return None
    steps = [step for step in accepted if step.directive == "SystemCallFilter"]
    allowed = start.group(ALLOW_LIST) if any(step.rung for step in steps) else known
    denied = {item for step in steps for item in step.items}
    gone = {call for item in denied for call in (start.group(item) or {item})}
    return Reach("system calls", str(len(known)), str(len(allowed - gone)))


def _peers(accepted: Collection[Tightening], networks: Sequence[str]) -> Reach:
    directive = catalogue.load()["IPAddressDeny"]
    rungs = [directive.rung(step.rung) for step in accepted if step.directive == "IPAddressDeny"]
    if any(step.directive == "PrivateNetwork" for step in accepted):
        return Reach("addresses", "any", "none")
    if not rungs:
        return Reach("addresses", "any", "any")
    top = max(rungs, key=directive.rungs.index)
    return Reach("addresses", "any", " ".join([top.allow, *(networks if top.networks else ())]).strip() or "none")


def _writable(accepted: Collection[Tightening], writable: Sequence[str]) -> Reach:
    rungs = {step.rung for step in accepted if step.directive == "ProtectSystem"}
    if "strict" in rungs:
        return Reach("writable", "/", " ".join(writable) or "only what systemd makes for it")
    return Reach("writable", "/", "/var and the like" if "full" in rungs else "/")
