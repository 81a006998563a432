"""Verdicts that may be chance: which they are, and what trying again has told."""

from harness.judge.verdict import Verdict


class Doubts:
    """What is in doubt in one walk, and what is known by now of things that stayed away.

    `by_chance` are those (in the words of a verdict) that stay away at times whatever is tightened.
    """

    def __init__(self) -> None:
        self.by_chance: set[str] = set()
        self._lasting: set[str] = set()

    def about(self, verdict: Verdict) -> bool:
        """Whether the failure counts only if it comes again: it was slow, or glimpsed, or something was missed."""
        missed = verdict.missed and verdict.missed not in self._lasting
        return verdict.only_slow or verdict.glimpsed or bool(missed)

    def learn(self, first: Verdict, again: Verdict, bare: Verdict) -> None:
        """Take in what the same candidate and the service with nothing tightened have shown since."""
        if not first.missed:
            return
        if bare.missed == first.missed or again.passed or (again.missed and again.missed != first.missed):
            self.by_chance.add(first.missed)
        elif again.missed:
            self._lasting.add(first.missed)
