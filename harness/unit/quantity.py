"""Sizes, shares and counts as systemd writes and reads them (systemd.resource-control(5), systemd.syntax(7)).

Sizes have base 1024. What is written for a limit is rounded up, never down, to a quantity that people read well.
"""

import math
import re

KIB, MIB, GIB = 1024, 1024**2, 1024**3
_SUFFIXES = {"": 1, "B": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB, "P": 1024 * 1024 * GIB}
_SIZE = re.compile(r"(\d+(?:\.\d*)?)\s*([BKMGTP]?)")
# A size of at least this many quanta is written in that quantum: the error of rounding stays below 1/64.
_FINENESS = 64
_QUANTA = tuple(unit * factor for unit in (KIB, MIB, GIB) for factor in (4, 16, 64, 256, 1024))


def size_text(size_bytes: int) -> str:
    """`384M` for 402653184: the largest unit that gives a whole number."""
    for suffix in ("G", "M", "K"):
        if size_bytes and size_bytes % _SUFFIXES[suffix] == 0:
            return f"{size_bytes // _SUFFIXES[suffix]}{suffix}"
    return str(size_bytes)


def readable_size(size_bytes: float) -> int:
    """The size rounded up by less than 2 % to a few digits, at least to whole pages of 4 KiB."""
    quantum = max((quantum for quantum in _QUANTA if quantum * _FINENESS <= size_bytes), default=_QUANTA[0])
    return -int(-size_bytes // quantum) * quantum


def parse_size(text: str) -> int | None:
    """Bytes of a size such as `512M`; None for `infinity`. Raises ValueError when it is no size."""
    text = text.strip()
    if text == "infinity":
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a size such as 384M")
    return int(float(found[1]) * _SUFFIXES[found[2]])


def parse_count(text: str) -> int | None:
    """A count such as TasksMax=; None for `infinity`. Raises ValueError when it is none."""
    return None if text.strip() == "infinity" else int(text)


def parse_percent(text: str) -> float:
    """CPUQuota= in percent of one processor. Raises ValueError when it is none."""
    percent = float(text.strip().removesuffix("%"))
    if not math.isfinite(percent):
        raise ValueError(f"no share: {text}")
    return percent
