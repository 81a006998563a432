"""When what was accepted fails in a confirming run: find the batch that passed by luck, and go on from before it.

A false pass shows only later. The accepted batches are cut backwards: the longest beginning of them that
passes, and passes again, is kept. The rest is searched once more with every pass repeated, as here passes are
known to lie.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic

from harness.search.ledger import HaltError, Ledger, Question
from harness.search.options import Attempt, K, Option, Options
from harness.search.result import Budget, Phase, SearchResult, Settings
from harness.search.search import Walk

PASSES = 2
"""Passes in a row before a beginning of the accepted batches is trusted again."""


@dataclass(frozen=True)
class Backtrack(Generic[K]):
    """`kept` and `dropped` batches, in order; `result` starts from the kept ones, and counts only its own trials.

    `trials` counts those that looked for the place to cut as well.
    """

    kept: tuple[frozenset[K], ...]
    dropped: tuple[frozenset[K], ...]
    result: SearchResult[K]
    trials: int


def bisect_accepted(
    options: Iterable[Option[K]],
    previous: SearchResult[K],
    *,
    attempt: Attempt[K],
    settings: Settings | None = None,
    budget: Budget | None = None,
) -> Backtrack[K]:
    """Drop the fewest latest batches of `previous` so that the rest passes, and search the dropped ones again.

    The caller has seen everything accepted fail, and the empty candidate pass. What `previous` refused is
    only tried at the end, for a witness in the new context. Out of budget or machines, the result holds what
    is sure by then.
    """
    settings, budget = settings or Settings(), budget or Budget()
    ledger = Ledger(attempt, budget=budget, machine_retries=settings.machine_retries)
    cut = Cut(previous.batches, ledger, settings)
    halted = None
    try:
        cut.narrow()
    except HaltError as halt:
        halted = halt.stop
    left = None if budget.max_trials is None else max(0, budget.max_trials - ledger.trials)
    result = Walk(
        Options(doubted(options, previous, settings)),
        attempt,
        settings=replace(settings, acceptance_repeats=settings.acceptance_repeats + 1),
        budget=replace(budget, max_trials=left if halted is None else 0),
        accepted=frozenset[K]().union(*cut.kept),
    ).run()
    if halted is not None:
        result = replace(result, stop=halted)
    return Backtrack(cut.kept, cut.dropped, result, ledger.trials + result.trials)


def doubted(options: Iterable[Option[K]], previous: SearchResult[K], settings: Settings) -> list[Option[K]]:
    """`options` with the refused ones late."""
    return [
        replace(option, risk=max(option.risk, settings.late_risk)) if option.key in previous.refused else option
        for option in options
    ]


class Cut(Generic[K]):
    """How many of the batches, from the first, are known to pass and how many are known to fail."""

    def __init__(self, batches: Sequence[frozenset[K]], ledger: Ledger[K], settings: Settings) -> None:
        self._batches = tuple(batches)
        self._ledger = ledger
        self._together = settings.workers >= PASSES
        self._passing = 0
        self._failing = len(batches)

    @property
    def kept(self) -> tuple[frozenset[K], ...]:
        """The batches that pass together."""
        return self._batches[: self._passing]

    @property
    def dropped(self) -> tuple[frozenset[K], ...]:
        """The batches given up."""
        return self._batches[self._passing :]

    def narrow(self) -> None:
        """Halve what lies between passing and failing until nothing does."""
        while self._failing - self._passing > 1:
            middle = (self._passing + self._failing) // 2
            if self._passes(frozenset[K]().union(*self._batches[:middle])):
                self._passing = middle
            else:
                self._failing = middle

    def _passes(self, candidate: frozenset[K]) -> bool:
        asked = [Question(Phase.REPEAT, frozenset[K](), candidate)] * PASSES
        rounds = [asked] if self._together else [[question] for question in asked]
        for batch in rounds:
            answers = self._ledger.ask(batch)
            if any(answer.verdict.failed for answer in answers):
                return False
            if len(answers) < len(batch):
                # Cut short without a failure: the next question says why there are no more trials.
                answers = self._ledger.ask(batch)
        return True
