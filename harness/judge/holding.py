"""What can be said of a directive when the kernel is asked, and the parts of which a finding is made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from harness.judge.settings import Setting
from harness.unit.confined import Confined, Look


class Hold(Enum):
    """What can be said of a directive, from nothing to everything."""

    OPEN = "not set"
    NO_LIMIT = "confines nothing"
    NOT_RUNNING = "not running"
    UNKNOWN = "cannot be seen"
    ABSENT = "not enforced"
    PARTLY = "partly enforced"
    FILTERED = "filtered"  # some filter of system calls is loaded; which one was not read
    ENFORCED = "enforced"


@dataclass(frozen=True)
class Part:
    """One thing that a directive promises, and what was seen of it: the processes, the value, the mount."""

    name: str
    hold: Hold
    evidence: str


@dataclass(frozen=True)
class Finding:
    """What was seen of a directive as a whole, and of its parts."""

    hold: Hold
    parts: tuple[Part, ...] = ()

    @property
    def evidence(self) -> str:
        """The evidence of what decided, in one line."""
        told = [part for part in self.parts if part.hold is self.hold] or list(self.parts)
        return "; ".join(f"{part.name}: {part.evidence}" if part.name else part.evidence for part in told)


Seen = Iterator[Part]
Check = Callable[[Setting, Look, Confined], Seen]


def hold_of(seen: bool | None) -> Hold:
    """Enforced, not enforced, or not to be seen."""
    return {True: Hold.ENFORCED, False: Hold.ABSENT, None: Hold.UNKNOWN}[seen]


def part(name: str, seen: bool | None, yes: str, no: str = "") -> Part:
    """A part with what shows it, or what shows the contrary."""
    return Part(name, hold_of(seen), yes if seen else (no or f"not so: {yes}"))
