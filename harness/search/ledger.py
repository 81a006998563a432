"""Asking for trials: within the budget, again when a machine was lost, and with a record of every answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic

from harness.judge.verdict import Outcome, Verdict
from harness.search.options import Attempt, K
from harness.search.result import Budget, Decision, Phase, Stop


class HaltError(Exception):
    """No more trials can be had; the search hands back what it has."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.value)
        self.stop = stop


@dataclass(frozen=True)
class Question(Generic[K]):
    """`added` on top of `accepted`, and what for."""

    phase: Phase
    accepted: frozenset[K]
    added: frozenset[K]

    @property
    def candidate(self) -> frozenset[K]:
        """Everything in force in this trial."""
        return self.accepted | self.added


@dataclass(frozen=True)
class Answer(Generic[K]):
    """A question with its verdict; `number` is its place among the answers of the search, from 1."""

    number: int
    question: Question[K]
    verdict: Verdict

    @property
    def added(self) -> frozenset[K]:
        """What was tried on top of what was accepted."""
        return self.question.added


class Ledger(Generic[K]):
    """The only caller of `attempt`."""

    def __init__(self, attempt: Attempt[K], *, budget: Budget, machine_retries: int) -> None:
        self._attempt = attempt
        self._budget = budget
        self._machine_retries = machine_retries
        self._lost = False
        self._answers: dict[frozenset[K], list[Answer[K]]] = {}
        self._answered = 0
        self.decisions: list[Decision[K]] = []
        self.rounds = 0

    @property
    def trials(self) -> int:
        """Candidates handed out so far, those with a lost machine too."""
        return len(self.decisions)

    def ask(self, questions: Sequence[Question[K]]) -> list[Answer[K]]:
        """Answers to `questions` that are PASS or FAIL, in order; fewer than asked when budget or machine give out.

        Raises HaltError when nothing can be asked any more, so that the last answers can still be used.
        """
        answers: dict[int, Answer[K]] = {}
        waiting = list(range(len(questions)))
        for _ in range(1 + self._machine_retries):
            waiting = waiting[: self._left(len(waiting), first=not answers)]
            answers.update(self._batch(questions, waiting))
            waiting = [place for place in waiting if place not in answers]
            if not waiting:
                break
        else:
            self._lost = True
        # Numbered as if no machine had been lost, which is how a walk over the stored trials meets them.
        found = [replace(answers[place], number=self._answered + nth) for nth, place in enumerate(sorted(answers), 1)]
        self._answered += len(found)
        for answer in found:
            self._answers.setdefault(answer.question.candidate, []).append(answer)
        return found

    def answers_of(self, candidate: frozenset[K]) -> list[Answer[K]]:
        """Every answer so far to exactly `candidate`, oldest first."""
        return self._answers.get(candidate, [])

    def failed(self) -> list[frozenset[K]]:
        """Candidates that failed, and never passed."""
        return [tried for tried, answers in self._answers.items() if all(one.verdict.failed for one in answers)]

    def _left(self, wanted: int, *, first: bool) -> int:
        """How many of `wanted` trials may still be made."""
        limit = self._budget.max_trials
        left = wanted if limit is None else min(wanted, limit - self.trials)
        if self._lost:
            raise HaltError(Stop.MACHINE_LOST)
        if left > 0 and not self._budget.expired():
            return left
        if first:
            raise HaltError(Stop.BUDGET)
        return 0

    def _batch(self, questions: Sequence[Question[K]], places: Sequence[int]) -> dict[int, Answer[K]]:
        if not places:
            return {}
        verdicts = self._attempt([questions[place].candidate for place in places])
        if len(verdicts) != len(places):
            raise ValueError(f"{len(places)} candidates were tried and {len(verdicts)} verdicts came back")
        self.rounds += 1
        found = {}
        for place, verdict in zip(places, verdicts, strict=True):
            question = questions[place]
            self.decisions.append(Decision(self.rounds, question.phase, question.accepted, question.added, verdict))
            if verdict.outcome is not Outcome.UNRESOLVED:
                found[place] = Answer(self.trials, question, verdict)
        return found
