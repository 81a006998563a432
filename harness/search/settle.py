"""From options to a tight set that was confirmed, whether the service is reliable or not.

A service that never failed its baseline is searched with one trial for each question. When trials contradict one
another by chance, or a confirming run fails, the baseline is measured longer; if it fails by itself, each question from
then on is decided by a sequential test, and everything refused before is asked again. A pass that was luck shows in the
confirming runs: then the accepted batches are cut backwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic

from harness.judge.verdict import Outcome, Verdict, together
from harness.search.backtrack import bisect_accepted, doubted
from harness.search.options import Attempt, K, Option, Options
from harness.search.result import Budget, Progress, SearchResult, Settings, Stop
from harness.search.search import Walk, search
from harness.search.sequential import Errors, Reliability, Sequential, SequentialTest

MAXIMUM_BACKTRACKS = 3
"""After so many failed confirmations the answer stays unconfirmed, and the run says so."""
TRIED_AGAIN = 2
"""Of the candidates that failed and whose options passed with others: they tell what all of them would."""


@dataclass(frozen=True)
class Trials(Generic[K]):
    """What can be asked of the service: `attempt` for the search, `confirm` a candidate once for each time it is given.

    `measure` runs the baseline as often as it takes to tell how reliable the service is; it may raise.
    """

    attempt: Attempt[K]
    confirm: Attempt[K]
    measure: Callable[[], Reliability]


@dataclass(frozen=True)
class Settled(Generic[K]):
    """The result of the search, the verdicts of the confirming runs, and whether these tell that it works.

    `confirmed` is UNRESOLVED when a machine was lost, None when it did not come to confirming. `reliability` is
    what the baseline was last measured to be.
    """

    result: SearchResult[K]
    verdicts: tuple[Verdict, ...]
    confirmed: Outcome | None
    reliability: Reliability


class Settling(Generic[K]):
    """One way from options to an answer."""

    def __init__(
        self,
        options: Sequence[Option[K]],
        trials: Trials[K],
        reliability: Reliability,
        *,
        confirm_runs: int,
        settings: Settings,
        budget: Callable[[], Budget],
        errors: Errors | None = None,
        proven_before: bool = False,
        progress: Callable[[str, Progress | None], None] = lambda phase, event: None,
    ) -> None:
        self._options = options
        self._trials = trials
        self._reliability = reliability
        self._measured = self._flaky = reliability.flaky
        self._confirm_runs = confirm_runs
        self._settings = settings
        self._budget = budget
        self._errors = errors or Errors()
        self._proven_before = proven_before
        self._progress = progress

    def run(self) -> Settled[K]:
        """Search, confirm, and go back where a confirming run shows that a pass was luck."""
        result = search(
            self._options,
            self._attempt(),
            settings=self._asked(),
            budget=self._budget(),
            progress=lambda event: self._progress("search", event),
        )
        if result.stop is Stop.TIGHT and self._turns_out_flaky(result):
            result = self._ask_again(result)
        verdicts: tuple[Verdict, ...] = ()
        confirmed = None
        for left in reversed(range(MAXIMUM_BACKTRACKS + 1)):
            if result.stop is not Stop.TIGHT:
                return Settled(result, (), None, self._reliability)
            verdicts, confirmed = self._confirm(result)
            if confirmed is Outcome.UNRESOLVED:
                # Nothing speaks against it: the run is cut off here, and can be gone on with.
                return Settled(replace(result, stop=Stop.MACHINE_LOST), verdicts, confirmed, self._reliability)
            if confirmed is not Outcome.FAIL or not left:
                break
            if self._turns_out_flaky(None):
                result = self._ask_again(result)
                continue
            self._progress("backtrack", None)
            result = bisect_accepted(
                self._options, result, attempt=self._attempt(), settings=self._asked(), budget=self._budget()
            ).result
        return Settled(result, verdicts, confirmed, self._reliability)

    def _turns_out_flaky(self, result: SearchResult[K] | None) -> bool:
        """Measure the baseline for longer, once, if `result` gives reason to; whether chance has a hand in it.

        None stands for a failed confirmation.
        """
        if self._measured or (result is not None and not self._is_chance(result)):
            return False
        self._measured = True
        self._progress("reliability", None)
        self._reliability = self._trials.measure()
        self._flaky = self._reliability.flaky or (result is not None and by_chance(result))
        return self._flaky

    def _is_chance(self, result: SearchResult[K]) -> bool:
        """Whether trials contradict one another, and not just because options depend on each other.

        Then what failed fails again. A daemon may not make a call once it cannot reach what it made the call for.
        """
        if by_chance(result):
            return True
        failed = contradicted(result)[:TRIED_AGAIN]
        return bool(failed) and any(verdict.passed for verdict in self._trials.attempt(failed))

    def _ask_again(self, result: SearchResult[K]) -> SearchResult[K]:
        """Go on from what was accepted, with every refusal in doubt."""
        self._progress("search", None)
        return Walk(
            Options(doubted(self._options, result, self._settings)),
            self._attempt(),
            settings=self._asked(),
            budget=self._budget(),
            accepted=result.accepted,
        ).run(lambda event: self._progress("search", event))

    def _attempt(self) -> Attempt[K]:
        if not self._flaky:
            return self._trials.attempt
        return Sequential(self._trials.attempt, self._test())

    def _asked(self) -> Settings:
        """The test repeats as often as it needs to; nothing else has to."""
        return replace(self._settings, refusal_repeats=0) if self._flaky else self._settings

    def _test(self) -> SequentialTest:
        return SequentialTest(self._reliability.rate, self._errors)

    def _confirm(self, result: SearchResult[K]) -> tuple[tuple[Verdict, ...], Outcome]:
        """The confirming runs, and what they tell: every one has to pass, unless the service is flaky.

        What most of was proven before counts the pass that the search made as the first of them.
        """
        self._progress("confirm", None)
        accepted = result.accepted
        if self._flaky:
            sequential = Sequential(self._trials.confirm, self._test())
            for _ in range(1 + self._settings.machine_retries):
                (tried,) = sequential.try_all([accepted], least=self._confirm_runs)
                if tried.verdict(self._test()).outcome is not Outcome.UNRESOLVED:
                    break
            return (*tried.passed, *tried.failed), tried.verdict(self._test()).outcome
        passes = [d.verdict for d in result.decisions if d.verdict.passed and d.accepted | d.added == accepted]
        counted = passes[: 1 if self._proven_before else 0]
        wanted = max(1, self._confirm_runs - len(counted))
        verdicts = (*counted, *until_told(self._trials.confirm, accepted, wanted, self._settings.machine_retries))
        return verdicts, together(verdicts)


def until_told(attempt: Attempt[K], candidate: frozenset[K], runs: int, retries: int = 3) -> tuple[Verdict, ...]:
    """Verdicts of `runs` runs of a candidate; those whose machine was lost are made again, at most `retries` times."""
    told: list[Verdict] = []
    for _ in range(1 + retries):
        verdicts = attempt([candidate] * (runs - len(told)))
        told += [verdict for verdict in verdicts if verdict.outcome is not Outcome.UNRESOLVED]
        if len(told) == runs:
            return tuple(told)
    return (*told, *(verdict for verdict in verdicts if verdict.outcome is Outcome.UNRESOLVED))


def contradicted(result: SearchResult[K]) -> list[frozenset[K]]:
    """Candidates that failed although the same or a larger one passed, smallest first."""
    failed, passed = _by_outcome(result)
    found = [one for one in failed if any(one <= other for other in passed)]
    return sorted(found, key=lambda candidate: (len(candidate), sorted(candidate)))


def by_chance(result: SearchResult[K]) -> bool:
    """Whether one candidate failed and passed."""
    failed, passed = _by_outcome(result)
    return bool(failed & passed)


def _by_outcome(result: SearchResult[K]) -> tuple[set[frozenset[K]], set[frozenset[K]]]:
    """The candidates that failed, and those that passed."""
    failed = {d.accepted | d.added for d in result.decisions if d.verdict.failed}
    passed = {d.accepted | d.added for d in result.decisions if d.verdict.passed}
    return failed, passed


__all__ = ["MAXIMUM_BACKTRACKS", "Settled", "Settling", "Trials"]
