"""Mounts as the kernel lists them: /proc/PID/mountinfo (proc(5))."""

import re
from dataclasses import dataclass

_ESCAPED = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One mount: where, which part of which file system, and how.

    `options` are those of the mount and of the file system together, `own` those of the file system alone; `device` is
    its `major:minor`.
    """

    point: str
    root: str
    kind: str
    options: frozenset[str]
    device: str
    own: frozenset[str] = frozenset()

    @property
    def read_only(self) -> bool:
        """Whether this mount, or the file system as a whole, cannot be written."""
        return "ro" in self.options


def parse(text: str) -> tuple[Mount, ...]:
    """The mounts in the order they were made; a later one on the same point lies above."""
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        _, _, device, root, point, options, *_ = left.split(" ")
        kind, _, own = right.split(" ", 2)
        both = frozenset(f"{options},{own}".split(","))
        found.append(Mount(_plain(point), _plain(root), kind, both, device, frozenset(own.split(","))))
    return tuple(found)


def _plain(text: str) -> str:
    """Without the octal escapes of blanks, tabs, line ends and backslashes."""
    raw = _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), text.encode(errors="surrogateescape"))
    return raw.decode(errors="surrogateescape")
