"""What a refusal is put down to, and what has to be known of the machine to say so."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from harness.judge.denials import Denials


@dataclass(frozen=True)
class Place:
    """What is at a path on the machine, outside of the unit; a path that is not there has none."""

    mode: int
    uid: int
    is_directory: bool
    read_only: bool


@dataclass(frozen=True)
class Cause:
    """The likely cause of a refusal: directive, the line that sets it, lines that relax it, and why it is this one."""

    directive: str
    line: str
    relaxation: tuple[str, ...]
    because: str

    @classmethod
    def of(cls, directive: str, unit: Denials, lines: Iterable[str], because: str, *, item: str = "") -> Self:
        """Of a directive that the unit sets; `item` picks among its lines the one with that path."""
        return cls(directive, unit.line(directive, item), tuple(lines), because)
