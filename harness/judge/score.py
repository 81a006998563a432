"""A score out of 100 in eight groups, for those who track one figure; systemd's own exposure is the better measure.

The groups follow what a common hardening guide for web services goes through, and their weights are this project's own
choice (docs/check.md). Within a group each directive has its share of the weight; what the kernel was seen not to
enforce counts nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from harness.judge.calls import walk
from harness.judge.settings import Setting, in_effect
from harness.unit.catalogue import Directive, Kind
from harness.unit.itemset import kept_by
from harness.unit.start import NotUnderstood, words
from harness.unit.syscalls import own_filter


@dataclass(frozen=True)
class Group:
    """A group of the score: what it is worth, and how much of that each of its directives."""

    name: str
    shares: Mapping[str, int]

    @property
    def weight(self) -> int:
        """Points in all."""
        return sum(self.shares.values())


GROUPS = (
    Group("network", {"RestrictAddressFamilies": 5, "IPAddressDeny": 10}),
    Group("files", {"ProtectSystem": 8, "ProtectHome": 6, "PrivateTmp": 6}),
    Group("devices", {"PrivateDevices": 10}),
    Group("user", {"User": 8, "NoNewPrivileges": 7}),
    Group("capabilities", {"CapabilityBoundingSet": 10}),
    Group("system calls", {"SystemCallFilter": 10, "SystemCallArchitectures": 2, "RestrictNamespaces": 3}),
    Group("kernel", {
        "MemoryDenyWriteExecute": 2, "LockPersonality": 1, "ProtectKernelTunables": 1, "ProtectKernelModules": 1,
    }),
    Group("limits", {"MemoryMax": 4, "CPUQuota": 2, "TasksMax": 2, "LimitNOFILE": 2}),
)  # fmt: skip
# Another directive that does all that this one does.
INSTEAD = {"IPAddressDeny": "PrivateNetwork", "RestrictAddressFamilies": "PrivateNetwork", "User": "DynamicUser"}

Groups = Mapping[str, frozenset[str]]
LOCALHOST = frozenset({"localhost", "127.0.0.0/8", "127.0.0.1", "::1", "::1/128"})


@dataclass(frozen=True)
class Scored:
    """Points of one group out of its weight."""

    name: str
    points: float
    weight: int


def score(settings: Mapping[str, Setting], held: Mapping[str, float], groups: Groups) -> tuple[Scored, ...]:
    """Points by group. `held` is, by directive, how much of what it says may count: 0 where it is not enforced.

    `groups` are the system call groups of the systemd there; some hold others, as @privileged does @clock.
    """
    found = []
    for group in GROUPS:
        points = sum(weight * _share(settings, held, name, groups) for name, weight in group.shares.items())
        found.append(Scored(group.name, round(points, 1), group.weight))
    return tuple(found)


def total(scored: tuple[Scored, ...]) -> int:
    """The score, 0 to 100."""
    return round(sum(each.points for each in scored))


def _share(settings: Mapping[str, Setting], held: Mapping[str, float], name: str, groups: Groups) -> float:
    """How much of the way to its tightest value a directive has gone, 0 to 1."""
    allowed = words(settings["IPAddressAllow"].values)
    own = tightness(in_effect(settings, name), allowed, groups) * held.get(name, 0.0)
    other = INSTEAD.get(name)
    return max(own, tightness(settings[other]) * held.get(other, 0.0)) if other else own


def tightness(setting: Setting, allowed: Collection[str] = (), groups: Groups | None = None) -> float:
    """How much of the way to its tightest value a directive has gone, by the points of the catalogue, 0 to 1.

    `allowed` are the addresses that IPAddressAllow= lets through again.
    """
    directive = setting.directive
    if not setting.confines:
        return 0.0
    match directive.kind:
        case Kind.SET:
            return _of_set(directive, setting)
        case Kind.SYSCALLS:
            return _of_calls(directive, setting, groups or {})
        case Kind.ADDRESSES:
            return _of_addresses(setting, allowed)
        case Kind.BOOL | Kind.LADDER | Kind.MASK:
            points = {rung.value: rung.points for rung in directive.rungs}
            best = max(points.values(), default=0)
            return points.get(setting.value, 0) / best if best else float(setting.value in points)
        case _:
            return 0.0 if setting.value in {"root", "0", "infinity", "no"} else 1.0


def _of_set(directive: Directive, setting: Setting) -> float:
    try:
        kept = kept_by(directive, setting.values).kept
    except NotUnderstood:
        return 0.0
    whole = sum(bundle.points for bundle in directive.bundles)
    denied = sum(bundle.points for bundle in directive.bundles if kept.isdisjoint(bundle.items))
    return denied / whole if whole else 0.0


def _of_calls(directive: Directive, setting: Setting, groups: Groups) -> float:
    try:
        own = own_filter(setting.values)
    except NotUnderstood:
        return 0.0
    scored = [bundle for bundle in directive.bundles if bundle.points]
    denied = {token.partition(":")[0] for token in own.denied}
    best = sum(bundle.points for bundle in scored)
    walked = walk(setting.values, groups)

    def is_denied(items: tuple[str, ...], after_allow: bool) -> bool:
        if calls := groups.get(items[0]):
            # As systemd counts it: one call of the group that gets through is enough.
            return not (calls & walked.allowed if walked.allowed is not None else calls - walked.denied)
        if own.allow_list and not after_allow and not own.allowed & {"@known", *items}:
            return True
        return bool(denied.intersection(items))

    return sum(bundle.points for bundle in scored if is_denied(bundle.items, bundle.after_allow)) / best


def _of_addresses(setting: Setting, allowed: Collection[str]) -> float:
    """As systemd counts it: all of it, less what localhost or other addresses that are let through cost."""
    denied = set(words(setting.values))
    if "any" not in denied and not {"0.0.0.0/0", "::/0"} <= denied:
        return 0.2 if denied else 0.0
    if not allowed:
        return 1.0
    return 0.8 if set(allowed) <= LOCALHOST else 0.5
