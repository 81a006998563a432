"""The search for the tight set: the largest candidate first, narrowed where it fails, each refusal witnessed.

`accepted` only grows, and only by what has passed (`pairs` is the one exception). A round is
planned (`plan`), asked for (`ledger`) and learned from (`state`), until nothing is open; then every late option is
tried alone (`witness`). An option accepted there opens what required it, and the walk goes on, until no single
further option passes. Nothing here is random: the same verdicts give the same search, which is what makes replay
and resuming exact.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic

from harness.search.ledger import Answer, HaltError, Ledger, Question
from harness.search.options import Attempt, K, Option, Options
from harness.search.pairs import Conflicts
from harness.search.plan import expected_trials, plan_first, plan_round
from harness.search.result import Budget, Pair, Phase, Progress, SearchResult, Settings, Stop
from harness.search.state import State
from harness.search.witness import Witnesses


def search(
    options: Iterable[Option[K]],
    attempt: Attempt[K],
    *,
    settings: Settings | None = None,
    budget: Budget | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> SearchResult[K]:
    """Find a set of options that passes and that no single further option can be added to.

    The caller has seen to it that the empty candidate passes. Raises ValueError for options that do not fit
    together, and whatever `attempt` raises.
    """
    return Walk(Options(options), attempt, settings=settings, budget=budget).run(progress)


class Walk(Generic[K]):
    """One search, from `accepted` on, which is known to pass."""

    def __init__(
        self,
        options: Options[K],
        attempt: Attempt[K],
        *,
        settings: Settings | None = None,
        budget: Budget | None = None,
        accepted: frozenset[K] = frozenset(),
    ) -> None:
        self._settings = settings or Settings()
        self._progress: Callable[[Progress], None] | None = None
        self._state = State(options, accepted=accepted, late_risk=self._settings.late_risk)
        self._ledger = Ledger(attempt, budget=budget or Budget(), machine_retries=self._settings.machine_retries)
        self._witnesses = Witnesses(self._state, self._ledger, self._settings)
        self._conflicts = Conflicts(self._state, self._ledger, self._settings)

    def run(self, progress: Callable[[Progress], None] | None = None) -> SearchResult[K]:
        """Walk until tight, or until no more trials can be had; `progress` hears of each batch."""
        self._progress = progress
        try:
            self._narrow(plan_first(self._state, self._settings))
            while self._step():
                pass
        except HaltError as halt:
            return self._result(halt.stop)
        return self._result(Stop.TIGHT)

    def _step(self) -> bool:
        if questions := plan_round(self._state, self._settings.workers):
            self._narrow(questions)
        elif questions := self._witnesses.plan():
            answers = self._ask(questions)
            if not self._witnesses.learn(answers):
                self._conflicts.give_way([answer for answer in answers if answer.verdict.failed])
        else:
            return self._conflicts.resolve(self._witnesses.refusals())
        return True

    def _ask(self, questions: Sequence[Question[K]]) -> list[Answer[K]]:
        answers = self._ledger.ask(questions)
        if self._progress and questions:
            state, trials = self._state, self._ledger.trials
            weight = state.options.weight(state.accepted)
            self._progress(Progress(questions[0].phase, trials, expected_trials(state, self._settings), weight))
        return answers

    def _narrow(self, questions: Sequence[Question[K]]) -> None:
        """Try `questions`, accept the largest that passes, and make failing groups of those that fail."""
        answers = self._ask(questions) if questions else []
        passed = [answer for answer in answers if answer.verdict.passed]
        doubtful = self._repeat(passed)
        passed = [answer for answer in passed if self._confirmed(answer)]
        passed.sort(key=lambda answer: (len(answer.added), self._state.options.weight(answer.added)))
        if passed:
            self._state.accept(passed[-1].question.candidate)
        for answer in passed[:-1]:
            self._state.beside(answer.question.candidate)
        for answer in [*answers, *doubtful]:
            if answer.verdict.failed:
                self._state.fail(answer, suspect_chance=self._settings.suspect_chance)

    def _repeat(self, passed: Sequence[Answer[K]]) -> list[Answer[K]]:
        """The answers when `passed` candidates are tried again, as often as the settings ask for."""
        questions = [Question(Phase.REPEAT, answer.question.accepted, answer.added) for answer in passed]
        repeats = self._settings.acceptance_repeats if questions else 0
        return [answer for _ in range(repeats) for answer in self._ask(questions)]

    def _confirmed(self, answer: Answer[K]) -> bool:
        """The candidate has passed this time and in every repeat since."""
        same = self._ledger.answers_of(answer.question.candidate)
        since = [other.verdict.passed for other in same if other.number >= answer.number]
        return all(since) and len(since) > self._settings.acceptance_repeats

    def _result(self, stop: Stop) -> SearchResult[K]:
        state, refused = self._state, self._witnesses.refusals()
        options = state.options
        left = frozenset(options) - state.accepted - refused.keys()
        unreached = {
            key: min(options.required(key) & refused.keys()) for key in left if options.required(key) & refused.keys()
        }
        return SearchResult(
            accepted=state.accepted,
            batches=tuple(state.batches),
            refused=refused,
            unreached=unreached,
            undecided=left - unreached.keys(),
            pairs=self._pairs(),
            stop=stop,
            trials=self._ledger.trials,
            rounds=self._ledger.rounds,
            decisions=tuple(self._ledger.decisions),
        )

    def _pairs(self) -> tuple[Pair[K], ...]:
        """Conflicts of the refused options; one proven by trials goes before one only seen."""
        refused = self._witnesses.refusals()
        pairs = {pair.refused: pair for pair in [*self._witnesses.pairs(), *self._conflicts.found]}
        return tuple(pair for key, pair in sorted(pairs.items()) if key in refused)
