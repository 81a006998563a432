"""A drop-in of the harness in its two parts: directives and limits, each line with the comments above it."""

from collections.abc import Iterator
from enum import Enum

from harness.limits.limitset import DIRECTIVES

LIMITS = frozenset({*DIRECTIVES, "MemoryHigh", "MemorySwapMax", "CPUQuotaPeriodSec"})
SECTION = "[Service]"


class Part(Enum):
    """What of a recommendation is applied."""

    ALL = "all"
    DIRECTIVES = "directives"
    LIMITS = "limits"


def merged(new: str, present: str | None, part: Part) -> str:
    """The drop-in with `part` taken from `new`, and the rest left as it is in `present`."""
    if part is Part.ALL:
        return new
    header, blocks = _split(new)
    _, others = _split(present or "")
    ours = [text for text, is_limit in blocks if is_limit is (part is Part.LIMITS)]
    theirs = [text for text, is_limit in others if is_limit is not (part is Part.LIMITS)]
    directives, limits = (theirs, ours) if part is Part.LIMITS else (ours, theirs)
    return header + SECTION + "\n" + "".join(directives) + "".join(limits)


def is_empty(text: str) -> bool:
    """Whether a drop-in sets nothing."""
    return not any(line.strip() and line.strip()[0] not in "#;[" for line in text.splitlines())


def _split(text: str) -> tuple[str, list[tuple[str, bool]]]:
    """The comments before the section, and each assignment with its comments and whether it is a limit."""
    header, _, body = f"\n{text}".partition(f"\n{SECTION}\n")
    return header.lstrip("\n") + ("\n" if header.strip() else ""), list(_blocks(body))


def _blocks(body: str) -> Iterator[tuple[str, bool]]:
    held = ""
    for line in body.splitlines():
        held += line + "\n"
        if line.strip() and line.strip()[0] not in "#;" and not line.endswith("\\"):
            last = next(part for part in reversed(held.splitlines()) if part.strip()[0] not in "#;")
            yield held, last.partition("=")[0].strip() in LIMITS
            held = ""
    if held:
        yield held, False
