"""Made-up services with a known answer, to measure and test the search on.

Options stand on ladders of one to four rungs. Some break the service by themselves, and a few pairs only
together. What a service says when it fails is a hint that is right or wrong with set chances. The *trace
prior* stands for what one traced run tells: most breaking options are seen in use, and so are some harmless
ones.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from harness.judge.verdict import Outcome, Verdict
from harness.search.options import Option

LONGEST_LADDER = 4
SEEN_IF_BREAKING = 0.75
SEEN_IF_HARMLESS = 0.05
HINT_RIGHT = 0.70
HINT_WRONG = 0.05


@dataclass(frozen=True)
class Problem:
    """Options named by ladder and rung, those that break alone, and the pairs that break together."""

    options: tuple[Option[str], ...]
    breaking: frozenset[str]
    pairs: tuple[frozenset[str], ...]

    def passes(self, candidate: frozenset[str]) -> bool:
        """Whether the service works under `candidate`."""
        return not candidate & self.breaking and not any(pair <= candidate for pair in self.pairs)

    def is_tight(self, accepted: frozenset[str]) -> bool:
        """`accepted` passes, and nothing that could be added to it does."""
        further = [o.key for o in self.options if o.key not in accepted and o.requires <= accepted]
        return self.passes(accepted) and not any(self.passes(accepted | {key}) for key in further)


def make_problem(count: int, breaking: int, *, pairs: int, rng: Random) -> Problem:
    """`count` options of which `breaking` break alone; each knows only the uniform risk `breaking / count`."""
    options = list(itertools.islice(_ladders(breaking / count, rng), count))
    keys = [option.key for option in options]
    broken = frozenset(rng.sample(keys, breaking))
    harmless = [key for key in keys if key not in broken]
    chosen = rng.sample(harmless, 2 * pairs)
    together = tuple(frozenset(chosen[at : at + 2]) for at in range(0, 2 * pairs, 2))
    return Problem(tuple(options), broken, together)


def _ladders(risk: float, rng: Random) -> Iterator[Option[str]]:
    for ladder in itertools.count():
        below: frozenset[str] = frozenset()
        for rung in range(rng.randint(1, LONGEST_LADDER)):
            key = f"ladder{ladder:03}/{rung}"
            yield Option(key, below, rng.randint(1, 30), risk, group=f"ladder{ladder:03}")
            below = frozenset((key,))


def traced(problem: Problem, rng: Random) -> Problem:
    """`problem` with the risks that one traced run gives: calibrated, not certain."""
    breaking, harmless = len(problem.breaking), len(problem.options) - len(problem.breaking)
    seen_risk = _share(breaking * SEEN_IF_BREAKING, harmless * SEEN_IF_HARMLESS)
    unseen_risk = _share(breaking * (1 - SEEN_IF_BREAKING), harmless * (1 - SEEN_IF_HARMLESS))

    def told(option: Option[str]) -> Option[str]:
        chance = SEEN_IF_BREAKING if option.key in problem.breaking else SEEN_IF_HARMLESS
        return replace(option, risk=seen_risk if rng.random() < chance else unseen_risk)

    return replace(problem, options=tuple(told(option) for option in problem.options))


def _share(part: float, rest: float) -> float:
    return part / (part + rest)


def bound_bits(problem: Problem) -> float:
    """log2 of the number of ways the breaking options can sit among all: no search needs fewer trials on average."""
    return math.log2(math.comb(len(problem.options), len(problem.breaking)))


@dataclass
class Service:
    """An `attempt` for a problem: counts its trials, drops hints, and is flaky when asked to be."""

    problem: Problem
    rng: Random
    hint_right: float = 0.0
    hint_wrong: float = 0.0
    false_failures: float = 0.0
    trials: int = 0

    def __call__(self, candidates: Sequence[frozenset[str]]) -> list[Verdict]:
        """One verdict for each candidate."""
        return [self._try(candidate) for candidate in candidates]

    def _try(self, candidate: frozenset[str]) -> Verdict:
        self.trials += 1
        trial_id = str(self.trials)
        if self.problem.passes(candidate) and self.rng.random() >= self.false_failures:
            return Verdict(Outcome.PASS, trial_id=trial_id)
        return Verdict(Outcome.FAIL, "does not work", suspects=self._hint(candidate), trial_id=trial_id)

    def _hint(self, candidate: frozenset[str]) -> tuple[str, ...]:
        guilty = sorted(candidate & self.problem.breaking)
        draw = self.rng.random()
        if guilty and draw < self.hint_right:
            return (self.rng.choice(guilty),)
        if candidate and draw > 1.0 - self.hint_wrong:
            return (self.rng.choice(sorted(candidate)),)
        return ()
