"""Set-valued directives: what is kept after several lines with and without `~`, and how to write a set down again."""

from collections.abc import Collection
from dataclasses import dataclass

from harness.unit.catalogue import Directive
from harness.unit.start import NotUnderstood

# Stands for every member that has no name of its own in the catalogue (RestrictAddressFamilies=).
OTHER = "other"
# Other names of the same family (sys/socket.h), all of which systemd takes.
_NAMES = {"AF_LOCAL": "AF_UNIX", "AF_FILE": "AF_UNIX", "AF_ROUTE": "AF_NETLINK"}


@dataclass(frozen=True)
class ItemSet:
    """The items kept. `named_denied` are those outside the universe that the unit denies by name."""

    kept: frozenset[str]
    named_denied: frozenset[str] = frozenset()

    def without(self, items: Collection[str]) -> "ItemSet":
        """The set after these items are denied; denying OTHER makes the unit's own denials needless."""
        denied = frozenset() if OTHER in items else self.named_denied
        return ItemSet(self.kept - frozenset(items), denied)


def kept_by(directive: Directive, lines: Collection[str]) -> ItemSet:
    """What the lines of a unit keep, as systemd merges them. Raises `NotUnderstood` on an unknown item.

    The first line decides between an allow-list and a deny-list; later ones add to it or, with the other sign, take
    away. A misspelt capability makes systemd use an empty set without a word, so an unknown name is never guessed at.
    """
    everything = ItemSet(frozenset(directive.universe))
    state: ItemSet | None = None
    for line in lines:
        text = line.strip()
        if text.lower() in _spellings(directive.deny_all):
            state = ItemSet(frozenset())
        elif text == "" or text == directive.default == directive.reset:
            state = None
        elif text.lower() in _spellings(directive.default):
            state = everything  # a value like any other: what follows is added to it
        else:
            state = _merged(directive, state, text)
    return everything if state is None else state


def written(directive: Directive, items: ItemSet) -> tuple[str, ...]:
    """Values, in order, that set exactly this, whatever was set before."""
    if not items.kept:
        return (directive.deny_all,)
    kept = [item for item in directive.universe if item in items.kept and item != OTHER]
    kept += sorted(items.kept.difference(directive.universe))
    denied = [item for item in directive.universe if item not in items.kept] + sorted(items.named_denied)
    # A list with an unnamed member can only be written from the side that names every other.
    open_ended = OTHER in directive.universe
    allow_list = OTHER not in items.kept if open_ended else len(kept) < len(denied)
    if allow_list:
        return ("", " ".join(kept))
    return (directive.reset, "~" + " ".join(denied)) if denied else (directive.default,)


def _spellings(text: str) -> frozenset[str]:
    """`yes` and `no` have the spellings of every boolean."""
    return {
        "yes": frozenset({"1", "yes", "y", "true", "t", "on"}),
        "no": frozenset({"0", "no", "n", "false", "f", "off"}),
    }.get(text, frozenset({text}))


def _merged(directive: Directive, state: ItemSet | None, text: str) -> ItemSet:
    words = [_NAMES.get(word, word) for word in text.removeprefix("~").split()]
    if directive.name == "CapabilityBoundingSet":
        words = [word.upper() for word in words]  # as systemd reads them
    unknown = [word for word in words if word not in directive.universe]
    if unknown and not (OTHER in directive.universe and all(word.startswith("AF_") for word in unknown)):
        raise NotUnderstood(f"the unit's own {directive.name}= names {' '.join(unknown)}")
    deny = text.startswith("~")
    if state is None:
        state = ItemSet(frozenset(directive.universe) if deny else frozenset())
    named = frozenset(unknown)
    if not deny:
        # On top of a deny-list an unnamed member is allowed again by no longer being denied.
        extra = named if OTHER not in state.kept else frozenset()
        return ItemSet(state.kept | (frozenset(words) - named) | extra, state.named_denied - named)
    extra = named if OTHER in state.kept else frozenset()
    return ItemSet(state.kept - frozenset(words), state.named_denied | extra)
