"""Where to cut: what is believed about each option, and the prefixes whose outcomes tell most.

The belief is that options break independently. Then the place of the first breaking option in an ordered row
has a simple distribution, and trying a prefix asks "does it lie before this cut?". One cut tells most where
the chance is nearest 1/2; several cuts at once tell the entropy of the intervals they make.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Generic

from harness.search.options import MIN_RISK, K, Options, hazard_of

CALIBRATION = 4.0
"""How many breaking options the prior is worth: the more, the slower its risks follow what is found."""


class Belief(Generic[K]):
    """The chance of each option to break, as it changes with the verdicts."""

    def __init__(self, options: Options[K]) -> None:
        self._prior = {key: hazard_of(options[key].risk) for key in options}
        self._told: dict[K, float] = {}
        self._scale = 1.0

    def hazard(self, key: K) -> float:
        """-ln of the chance that `key` does not break."""
        if key in self._told:
            return self._told[key]
        return max(self._prior[key] * self._scale, hazard_of(MIN_RISK))

    def risk(self, key: K) -> float:
        """The chance, 0 to 1, that `key` breaks."""
        return -math.expm1(-self.hazard(key))

    def pass_chance(self, keys: Iterable[K]) -> float:
        """The chance that none of `keys` breaks."""
        return math.exp(-math.fsum(self.hazard(key) for key in keys))

    def clear(self, keys: Iterable[K]) -> None:
        """`keys` passed together, but beside others than those that were accepted: nearly safe."""
        for key in keys:
            self._told[key] = hazard_of(MIN_RISK)

    def suspect(self, keys: Collection[K], chance: float) -> None:
        """Raise the risks of `keys` alike until one of them breaks with `chance`; never lowers a risk."""
        total = math.fsum(self.hazard(key) for key in keys)
        factor = hazard_of(chance) / total if total else 1.0
        if factor > 1.0:
            self._told.update({key: self.hazard(key) * factor for key in keys})

    def calibrate(self, *, decided: Iterable[K], breaking: int) -> None:
        """Scale the prior by how many of the `decided` options broke, against how many it led to expect."""
        expected = math.fsum(-math.expm1(-self._prior[key]) for key in decided)
        self._scale = (breaking + CALIBRATION) / (expected + CALIBRATION)


def first_break(hazards: Sequence[float], *, failing: bool) -> list[float]:
    """The chance for each place in a row to hold the first breaking option.

    A row known to be `failing` has one; otherwise a last entry is added: the chance that there is none.
    """
    chances, clean = [], 1.0
    for hazard in hazards:
        chances.append(clean * -math.expm1(-hazard))
        clean *= math.exp(-hazard)
    if not failing:
        return [*chances, clean]
    total = math.fsum(chances)
    return [chance / total for chance in chances]


def _bits(chance: float) -> float:
    return -chance * math.log2(chance) if chance > 0 else 0.0


def information(chances: Sequence[float], cuts: Sequence[int]) -> float:
    """Expected bits from trying the prefixes that end at `cuts` (ascending, in 1..len-1) at once."""
    edges = [0, *cuts, len(chances)]
    return math.fsum(_bits(math.fsum(chances[a:b])) for a, b in pairwise(edges))


def _quantiles(chances: Sequence[float], count: int) -> list[int]:
    """Distinct cuts near the count-quantiles; room is left for those that follow."""
    cuts: list[int] = []
    for nth in range(1, count + 1):
        lowest, highest = (cuts[-1] if cuts else 0) + 1, len(chances) - 1 - (count - nth)
        target, below = nth / (count + 1), math.fsum(chances[: lowest - 1])
        best, nearest = lowest, math.inf
        for cut in range(lowest, highest + 1):
            below += chances[cut - 1]
            if abs(below - target) < nearest:
                best, nearest = cut, abs(below - target)
        cuts.append(best)
    return cuts


def choose_cuts(chances: Sequence[float], count: int) -> tuple[int, ...]:
    """The `count` cuts (or as many as there is room for) that tell most together, ascending.

    The quantiles are moved one place at a time while that tells more; a single quantile is already the best
    cut.
    """
    cuts = _quantiles(chances, min(count, len(chances) - 1))
    if len(cuts) < 2:
        return tuple(cuts)
    best = information(chances, cuts)
    improved = True
    while improved:
        improved = False
        for moved in _neighbours(cuts, len(chances)):
            told = information(chances, moved)
            if told > best + 1e-9:
                cuts, best, improved = moved, told, True
                break
    return tuple(cuts)


def _neighbours(cuts: Sequence[int], length: int) -> list[list[int]]:
    moves = []
    for place, step in ((place, step) for place in range(len(cuts)) for step in (-1, 1)):
        moved = list(cuts)
        moved[place] += step
        edges = [0, *moved, length]
        if all(a < b for a, b in pairwise(edges)):
            moves.append(moved)
    return moves
