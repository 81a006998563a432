"""The steps a search may take from a start: which, in what order, for how many points and at what risk."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import UnitError
from harness.unit import listed
from harness.unit.capability import TAKEN_BY
from harness.unit.catalogue import Bundle, Catalogue, Directive, Kind, load
from harness.unit.itemset import OTHER, kept_by
from harness.unit.needs import NOTHING, Needs
from harness.unit.start import NotUnderstood, Start, StartKind, allowed, standing
from harness.unit.syscalls import answered, cut_out, own_filter, untried_groups

__all__ = ["LeftOut", "Offer", "Start", "StartKind", "Tightening", "left_out", "offers"]

_RUNG_LABEL = re.compile(r"(\w+)=(.+)")
_ITEMS_LABEL = re.compile(r"(\w+)((?: -\S+)+)")
# systemd.exec(5), NoNewPrivileges=: implied by every filter of a unit without CAP_SYS_ADMIN, up to this version; later
# ones keep the capability until the filters are installed.
LAST_IMPLYING = 254
IN_USE = 0.9
# The service hears the same answer as before.
REFUSED_ANYWAY = 0.02


@dataclass(frozen=True, order=True)
class Tightening:
    """One step the search may take: climb to a rung, or deny the items of one bundle."""

    directive: str
    rung: str = ""
    items: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        """`ProtectSystem=strict`, or `CapabilityBoundingSet -CAP_CHOWN -CAP_FOWNER`; `from_label` reads it back."""
        if self.rung:
            return f"{self.directive}={self.rung}"
        return " ".join([self.directive, *(f"-{item}" for item in self.items)])

    @property
    def told(self) -> str:
        """The same for people: `-/x` means "if it is there" to systemd, and not that it is denied."""
        return self.label if self.rung else f"{self.directive} denying {' '.join(self.items)}"

    @classmethod
    def from_label(cls, label: str) -> "Tightening":
        """The tightening of that label. Raises `UnitError`."""
        if climbed := _RUNG_LABEL.fullmatch(label):
            return cls(climbed[1], rung=climbed[2])
        if denied := _ITEMS_LABEL.fullmatch(label):
            return cls(denied[1], items=tuple(item.removeprefix("-") for item in denied[2].split()))
        raise UnitError(f"{label!r} is not a tightening", hint="write ProtectSystem=strict or a list of -ITEM")

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `from_json` takes."""
        return {"directive": self.directive} | ({"rung": self.rung} if self.rung else {"items": list(self.items)})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Tightening":
        """The tightening that `to_json` wrote down."""
        return cls(data["directive"], data.get("rung", ""), tuple(data.get("items", ())))


@dataclass(frozen=True)
class Offer:
    """A tightening with what the search needs to know of it.

    `requires` holds every tightening to be accepted before, however indirectly; `weight` the points (of about 56000)
    that the step takes off the sum behind `systemd-analyze security`; `risk` the prior chance, 0 to 1, that the
    service fails on this step when it works without.
    """

    tightening: Tightening
    requires: frozenset[Tightening]
    weight: int
    risk: float


@dataclass(frozen=True)
class LeftOut:
    """A directive, or one rung of it, that is not offered, and why."""

    directive: str
    reason: str


def offers(catalogue: Catalogue, *, version: int, start: Start, needs: Needs = NOTHING) -> tuple[Offer, ...]:
    """Every step from the start that this systemd knows, in catalogue order, each after what it requires."""
    found: list[Offer] = []
    for directive in catalogue:
        if not _why_not(directive, version, start, needs):
            try:
                found += _steps(directive, version, start, needs)
            except NotUnderstood:
                continue
    return _with_implied(found, catalogue, version=version, start=start)


def _with_implied(found: Collection[Offer], catalogue: Catalogue, *, version: int, start: Start) -> tuple[Offer, ...]:
    """The offers, each also after the step that its directive brings with it.

    What does not live with that one lives with none of them: one refusal then speaks for all.
    """
    there = {offer.tightening for offer in found}
    # An exception is worth a trial only where the search may restrict what it is an exception from.
    while lacking := [offer for offer in found if not offer.requires <= there]:
        found = [offer for offer in found if offer not in lacking]
        there = {offer.tightening for offer in found}
    filters, mounts = Tightening("NoNewPrivileges", "yes"), Tightening("PrivateMounts", "yes")
    by_filters = (
        start.has_user and version <= LAST_IMPLYING and "CAP_SYS_ADMIN" not in start.last("AmbientCapabilities").upper()
    )

    def brought(offer: Offer) -> set[Tightening]:
        needs = catalogue[offer.tightening.directive].needs
        implied = {filters} if by_filters and "seccomp" in needs else set()
        implied |= {mounts} if "mount namespace" in needs else set()
        return (implied & there) - {offer.tightening}

    return tuple(replace(offer, requires=offer.requires | brought(offer)) for offer in found)


def left_out(catalogue: Catalogue, *, version: int, start: Start, needs: Needs = NOTHING) -> tuple[LeftOut, ...]:
    """What `offers` does not offer: whole directives, then single rungs (their value stands before the reason)."""
    found: list[LeftOut] = []
    for directive in catalogue:
        reason = _why_not(directive, version, start, needs)
        try:
            if not reason and not list(_steps(directive, version, start, needs)):
                reason = _why_nothing(directive, needs)
        except NotUnderstood as unclear:
            reason = unclear.message
        if reason:
            found.append(LeftOut(directive.name, reason))
        else:
            found += _rungs_left_out(directive, version, start)
    return tuple(found)


def _why_nothing(directive: Directive, needs: Needs) -> str:
    """Why a directive that may be offered has nothing to offer."""
    if directive.kind in {Kind.PATHS, Kind.LIST}:
        return "nothing of it is open"
    if needs.outward and any(rung.only_local for rung in directive.rungs):
        return "it listens to others, and no machine has their interface"
    return "already as tight as the search goes"


def _why_not(directive: Directive, version: int, start: Start, needs: Needs) -> str:
    """Why a directive is not offered at all, "" when it may be."""
    if not directive.searched:
        return directive.why_not
    if start.leaves_alone(directive):
        return "left alone as asked"
    if directive.version > version:
        return f"needs systemd {directive.version}"
    if directive.only_with_user and not start.has_user:
        return "applies only to services with a user other than root"
    for key, values in directive.never_when.items():
        if start.last(key) in values:
            return f"not possible with {key}={start.last(key)}"
    if taken := sorted(set(needs.asked).intersection(TAKEN_BY.get(directive.name, ()))):
        return f"the unit asks for {' '.join(taken)}, which no machine has: nothing can be tried"
    return ""


def _steps(directive: Directive, version: int, start: Start, needs: Needs) -> Iterator[Offer]:
    if directive.kind in {Kind.PATHS, Kind.LIST}:
        return _members(directive, start, needs)
    if directive.kind is Kind.SET:
        found = _denials(directive, start, needs)
        return _after_ambient(found, start) if directive.name == "CapabilityBoundingSet" else found
    if directive.kind is Kind.SYSCALLS:
        return _filters(directive, start, needs)
    return _climbs(directive, version, start, needs)


def _members(directive: Directive, start: Start, needs: Needs) -> Iterator[Offer]:
    for item in listed.members(directive, start, needs):
        rests = frozenset(map(Tightening.from_label, listed.rests_on(directive, item, start, needs)))
        yield Offer(Tightening(directive.name, items=(item,)), rests, 0, directive.item_risk)


def _climbs(directive: Directive, version: int, start: Start, needs: Needs) -> Iterator[Offer]:
    below, above = standing(directive, start)
    climbed: list[Tightening] = []
    for rung in above:
        without_peers = rung.only_with_peers and not (needs.peers or needs.networks)
        keeps_out = rung.only_local and needs.outward
        if rung.why_not or rung.version > version or without_peers or keeps_out:
            continue
        step = Tightening(directive.name, rung.value)
        gained = max(0, rung.points - below.points)
        yield Offer(step, frozenset(climbed), gained, _step_risk(below.risk, rung.risk))
        climbed.append(step)
        below = rung


def _rungs_left_out(directive: Directive, version: int, start: Start) -> Iterator[LeftOut]:
    if not directive.rungs or directive.kind is Kind.SYSCALLS:
        return
    for rung in standing(directive, start)[1]:
        if rung.version > version:
            yield LeftOut(directive.name, f"{rung.value}: needs systemd {rung.version}")
        elif rung.why_not:
            yield LeftOut(directive.name, f"{rung.value}: {rung.why_not}")


def _step_risk(below: float, here: float) -> float:
    """Chance to break on the upper rung, given that the lower one works."""
    return round(max(0.0, 1 - (1 - here) / (1 - below)), 4)


def _after_ambient(found: Iterable[Offer], start: Start) -> Iterator[Offer]:
    """A capability that the unit is given can be taken from the bounding set only once it is given no more (218)."""
    ambient = load()["AmbientCapabilities"]
    lines = () if start.leaves_alone(ambient) else start.lines(ambient.name)
    given = {item.upper(): item for item in allowed(lines)}  # systemd takes both spellings
    for offer in found:
        both = [given[item] for item in offer.tightening.items if item in given]
        steps = {Tightening("AmbientCapabilities", items=(item,)) for item in both}
        yield replace(offer, requires=offer.requires | steps)


def _denials(directive: Directive, start: Start, needs: Needs) -> Iterator[Offer]:
    kept = kept_by(directive, start.own(directive)).kept - set(needs.asked)
    for bundle in directive.bundles:
        if OTHER in bundle.items:
            # In an allow-list of the unit's own, "every other" is what it names outside the universe.
            items = tuple(sorted(kept - (set(directive.universe) - {OTHER})))
        else:
            items = tuple(item for item in bundle.items if item in kept)
        if OTHER in bundle.items and items:
            yield Offer(Tightening(directive.name, items=items), frozenset(), bundle.points, bundle.risk)
        else:
            yield from _singly(directive, bundle, items, frozenset())


def _singly(
    directive: Directive, bundle: Bundle, items: Iterable[str], requires: frozenset[Tightening]
) -> Iterator[Offer]:
    """Each item of a bundle by itself, with its share of the bundle's points and risk.

    Those that are never missed are accepted together anyway; one that is needed is found by halving.
    """
    share = len(bundle.items) if bundle.items[0][0] != "@" else max(1, len(tuple(items)))
    risk = round(1 - (1 - bundle.risk) ** (1 / share), 4)
    for item in items:
        yield Offer(Tightening(directive.name, items=(item,)), requires, round(bundle.points / share), risk)


def _filters(directive: Directive, start: Start, needs: Needs) -> Iterator[Offer]:
    """The steps of a filter; a call that the kernel refuses anyway can be answered with an error before it kills.

    A unit's own filter may be what refused it: beside one, no error is offered.
    """
    closable = {*needs.calls}.union(*(start.group(bundle.items[0]) for bundle in directive.bundles))
    refused = closable.intersection(needs.refused) if not own_filter(start.own(directive)).lines else ()
    errors = {call: Tightening(directive.name, items=(answered(call),)) for call in sorted(refused)}
    for step in errors.values():
        yield Offer(step, frozenset(), 0, REFUSED_ANYWAY)
    for offer in _kills(directive, start, needs, errors):
        calls = {*offer.tightening.items}.union(*(start.group(item) for item in offer.tightening.items))
        yield replace(offer, requires=offer.requires | {step for call, step in errors.items() if call in calls})


def _kills(directive: Directive, start: Start, needs: Needs, errors: Mapping[str, Tightening]) -> Iterator[Offer]:
    """Deny-lists first; the allow-list over all of them; then what is cut out of the allow-list.

    A call in use that the allow-list lacks is allowed beside it, and denied by a step of its own before the group it is
    in, so that the allow-list can be had without that group.
    """
    own = own_filter(start.own(directive))
    allow = directive.rungs[-1]
    untried = untried_groups(needs)
    open_ones = [
        b for b in directive.bundles if own.can_deny(b, allow.value, start.group) and b.items[0] not in untried
    ]
    beyond = {} if own.allow_list else {call: Tightening(directive.name, items=(call,)) for call in needs.calls}
    for step in beyond.values():
        yield Offer(step, frozenset(), 0, IN_USE)
    below: frozenset[Tightening] = frozenset()
    for bundle in open_ones:
        if not bundle.after_allow:
            group = start.group(bundle.items[0])
            inside = frozenset(errors.get(call, step) for call, step in beyond.items() if call in group)
            offer = _denial(directive, bundle, inside)
            below |= frozenset() if inside else {offer.tightening}
            yield offer
    required: frozenset[Tightening] = frozenset()
    if not own.allow_list:
        step = Tightening(directive.name, allow.value)
        yield Offer(step, below, allow.points, allow.risk)
        required = below | {step}
    offered: set[str] = set()
    for bundle in open_ones:
        if not bundle.after_allow:
            continue
        calls = [call for call in cut_out(start, bundle.items[0], allow.value) if call not in offered]
        offered.update(calls)
        if bundle.whole or not calls:
            yield _denial(directive, bundle, required)
        else:
            yield from _singly(directive, bundle, calls, required)


def _denial(directive: Directive, bundle: Bundle, requires: frozenset[Tightening]) -> Offer:
    return Offer(Tightening(directive.name, items=bundle.items), requires, bundle.points, bundle.risk)
