"""Verdicts that may be chance: which they are, and what trying again has told."""

from collections import Counter
from dataclasses import replace

from harness.judge.baseline import Baseline
from harness.judge.verdict import Verdict

# Not missed any more when tried again, so often, is what comes and goes.
CLEARED_OFTEN = 2


class Doubts:
    """What is in doubt in one walk, and what is known by now of things that stayed away.

    `by_chance` are those (in the words of a verdict) that stay away at times whatever is tightened.
    """

    def __init__(self) -> None:
        self.by_chance: set[str] = set()
        self._lasting: set[str] = set()
        self._cleared: Counter[str] = Counter()

    def known(self, baseline: Baseline, *, said: frozenset[str]) -> Baseline:
        """The baseline with what is known by now, and with templates that further runs `said`."""
        return replace(baseline, by_chance=frozenset(self.by_chance), templates=baseline.templates | said)

    def about(self, verdict: Verdict) -> bool:
        """Whether the failure counts only if it comes again: it was slow, or glimpsed, or something was missed."""
        missed = bool(verdict.missed) and self._lasting.isdisjoint(verdict.missed)
        return verdict.only_slow or verdict.glimpsed or missed

    def learn(self, first: Verdict, again: Verdict, bare: Verdict) -> None:
        """Take in what the same candidate and the service with nothing tightened have shown since."""
        told = again.passed or bool(again.missed)
        for what in first.missed:
            if what in bare.missed:
                self.by_chance.add(what)
            elif what in again.missed:
                self._lasting.add(what)
            elif told:
                self._cleared[what] += 1
        self.by_chance |= {what for what, times in self._cleared.items() if times >= CLEARED_OFTEN} - self._lasting
