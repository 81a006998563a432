"""What the search may choose from, and the total order in which it is tried.

The order, smallest first; every set of options is walked in it:

1. *chance to break*: of the option together with everything it requires that is still undecided. Likely-safe
   options come first, so that a prefix is the largest candidate for its risk. As this chance grows along a
   ladder, an option always comes after what it requires, and every prefix is a candidate that may be tried;
2. *weight*, larger first: of two options that exclude each other, the one that lowers exposure more is
   accepted first;
3. *key*: so that the order is total, and a search is the same every time.
"""

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from harness.judge.verdict import Verdict


class Ordered(Hashable, Protocol):
    """A key: hashable, and comparable with its like."""

    def __lt__(self, other: Any, /) -> bool: ...


K = TypeVar("K", bound=Ordered)

Candidate: TypeAlias = frozenset[K]
Attempt: TypeAlias = Callable[[Sequence[frozenset[K]]], Sequence[Verdict]]
"""Tries a batch of candidates side by side; one verdict each, in order. A candidate given again is tried again."""

MIN_RISK = 0.001
"""No option is certain: a risk of 0 would leave a failing group without anything to blame."""
MAX_RISK = 0.99


def hazard_of(risk: float) -> float:
    """-ln(1 - risk), which adds up over independent options where chances multiply; kept within MIN_RISK..MAX_RISK."""
    return -math.log1p(-min(max(risk, MIN_RISK), MAX_RISK))


@dataclass(frozen=True)
class Option(Generic[K]):
    """One tightening the search may take.

    `requires` are keys that must be in every candidate that has this one (the rungs below it). `weight` is
    what it takes off the exposure, in any unit. `risk` is the chance, 0 to 1, that it breaks the service when
    all it requires does not. `group` is the name that suspects are matched with, besides the key itself.
    """

    key: K
    requires: frozenset[K] = frozenset()
    weight: int = 0
    risk: float = 0.05
    group: str = ""


class Options(Generic[K]):
    """The options by key, with what they require directly and indirectly worked out once."""

    def __init__(self, options: Iterable[Option[K]]) -> None:
        """Raises ValueError for a key given twice, a required key that is not given, and a circle of requirements."""
        listed = list(options)
        self._by_key = {option.key: option for option in listed}
        if len(self._by_key) != len(listed):
            raise ValueError("the same key is given to two options")
        self._required: dict[K, frozenset[K]] = {}
        for key in self._by_key:
            self._close(key, ())

    def __iter__(self) -> Iterator[K]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def __getitem__(self, key: K) -> Option[K]:
        return self._by_key[key]

    def _close(self, key: K, path: tuple[K, ...]) -> frozenset[K]:
        if key in path:
            raise ValueError(f"{key!r} requires itself")
        if key not in self._by_key:
            raise ValueError(f"{path[-1]!r} requires {key!r}, which is not an option")
        if key not in self._required:
            below = self._by_key[key].requires
            self._required[key] = below.union(*(self._close(other, (*path, key)) for other in below))
        return self._required[key]

    def required(self, key: K) -> frozenset[K]:
        """Everything that has to be in a candidate before `key` may be."""
        return self._required[key]

    def dependants(self, keys: Collection[K]) -> frozenset[K]:
        """Everything that requires one of `keys`, directly or not."""
        gone = frozenset(keys)
        return frozenset(key for key, below in self._required.items() if below & gone)

    def closed(self, keys: Collection[K], accepted: frozenset[K]) -> frozenset[K]:
        """The members of `keys` that may be added together to `accepted`."""
        there = accepted | frozenset(keys)
        return frozenset(key for key in keys if self._required[key] <= there)

    def weight(self, keys: Iterable[K]) -> int:
        """The weights of `keys` added up."""
        return sum(self._by_key[key].weight for key in keys)

    def matching(self, names: Collection[str], among: Iterable[K]) -> frozenset[K]:
        """The keys in `among` that a suspect's name stands for: by group, or by the key as text."""
        return frozenset(key for key in among if self._by_key[key].group in names or str(key) in names)

    def ordered(self, keys: Collection[K], hazard: Callable[[K], float]) -> tuple[K, ...]:
        """`keys` in the total order of this module; what is not among them counts as decided."""
        among = frozenset(keys)

        def place(key: K) -> tuple[float, int, K]:
            # fsum is exact, so a rung with one more hazard below it never ties with the rung it requires.
            chain = math.fsum(hazard(other) for other in (self._required[key] | {key}) & among)
            return chain, -self._by_key[key].weight, key

        return tuple(sorted(among, key=place))
