"""What a search is asked to keep to, what it says on the way, and what it hands back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Generic, Self

from harness.judge.verdict import Verdict
from harness.search.options import K


class Stop(Enum):
    """Why a search ended."""

    TIGHT = "tight"
    """No single further option passes; each refusal has its witness in the final context."""
    BUDGET = "budget"
    MACHINE_LOST = "machine lost"


class Phase(Enum):
    """What a trial was made for."""

    PREDICT = "predict"
    """The tightest candidate the risks promise, tried first."""
    NARROW = "narrow"
    REPEAT = "repeat"
    """A pass that is tried again before it is believed."""
    WITNESS = "witness"
    """One option alone on top of everything accepted."""
    PAIR = "pair"
    """Looking for the accepted option that a refused one conflicts with."""


@dataclass(frozen=True)
class Settings:
    """How a search goes about it.

    `workers`: machines that run side by side. `refusal_repeats`: failing trials beyond the first before an
    option is refused. `acceptance_repeats`: passes beyond the first before a candidate is accepted.
    `machine_retries`: how often a candidate is tried again when its machine was lost. `predicted_risk`:
    options below it make the first candidate. `late_risk`: options from it on stay out of groups and are
    tried singly at the end. `suspect_chance`: how often a suspect is right. `pair_trials`: trials to spend
    at most on conflicts between a refused option and accepted ones; with 0, only those seen anyway are recorded.
    """

    workers: int = 1
    refusal_repeats: int = 1
    acceptance_repeats: int = 0
    machine_retries: int = 3
    predicted_risk: float = 0.3
    late_risk: float = 0.9
    suspect_chance: float = 0.9
    pair_trials: int = 0

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"a search needs at least one worker, not {self.workers}")


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Budget:
    """Where a search stops, whatever it knows by then.

    `max_trials`: None is no limit. `expired` is asked before each batch.
    """

    max_trials: int | None = None
    expired: Callable[[], bool] = _never


@dataclass(frozen=True)
class Progress:
    """Where a search is: for people, after each batch. `expected_remaining` is an estimate in trials."""

    phase: Phase
    trials: int
    expected_remaining: float
    accepted_weight: int


@dataclass(frozen=True)
class Decision(Generic[K]):
    """One trial and what it was for: `added` was tried on top of `accepted`. `round` counts batches from 1."""

    round: int
    phase: Phase
    accepted: frozenset[K]
    added: frozenset[K]
    verdict: Verdict


@dataclass(frozen=True)
class Refusal(Generic[K]):
    """Why an option was left out.

    `witnesses` are the failing trials of exactly `context` (what was accepted at the end) and this option.
    `failures` counts every failing trial that speaks against it, with those in smaller contexts.
    """

    context: frozenset[K]
    witnesses: tuple[Verdict, ...]
    failures: int


@dataclass(frozen=True)
class Pair(Generic[K]):
    """`refused` passed without `kept` and fails with them: a conflict, seen rather than supposed.

    With one member in `kept` the two exclude each other; with more, one or several of them do.
    """

    refused: K
    kept: frozenset[K]


@dataclass(frozen=True)
class SearchResult(Generic[K]):
    """What a search found; valid however it stopped, as everything in `accepted` has passed together.

    `batches`: what was accepted, in order, one entry for each passing trial that was taken. `refused`: with a
    witness in the final context. `unreached`: options that need a refused one, and which. `undecided`:
    neither; empty when `stop` is TIGHT. `trials` counts every candidate handed to `attempt`, `rounds` the
    batches.
    """

    accepted: frozenset[K]
    batches: tuple[frozenset[K], ...]
    refused: Mapping[K, Refusal[K]]
    unreached: Mapping[K, K]
    undecided: frozenset[K]
    pairs: tuple[Pair[K], ...]
    stop: Stop
    trials: int
    rounds: int
    decisions: tuple[Decision[K], ...] = field(repr=False)

    def refusing(self, key: K, witnesses: tuple[Verdict, ...]) -> Self:
        """The same with one more refusal, of something that was tried before the search."""
        refusal = Refusal(frozenset[K](), witnesses, len(witnesses))
        return replace(self, refused={**self.refused, key: refusal})

    @classmethod
    def taken(cls, accepted: frozenset[K]) -> Self:
        """What an earlier run found, taken as it is."""
        return cls(
            accepted=accepted,
            batches=(accepted,),
            refused={},
            unreached={},
            undecided=frozenset(),
            pairs=(),
            stop=Stop.TIGHT,
            trials=0,
            rounds=0,
            decisions=(),
        )
