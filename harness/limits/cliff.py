"""Bisection for the smallest value that works: between one that was seen to fail and one that was seen to work."""

import math
from dataclasses import dataclass, replace
from typing import Self

# Steps out from the first guess until the cliff is bracketed: it mostly lies close by.
FIRST_STEP = 1.15


@dataclass(frozen=True)
class Bracket:
    """What is known of a cliff: the largest value that failed and the smallest that worked, None where none did.

    The cliff is found once they are no further apart than the factor `ratio`, or than `apart`.
    """

    ratio: float
    apart: float
    failed: float | None = None
    worked: float | None = None

    @property
    def found(self) -> bool:
        """Whether both sides are known and close enough."""
        if self.failed is None or self.worked is None:
            return False
        return self.worked <= self.failed * self.ratio or self.worked - self.failed <= self.apart

    def heard(self, value: float, *, works: bool) -> Self:
        """With one more trial. Nothing is taken to work at or below a value that failed: the looser answer holds."""
        if works:
            lower = value if self.worked is None else min(self.worked, value)
            return self if self.failed is not None and lower <= self.failed else replace(self, worked=lower)
        higher = value if self.failed is None else max(self.failed, value)
        kept = self.worked is not None and self.worked > higher
        return replace(self, failed=higher, worked=self.worked if kept else None)

    def next(self, guess: float) -> float:
        """What to try next: first the guess, then ever further out from it, then the geometric middle."""
        if self.failed is not None and self.worked is not None:
            return math.sqrt(self.failed * self.worked)
        if self.failed is not None:
            return self.failed * FIRST_STEP ** _steps(self.failed / guess)
        if self.worked is not None:
            return self.worked / FIRST_STEP ** _steps(guess / self.worked)
        return guess


def _steps(out: float) -> int:
    """How many steps to go on from a value that is `out` times away from the guess: doubling each time."""
    return max(1, round(math.log(max(1.0, out), FIRST_STEP)))
