"""Where a search starts: the unit as shipped, or stripped of its sandboxing, and what its own settings amount to."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from harness.errors import UnitError
from harness.unit.catalogue import Directive, Kind, Rung, load
from harness.unit.unitfile import UnitFile

# parse_boolean() of systemd, which compares without regard to case.
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\S)+""")
TRUE = frozenset({"1", "yes", "y", "true", "t", "on"})
FALSE = frozenset({"0", "no", "n", "false", "f", "off"})
_EVERY_ADDRESS = (frozenset({"any"}), frozenset({"0.0.0.0/0", "::/0"}))
_LOCALHOST = (frozenset({"localhost"}), frozenset({"127.0.0.0/8", "::1/128"}), frozenset({"127.0.0.0/8", "::1"}))


class StartKind(Enum):
    """Which unit the search starts from."""

    SHIPPED = "shipped"
    STRIPPED = "stripped"


class NotUnderstood(UnitError):
    """A setting of the unit itself that cannot be placed on the ladder or in the set: it is left alone."""


@dataclass(frozen=True)
class Start:
    """The starting point, and the shipped unit's own lines for every directive of the catalogue that it sets.

    `settings` holds (directive name, raw values in order); a stripped start holds them too, because a drop-in has to
    undo them when it is put on the shipped unit. Directives named in `leave_alone` are neither stripped nor searched.
    `groups` are the system call groups of the systemd inside, each with all its calls. `run_as` are assignments that
    give a service of root another user; every drop-in says them.
    """

    kind: StartKind
    settings: tuple[tuple[str, tuple[str, ...]], ...] = ()
    leave_alone: tuple[str, ...] = ()
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    run_as: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        unit: UnitFile,
        kind: StartKind,
        *,
        leave_alone: Collection[str] = (),
        groups: Mapping[str, Collection[str]] | None = None,
    ) -> "Start":
        """Take the settings out of a shipped unit. Raises `UnitError` when it has no [Service] section."""
        if "Service" not in unit.sections():
            raise UnitError("the unit has no [Service] section", hint="only services are searched")
        keys = {d.name: d.keys for d in load()} | {key: (key,) for d in load() for key in d.never_when}
        found = ((name, unit.lines("Service", *names)) for name, names in keys.items())
        settings = tuple((name, lines) for name, lines in found if lines)
        calls = tuple((name, tuple(sorted(members))) for name, members in sorted((groups or {}).items()))
        return cls(kind, settings, tuple(sorted(leave_alone)), calls)

    def group(self, name: str) -> frozenset[str]:
        """Calls of a system call group such as `@resources`, of the systemd inside; empty when that is not known."""
        return frozenset(dict(self.groups).get(name, ()))

    def lines(self, name: str) -> tuple[str, ...]:
        """The shipped unit's own values for a directive, raw and in order."""
        return dict(self.settings).get(name, ())

    def own(self, directive: Directive) -> tuple[str, ...]:
        """The values in force where the search starts: none for what stripping takes away."""
        return () if self.strips(directive) else self.lines(directive.name)

    def strips(self, directive: Directive) -> bool:
        """Whether the search starts without what the unit says of this directive."""
        stripped = self.kind is StartKind.STRIPPED and directive.stripped
        return stripped and not self.leaves_alone(directive) and not self._is_looser(directive)

    def _is_looser(self, directive: Directive) -> bool:
        """Whether the unit has a mask that takes less than the default: without it files would be closed to some."""
        own = self.last(directive.name) if directive.kind is Kind.MASK else ""
        try:
            return bool(own) and int(directive.default, 8) & ~int(own, 8) != 0
        except ValueError:
            return False

    def leaves_alone(self, directive: Directive) -> bool:
        """Whether the directive stays as the unit has it, from either start."""
        return not set(directive.keys).isdisjoint(self.leave_alone)

    def stripped_names(self) -> frozenset[str]:
        """Names and aliases to take out of the unit (`strip_sandboxing`) for this start; none when shipped."""
        return frozenset(key for directive in load() if self.strips(directive) for key in directive.keys)

    def last(self, name: str) -> str:
        """The last value of the shipped unit that is not empty, "" when there is none."""
        return next((value for value in reversed(self.lines(name)) if value), "")

    @property
    def dynamic_user(self) -> bool:
        """Whether DynamicUser= is on, which forces some confinement by itself."""
        return self.last("DynamicUser").lower() in TRUE or ("DynamicUser", "yes") in self.run_as

    @property
    def has_user(self) -> bool:
        """Whether the service runs as another user than root."""
        return self.dynamic_user or bool(self.run_as) or self.lines("User")[-1:] not in ((), ("",), ("root",), ("0",))

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `from_json` takes."""
        return {
            "kind": self.kind.value,
            "settings": {name: list(lines) for name, lines in self.settings},
            "leave_alone": list(self.leave_alone),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Start":
        """The start that `to_json` wrote down."""
        settings = tuple((name, tuple(lines)) for name, lines in data["settings"].items())
        return cls(StartKind(data["kind"]), settings, tuple(data["leave_alone"]))


def standing(directive: Directive, start: Start) -> tuple[Rung, tuple[Rung, ...]]:
    """The rung a ladder starts on, and the rungs above it. Raises `NotUnderstood`.

    A mask between two rungs (0007) stands on the lower one; above it are the rungs that hold every bit of it.
    """
    rungs = directive.rungs
    if directive.kind is Kind.MASK:
        here, above = _on_masks(directive, _last(directive, start))
    else:
        reached = _on_addresses(start, directive) if directive.kind is Kind.ADDRESSES else _value(directive, start)
        values = [rung.value for rung in rungs]
        if reached not in values:
            raise NotUnderstood(f"the unit's own {directive.name}={reached} is not on the ladder")
        place = values.index(reached)
        here, above = rungs[place], rungs[place + 1 :]
    if start.dynamic_user and directive.dynamic_user:
        forced = directive.rung(directive.dynamic_user)
        if forced in above:
            here, above = forced, above[above.index(forced) + 1 :]
    return here, above


def _last(directive: Directive, start: Start) -> str:
    return next((value for value in reversed(start.own(directive)) if value), directive.default)


def _value(directive: Directive, start: Start) -> str:
    """The value in force, in the spelling of the ladder."""
    own = start.own(directive)
    if directive.default == "" and own and own[-1] == "":
        return ""  # a list that was reset last
    value = _last(directive, start)
    names = {rung.value for rung in directive.rungs}
    if value.lower() in TRUE and "yes" in names:
        return "yes"
    return "no" if value.lower() in FALSE and "no" in names else value


def _on_masks(directive: Directive, text: str) -> tuple[Rung, tuple[Rung, ...]]:
    try:
        own = int(text, 8)
    except ValueError:
        raise NotUnderstood(f"the unit's own {directive.name}={text} is not an octal mask") from None
    masks = [(rung, int(rung.value, 8)) for rung in directive.rungs]
    below = [rung for rung, mask in masks if mask & own == mask]
    return below[-1], tuple(rung for rung, mask in masks if mask & own == own and mask != own)


def _on_addresses(start: Start, directive: Directive) -> str:
    denied = frozenset(words(start.own(directive)))
    if not denied:
        return ""
    allowed = frozenset(words(start.own(load()["IPAddressAllow"])))
    if not any(every <= denied for every in _EVERY_ADDRESS):
        raise NotUnderstood("the unit denies addresses of its own choice")
    if not allowed:
        return "any"
    if allowed in _LOCALHOST:
        return "any but localhost"
    raise NotUnderstood("the unit allows addresses of its own choice")


def allowed(lines: Iterable[str]) -> tuple[str, ...]:
    """The words of a list that names what is allowed; none of one that names what is denied."""
    kept = words(lines)
    return () if any(word.startswith("~") for word in kept) else kept


def words(lines: Iterable[str]) -> tuple[str, ...]:
    """The words of a list's lines since its last reset, with their quotes: blanks in those part nothing."""
    kept: list[str] = []
    for line in lines:
        kept = [*kept, *_WORD.findall(line)] if line else []
    return tuple(kept)
