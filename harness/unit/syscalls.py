"""SystemCallFilter=: what a unit's own lines are, which groups can still be denied, and how a filter is written.

systemd.exec(5): the first line decides between an allow-list and a deny-list; in an allow-list, later lines with `~`
take calls out again, in order. An allow-list of the unit itself is kept word for word, and only denied from.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from harness.unit.capability import CALLS_OF
from harness.unit.catalogue import Bundle, Directive
from harness.unit.needs import Needs
from harness.unit.start import NotUnderstood, Start

# What a refused call is answered with instead of ending the process.
ERROR = ":EPERM"
# Allowing one of these allows every group that a bundle may deny: all of them, or the two cut out of it.
_ALL_CALLS = "@known"


@dataclass(frozen=True)
class OwnFilter:
    """A unit's own filter: its lines since the last reset, and the groups and calls they allow and deny."""

    lines: tuple[str, ...] = ()
    allowed: frozenset[str] = frozenset()
    denied: tuple[str, ...] = ()

    @property
    def allow_list(self) -> bool:
        """Whether everything is denied that is not allowed."""
        return bool(self.allowed)

    def can_deny(self, bundle: Bundle, allow: str, calls_of: Callable[[str], frozenset[str]] | None = None) -> bool:
        """Whether the bundle takes anything away; `allow` is the allow-list of the catalogue.

        `calls_of` gives the calls of a group: @privileged holds those of @clock, @raw-io and others.
        """
        group = bundle.items[0]
        if group in {token.partition(":")[0] for token in self.denied}:
            return False
        if not self.allow_list:
            return True
        sources = {group, _ALL_CALLS} | ({allow} if bundle.after_allow else set())
        if calls_of is not None and not bundle.after_allow:
            let = _calls(self.allowed, calls_of) - _calls(self.denied, calls_of)
            if not calls_of(group).isdisjoint(let):
                return True
        return not sources.isdisjoint(self.allowed)


def _calls(tokens: Iterable[str], calls_of: Callable[[str], frozenset[str]]) -> set[str]:
    names = [token.partition(":")[0] for token in tokens]
    return {call for name in names for call in (calls_of(name) or {name})}


def answered(call: str) -> str:
    """The item that stands for answering `call` with an error: as a filter writes it."""
    return call + ERROR


def named(item: str) -> str:
    """The call or group that an item is about."""
    return item.removesuffix(ERROR)


def own_filter(lines: Collection[str]) -> OwnFilter:
    """Read the unit's own lines. Raises `NotUnderstood` when a deny-list is opened again by a later line."""
    kept: list[str] = []
    for line in lines:
        kept = [*kept, line] if line else []
    allowed: list[str] = []
    denied: list[str] = []
    for line in kept:
        (denied if line.startswith("~") else allowed).extend(line.removeprefix("~").split())
    if allowed and kept[0].startswith("~"):
        raise NotUnderstood("the unit's own SystemCallFilter= denies first and allows again")
    return OwnFilter(tuple(kept), frozenset(allowed), tuple(denied))


def cut_out(start: Start, group: str, allow: str) -> tuple[str, ...]:
    """Calls of `group` that the allow-list `allow` lets through, sorted; empty when the groups are not known."""
    return tuple(sorted(start.group(group) & start.group(allow)))


def untried_groups(needs: Needs) -> set[str]:
    """Groups of the calls that belong to capabilities which cannot be tried."""
    return {CALLS_OF[capability] for capability in needs.asked if capability in CALLS_OF}


def calls_beyond(start: Start, needs: Needs) -> set[str]:
    """Calls to be allowed beside an allow-list: those in use, and those that cannot be tried."""
    return {*needs.calls}.union(*map(start.group, untried_groups(needs)))


def filter_lines(
    directive: Directive, start: Start, *, allow: str, denied: Collection[str], beyond: Collection[str] = ()
) -> tuple[str, ...]:
    """Values, in order, that set this filter whatever was set before.

    `allow` is the allow-list accepted, "" for none; the groups denied before it are then left out, because they have
    no call in common with it. `beyond` are calls to be allowed beside it. A group whose calls are all denied is
    written by its name. A call may be denied with an error, as `answered` writes it: in an allow-list only a line
    with `~` takes one (systemd 252, seccomp_parse_syscall_filter()). It stands after the groups, so that it holds
    beside them.
    """
    denied = {item for item in denied if item == named(item) or named(item) not in denied}
    own = own_filter(start.own(directive))
    first = [item for b in directive.bundles if not b.after_allow for item in b.items]
    if not allow:
        return ("", *own.lines, *_deny([item for item in first if item in denied]), *_cut(directive, start, denied))
    others = [token for token in own.denied if token not in first]
    spared = sorted(set(beyond) - set(map(named, denied)))
    return ("", " ".join([allow, *spared]), *_deny(others), *_cut(directive, start, set(denied) - set(beyond), spared))


def _cut(directive: Directive, start: Start, denied: Collection[str], spared: Collection[str] = ()) -> tuple[str, ...]:
    """What is cut out of the allow-list; a group by its name, unless that would take a call that is spared."""
    groups_first = {item for b in directive.bundles if not b.after_allow for item in b.items}
    left = set(denied) - groups_first
    left -= {call for group in groups_first & set(denied) for call in start.group(group)}
    groups = []
    for bundle in directive.bundles:
        group = bundle.items[0]
        calls = set(cut_out(start, group, directive.rungs[-1].value))
        whole = group in left or (calls and calls <= set(denied))
        if bundle.after_allow and whole and not start.group(group) & set(spared):
            groups.append(group)
            left -= {group, *calls}
    return _deny([*groups, *sorted(left)])


def _deny(tokens: list[str]) -> tuple[str, ...]:
    return ("~" + " ".join(tokens),) if tokens else ()
