"""The final pass: every late option alone, on top of everything accepted.

An option is *refused* once a trial of exactly accepted + option has failed, and the failing trials that speak
against it, in this and in smaller contexts, are `1 + refusal_repeats`: one failure may be a flake, whatever the
prior said.

It is *accepted* after one pass if no failing trial speaks against it, else after two: a false pass would end
in a unit that does not work, a false refusal only in a looser one. Each acceptance makes a new context, so
all other late options are tried again in it; those least certain to break come first, so that few witnesses
have to be made twice.
"""

from collections.abc import Iterable
from typing import Generic

from harness.search.ledger import Answer, Ledger, Question
from harness.search.options import K
from harness.search.result import Pair, Phase, Refusal, Settings
from harness.search.state import State


class Witnesses(Generic[K]):
    """Judges late options by the trials in the ledger; holds nothing of its own."""

    def __init__(self, state: State[K], ledger: Ledger[K], settings: Settings) -> None:
        self._state = state
        self._ledger = ledger
        self._settings = settings

    def plan(self) -> list[Question[K]]:
        """The next late options to try alone, at most one for each machine; none when all are refused."""
        waiting = [key for key in self._state.late - self._state.blocked if not self.refused(key)]
        waiting.sort(key=self._turn)
        state = self._state
        return [Question(Phase.WITNESS, state.accepted, frozenset((key,))) for key in waiting[: self._settings.workers]]

    def learn(self, answers: Iterable[Answer[K]]) -> bool:
        """Take in the verdicts of a planned round; true when an option was accepted."""
        ready = []
        for answer in answers:
            (key,) = answer.added
            if answer.verdict.failed:
                self._state.blame(key, answer.number)
            elif self._passes(key) >= self._passes_needed(key):
                ready.append(key)
        if not ready:
            return False
        # Those ready passed each without the others: the one that lowers exposure most is taken, the rest try
        # again.
        options, context = self._state.options, self._state.accepted
        best = min(ready, key=lambda key: (-options[key].weight, key))
        self._state.accept(context | {best})
        for key in ready:
            if key != best:
                self._state.beside(context | {key})
        return True

    def refused(self, key: K) -> bool:
        """Enough speaks against `key`, a trial in the present context included."""
        against = len(self._state.against.get(key, ()))
        enough = against >= 1 + self._settings.refusal_repeats
        return enough and any(answer.verdict.failed for answer in self._tried(key))

    def refusals(self) -> dict[K, Refusal[K]]:
        """The refused options, with what refuses them."""
        state, found = self._state, {}
        for key in sorted(state.late - state.blocked):
            if self.refused(key):
                failing = tuple(answer.verdict for answer in self._tried(key) if answer.verdict.failed)
                found[key] = Refusal(state.accepted, failing, len(state.against.get(key, ())))
        return found

    def pairs(self) -> list[Pair[K]]:
        """Refused options that passed earlier without some of what is accepted now."""
        state, found = self._state, []
        for key in self.refusals():
            kept = state.accepted - state.passed_in.get(key, state.accepted)
            if kept:
                found.append(Pair(key, kept))
        return found

    def _tried(self, key: K) -> list[Answer[K]]:
        return self._ledger.answers_of(self._state.accepted | {key})

    def _passes(self, key: K) -> int:
        return sum(answer.verdict.passed for answer in self._tried(key))

    def _passes_needed(self, key: K) -> int:
        doubted = 1 if self._state.against.get(key) else 0
        return 1 + max(doubted, self._settings.acceptance_repeats)

    def _turn(self, key: K) -> tuple[bool, int, float, K]:
        """A pass to be confirmed goes first, then what least speaks against."""
        against = len(self._state.against.get(key, ()))
        return not self._passes(key), against, self._state.belief.risk(key), key
