"""Deciding about a service that fails at times by itself: one candidate is tried until the trials tell which it is.

Each trial of a candidate that works fails as often as the untightened service does, each of one that breaks the service
nearly always. The ratio of the two likelihoods is followed until it leaves the band that the allowed errors set
(A. Wald, Sequential Tests of Statistical Hypotheses, 1945, 10.1214/aoms/1177731118): that takes fewer trials on average
than any fixed number with the same errors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Generic

from harness.judge.verdict import Outcome, Verdict
from harness.search.options import Attempt, K

BROKEN_FAILS = 0.95
"""How often a candidate that breaks the service fails: not always, as what was taken may not be needed each time."""
MOST_TRIALS = 20
"""Of one candidate. What they leave open counts as failed: the looser value is kept."""


@dataclass(frozen=True)
class Reliability:
    """How often the service failed its workload with nothing tightened.

    `novel` runs passed, and warned of what the first ones did not: that is known from then on, and fails nothing more.
    """

    runs: int
    failures: int
    novel: int = 0

    @property
    def flaky(self) -> bool:
        """Whether a refusal may have been chance."""
        return self.failures + self.novel > 0

    @property
    def rate(self) -> float:
        """Chance of one run to fail: the mean of the posterior with Jeffreys' prior, so never 0."""
        return (self.failures + 0.5) / (self.runs + 1)


@dataclass(frozen=True)
class Errors:
    """Chances to be wrong about one candidate: to refuse one that works, to accept one that breaks the service."""

    false_refusal: float = 0.01
    false_acceptance: float = 0.01


@dataclass(frozen=True)
class SequentialTest:
    """The sequential test for a service that fails at `rate` by itself."""

    rate: float
    errors: Errors = Errors()

    def decide(self, passes: int, failures: int) -> Outcome | None:
        """PASS or FAIL once the trials tell, None while they do not."""
        if passes + failures >= MOST_TRIALS:
            return Outcome.FAIL if self._evidence(passes, failures) > 0 or failures >= passes else Outcome.PASS
        evidence = self._evidence(passes, failures)
        if evidence >= math.log((1 - self.errors.false_acceptance) / self.errors.false_refusal):
            return Outcome.FAIL
        if evidence <= math.log(self.errors.false_acceptance / (1 - self.errors.false_refusal)):
            return Outcome.PASS
        return None

    def missing(self, passes: int, failures: int) -> int:
        """The fewest further trials that could decide."""
        if self.decide(passes, failures) is not None:
            return 0
        ends = ((passes + more, failures) for more in range(1, MOST_TRIALS))
        other = ((passes, failures + more) for more in range(1, MOST_TRIALS))
        return next(
            more
            for more, both in enumerate(zip(ends, other, strict=True), start=1)
            if any(self.decide(*counts) is not None for counts in both)
        )

    def _evidence(self, passes: int, failures: int) -> float:
        """Log likelihood ratio of "breaks the service" over "works"."""
        # Kept apart from the other chance, whatever was measured.
        rate = min(self.rate, BROKEN_FAILS / 2)
        return failures * math.log(BROKEN_FAILS / rate) + passes * math.log((1 - BROKEN_FAILS) / (1 - rate))


@dataclass
class Tried:
    """The verdicts on one candidate so far."""

    least: int
    passed: list[Verdict] = field(default_factory=list)
    failed: list[Verdict] = field(default_factory=list)
    lost: Verdict | None = None

    def take(self, verdict: Verdict) -> None:
        """Keep one more."""
        if verdict.outcome is Outcome.UNRESOLVED:
            self.lost = verdict
        else:
            (self.passed if verdict.passed else self.failed).append(verdict)

    def missing(self, test: SequentialTest) -> int:
        """How many further trials to make now; 0 when decided, or when a machine was lost."""
        counts = len(self.passed), len(self.failed)
        short = self.least - sum(counts)
        return 0 if self.lost is not None else max(test.missing(*counts), min(short, self.least))

    def verdict(self, test: SequentialTest) -> Verdict:
        """The last verdict of the kind that was decided, with how many trials there were."""
        count = len(self.passed) + len(self.failed)
        decided = test.decide(len(self.passed), len(self.failed))
        if self.lost is not None and (decided is None or count < self.least):
            return self.lost
        failed = decided is Outcome.FAIL
        # By the trial, as after a lost machine they arrive in another order than they are walked over again.
        told = max(self.failed if failed else self.passed, key=lambda verdict: verdict.trial_id)
        if not failed:
            return told
        return replace(told, reason=f"{told.reason} (failed in {len(self.failed)} of {count} trials)")


class Sequential(Generic[K]):
    """An `attempt` that tries each candidate of a batch as often as the test asks for.

    What was tried of a candidate before a machine was lost counts when it is asked for again: walking over the stored
    trials, of which none is lost, comes to the same counts.
    """

    def __init__(self, attempt: Attempt[K], test: SequentialTest) -> None:
        self._attempt = attempt
        self._test = test
        self._cut_off: dict[frozenset[K], list[Tried]] = {}

    def __call__(self, candidates: Sequence[frozenset[K]]) -> list[Verdict]:
        """One verdict for each candidate, in order; UNRESOLVED when a machine was lost on the way."""
        return [tried.verdict(self._test) for tried in self.try_all(candidates)]

    def try_all(self, candidates: Sequence[frozenset[K]], *, least: int = 0) -> list[Tried]:
        """The same, with every verdict; each candidate is tried at least `least` times."""
        tried = [self._begun(candidate) or Tried(least) for candidate in candidates]
        while wanted := [place for place, item in enumerate(tried) for _ in range(item.missing(self._test))]:
            for place, verdict in zip(wanted, self._attempt([candidates[place] for place in wanted]), strict=True):
                tried[place].take(verdict)
        for candidate, item in zip(candidates, tried, strict=True):
            if item.verdict(self._test).outcome is Outcome.UNRESOLVED:
                kept = Tried(item.least, list(item.passed), list(item.failed))
                self._cut_off.setdefault(candidate, []).append(kept)
        return tried

    def _begun(self, candidate: frozenset[K]) -> Tried | None:
        """What was tried of it before a machine was lost."""
        waiting = self._cut_off.get(candidate)
        return waiting.pop(0) if waiting else None
