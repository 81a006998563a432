"""The directives the harness knows, as rows: what they are, since when, what they cost and what too tight looks like.

The rows stand in `directives/*.toml`, in the order in which drop-ins are written. Facts come from the manual pages
named in them and from the sources of systemd 252 to 262; points from the table behind `systemd-analyze security`;
risks are estimates, good enough to order a search.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any

from harness.errors import UnitError

ALLOW_LIST = "@system-service"
_FILES = ("privileges", "files", "kernel", "network", "resources")


class Kind(Enum):
    """How a directive is read, climbed and written."""

    BOOL = "bool"
    LADDER = "ladder"
    MASK = "mask"  # a ladder of octal masks, compared bit by bit
    SET = "set"  # items allowed, or denied after ~, merged over several lines
    SYSCALLS = "syscalls"
    ADDRESSES = "addresses"  # IPAddressDeny= and IPAddressAllow= as one ladder
    PATHS = "paths"
    LIST = "list"  # any other list: an empty assignment resets it
    QUANTITY = "quantity"
    NAME = "name"  # a single value that is not climbed


@dataclass(frozen=True)
class Rung:
    """One value of a ladder. `points` and `risk` count from the loosest rung; `why_not` says why it is not searched."""

    value: str
    version: int = 0
    points: int = 0
    risk: float = 0.0
    why_not: str = ""
    allow: str = ""  # addresses let through again (Kind.ADDRESSES)
    networks: bool = False  # whether the scenario's own networks are let through too
    peers: bool = False  # whether single addresses that were talked to are let through too
    only_local: bool = False  # whether it keeps out everybody else, so that it is nothing for what listens to others
    only_with_peers: bool = False  # whether it is the next rung where there are no such addresses and networks


@dataclass(frozen=True)
class Bundle:
    """Items with points and risk in common. `after_allow` ones are cut out of the allow-list on the upper rung; a
    `whole` group of calls is denied as such, any other call by call.
    """

    items: tuple[str, ...]
    points: int = 0
    risk: float = 0.0
    after_allow: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Hints:
    """What a refusal by the directive looks like: names of errno and signals, statuses, calls, path prefixes."""

    errnos: tuple[str, ...] = ()
    exit_statuses: tuple[int, ...] = ()
    signals: tuple[str, ...] = ()
    syscalls: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Directive:
    """One directive of [Service].

    `version` is the first systemd that knows it (187 stands for "older than that"), `effect` what it does for people
    ("keeps it from ..."), `default` the text that says what
    holds without the directive, `dynamic_user` the rung that DynamicUser=yes forces, `why_not` why it is not searched,
    `stripped` whether it is confinement that a stripped unit goes without.
    """

    name: str
    kind: Kind
    version: int
    effect: str
    section: str = "Service"
    manual: str = "systemd.exec(5)"
    aliases: tuple[str, ...] = ()
    rungs: tuple[Rung, ...] = ()
    universe: tuple[str, ...] = ()
    bundles: tuple[Bundle, ...] = ()
    default: str = ""
    deny_all: str = ""
    item_risk: float = 0.0  # of each member, where members are found at the service (unit/listed.py)
    reset: str = ""  # what to write before a deny-list so that nothing earlier counts
    why_not: str = ""
    stripped: bool = True
    dynamic_user: str = ""
    only_with_user: bool = False
    never_when: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    needs: tuple[str, ...] = ()
    too_tight: str = ""
    hints: Hints = Hints()

    @property
    def searched(self) -> bool:
        """Whether the search climbs it."""
        return not self.why_not

    @property
    def keys(self) -> tuple[str, ...]:
        """The name and its older spellings."""
        return (self.name, *self.aliases)

    def rung(self, value: str) -> Rung:
        """The rung of that value. Raises `UnitError` when there is none."""
        for rung in self.rungs:
            if rung.value == value:
                return rung
        raise UnitError(f"{self.name}={value}: no such rung", hint="one of: " + ", ".join(r.value for r in self.rungs))


@dataclass(frozen=True)
class Catalogue:
    """All directives, in the order in which they are written."""

    directives: tuple[Directive, ...]

    def __iter__(self) -> Iterator[Directive]:
        return iter(self.directives)

    def get(self, key: str) -> Directive | None:
        """The directive of that name or alias, None when it is not known here."""
        return next((d for d in self.directives if key in d.keys), None)

    def __getitem__(self, key: str) -> Directive:
        directive = self.get(key)
        if directive is None:
            raise UnitError(f"{key}: not a directive known here", hint="see harness/unit/directives/")
        return directive

    def stripped_names(self) -> frozenset[str]:
        """Names and aliases of what a stripped unit goes without."""
        return frozenset(key for d in self.directives if d.stripped for key in d.keys)


@cache
def load() -> Catalogue:
    """The catalogue shipped with the package."""
    folder = files("harness.unit") / "directives"
    texts = [(folder / f"{name}.toml").read_text(encoding="utf-8") for name in _FILES]
    return Catalogue(tuple(_directive(row) for text in texts for row in tomllib.loads(text)["directive"]))


def _directive(row: dict[str, Any]) -> Directive:
    kind = Kind(row.pop("kind"))
    rungs = tuple(Rung(**rung) for rung in row.pop("rungs", ()))
    if kind is Kind.BOOL:
        rungs = (Rung("no"), Rung("yes", points=row.pop("points", 0), risk=row.pop("risk")))
    row.setdefault("default", rungs[0].value if rungs else "")
    return Directive(
        kind=kind,
        rungs=rungs,
        bundles=tuple(Bundle(**_frozen(bundle)) for bundle in row.pop("bundles", ())),
        hints=Hints(**_frozen(row.pop("hints", {}))),
        never_when=_frozen(row.pop("never_when", {})),
        **_frozen(row),
    )


def _frozen(table: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
