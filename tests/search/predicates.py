"""Fake services for the search: a predicate on sets of keys in place of a machine."""

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from random import Random

from harness.judge.verdict import Outcome, Verdict
from harness.search.options import Attempt, Option

LOST = Verdict(Outcome.UNRESOLVED, "machine lost")


class Predicate:
    """An `attempt` that asks `works`; remembers every batch, and the verdicts of every candidate in order."""

    def __init__(self, works: Callable[[frozenset[str]], bool], *, suspects: tuple[str, ...] = ()) -> None:
        self._works = works
        self._suspects = suspects
        self.batches: list[list[frozenset[str]]] = []
        self.stored: dict[frozenset[str], list[Verdict]] = {}
        self._trials = 0

    def __call__(self, candidates: Sequence[frozenset[str]]) -> list[Verdict]:
        self.batches.append(list(candidates))
        return [self._try(candidate) for candidate in candidates]

    def _try(self, candidate: frozenset[str]) -> Verdict:
        self._trials += 1
        works = self._works(candidate)
        outcome = Outcome.PASS if works else Outcome.FAIL
        verdict = Verdict(outcome, suspects=() if works else self._suspects, trial_id=f"t{self._trials}")
        self.stored.setdefault(candidate, []).append(verdict)
        return verdict

    @property
    def tried(self) -> list[frozenset[str]]:
        return [candidate for batch in self.batches for candidate in batch]


class Stored:
    """An `attempt` over `works` that loses machines by chance and stores the trials, as harness/attempts.py does.

    The n-th request for a candidate takes its n-th trial; one whose machine was lost is made again.
    """

    def __init__(self, works: Attempt[str], chance: Random, losing: float = 0.05) -> None:
        self._works = works
        self._chance = chance
        self._losing = losing
        self._kept: dict[tuple[frozenset[str], int], Verdict] = {}
        self._given: dict[frozenset[str], set[int]] = {}
        self.trials = 0
        self.lost = 0

    def again(self) -> None:
        """From the beginning: what is stored is served, and what is missing is tried."""
        self._given.clear()

    def __call__(self, candidates: Sequence[frozenset[str]]) -> list[Verdict]:
        wanted = [(candidate, self._number(candidate)) for candidate in candidates]
        return [self._kept.get(each) or self._try(*each) for each in wanted]

    def _number(self, candidate: frozenset[str]) -> int:
        given = self._given.setdefault(candidate, set())
        number = next(number for number in count() if number not in given)
        given.add(number)
        return number

    def _try(self, candidate: frozenset[str], number: int) -> Verdict:
        self.trials += 1
        if self._chance.random() < self._losing:
            self.lost += 1
            self._given[candidate].discard(number)
            return LOST
        (self._kept[candidate, number],) = self._works([candidate])
        return self._kept[candidate, number]


def without(*breaking: str) -> Callable[[frozenset[str]], bool]:
    """Works unless one of `breaking` is there."""
    return lambda candidate: not candidate & set(breaking)


def flat(keys: Iterable[str], *, risk: float = 0.05) -> list[Option[str]]:
    """Options that require nothing, each in a group of its own name in capitals."""
    return [Option(key, weight=1, risk=risk, group=key.upper()) for key in keys]


def ladder(name: str, rungs: int, *, risk: float = 0.05) -> list[Option[str]]:
    """`rungs` options, each of which requires the one below."""
    keys = [f"{name}{rung}" for rung in range(rungs)]
    return [Option(key, frozenset(keys[:at][-1:]), 1, risk, name) for at, key in enumerate(keys)]


def further(options: Iterable[Option[str]], accepted: frozenset[str]) -> list[str]:
    """What could be added to `accepted` next."""
    return [option.key for option in options if option.key not in accepted and option.requires <= accepted]
