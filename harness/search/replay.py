"""Serving trials from stored verdicts: looking at a search again, and going on with one that was cut off.

The search asks for the same candidates in the same order as long as it hears the same verdicts, so a stored
run needs nothing but its verdicts to be walked again. What is not stored goes to a real attempt: that is
resuming.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic

from harness.judge.verdict import Outcome, Verdict
from harness.search.options import Attempt, K


class Replay(Generic[K]):
    """An `attempt` that answers from `stored` first.

    The n-th request for a candidate gets the n-th stored verdict. Stored UNRESOLVED verdicts are passed over:
    a machine that was lost then is no reason to stop now. `key_of` says under which key a candidate is
    stored; by itself if not given. `served` and `tried` count what was answered from the store and what was
    not.
    """

    def __init__(
        self,
        stored: Mapping[Hashable, Sequence[Verdict]],
        fall_through: Attempt[K],
        *,
        key_of: Callable[[frozenset[K]], Hashable] | None = None,
    ) -> None:
        self._left = {
            key: [verdict for verdict in verdicts if verdict.outcome is not Outcome.UNRESOLVED]
            for key, verdicts in stored.items()
        }
        self._fall_through = fall_through
        self._key_of = key_of
        self.served = 0
        self.tried = 0

    def __call__(self, candidates: Sequence[frozenset[K]]) -> list[Verdict]:
        """One verdict for each candidate, in order; those not stored are tried together, in one batch."""
        answers = [self._take(candidate) for candidate in candidates]
        missing = [candidate for candidate, answer in zip(candidates, answers, strict=True) if answer is None]
        self.served += len(candidates) - len(missing)
        self.tried += len(missing)
        fresh = iter(self._fall_through(missing) if missing else ())
        return [answer if answer is not None else next(fresh) for answer in answers]

    def _take(self, candidate: frozenset[K]) -> Verdict | None:
        left = self._left.get(self._key_of(candidate) if self._key_of else candidate)
        return left.pop(0) if left else None
