"""Telling a leak from a service that has filled up: does what it holds grow at a steady rate to the very end?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

BLOCKS = 8
# Of the steps from one block to the next, so many must go up by this share of the mean step, and the last by that: what
# comes to rest before the end has filled up.
RISING_BLOCKS = 6
RISING_SHARE = 0.25
LAST_SHARE = 0.5
LEAST_BLOCK_SAMPLES = 4
# Less growth than this over a run is what allocators do.
LEAST_BYTES = 1024 * 1024
LEAST_SHARE = 0.02
# A second half that grows less than this share of what the first did is a service that fills up.
STEADY_SHARE = 0.5


@dataclass(frozen=True)
class Growth:
    """How memory that cannot be reclaimed grew while the service worked: a rate in bytes per second.

    `rising` means that it grew all the time and did not slow down, `steady` that it grew by more than allocators do as
    well: a leak, or data that the workload brings.
    """

    bytes_per_s: float
    over_s: float
    steady: bool
    rising: bool = False


def of(held: pandas.DataFrame) -> Growth | None:
    """The growth in rows of `time_s` and `needed_bytes`; None for too few rows to say.

    A block's least value is what the service never gave back in it, whatever it used for moments.
    """
    import numpy

    if len(held) < BLOCKS * LEAST_BLOCK_SAMPLES:
        return None
    times_s = held["time_s"].to_numpy(dtype=float)
    needed = held["needed_bytes"].to_numpy(dtype=float)
    edges = numpy.linspace(times_s[0], times_s[-1], BLOCKS + 1)
    block = numpy.clip(numpy.searchsorted(edges, times_s, side="right") - 1, 0, BLOCKS - 1)
    if len(set(block.tolist())) < BLOCKS:
        return None
    floors = numpy.array([needed[block == number].min() for number in range(BLOCKS)])
    block_s = (times_s[-1] - times_s[0]) / BLOCKS
    pairs = [
        (floors[later] - floors[earlier]) / (block_s * (later - earlier))
        for earlier in range(BLOCKS)
        for later in range(earlier + 1, BLOCKS)
    ]
    rate = float(numpy.median(pairs))
    half = BLOCKS // 2
    first, second = floors[half - 1] - floors[0], floors[-1] - floors[half]
    grown = floors[-1] - floors[0]
    step = grown / (BLOCKS - 1)
    rising = bool(
        int((numpy.diff(floors) > max(0.0, RISING_SHARE * step)).sum()) >= RISING_BLOCKS
        and floors[-1] - floors[-2] > LAST_SHARE * step
        and second > STEADY_SHARE * first > 0
        and STEADY_SHARE * second < first
    )
    steady = rising and bool(grown > max(LEAST_BYTES, LEAST_SHARE * floors[0]))
    return Growth(bytes_per_s=rate, over_s=float(times_s[-1] - times_s[0]), steady=steady, rising=rising)


def fastest(parts: Iterable[pandas.DataFrame]) -> Growth | None:
    """The growth in that of some parts of a run which grew most clearly; None where none is long enough to say.

    A load that leaks does so between steps that do not, and each load has a rate of its own.
    """
    known = [growth for part in parts if (growth := of(part)) is not None]
    return max(known, key=lambda growth: (growth.steady, growth.rising, growth.bytes_per_s), default=None)
