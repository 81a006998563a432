"""Conflicts: a refused option that would pass if one accepted option were not there.

Looking for them takes trials that the tight set does not need: at most `Settings.pair_trials`, and none for a refusal
that explains itself, because the service was seen to need it or because its denial points to it. One trial tells
whether a refused option passes with nothing but what it requires. If so, it is tried once more on top of everything
accepted, since two failures may have been chance; if it fails again, halving the accepted row finds its partner. When
the refused one weighs more than what would have to go, they change places: the only step that ever takes something
out of `accepted`, and only for a heavier candidate that has passed.

Where the denial of a failed option names an accepted one, and not itself, that is looked at at once: its place among
the witnesses is only worth it if it is to stay refused.
"""

from collections.abc import Iterable, Mapping
from typing import Generic

from harness.search.ledger import Answer, Ledger, Question
from harness.search.options import K
from harness.search.result import Pair, Phase, Refusal, Settings
from harness.search.state import State


class Conflicts(Generic[K]):
    """Finds and settles conflicts; `found` are those proven by trials."""

    def __init__(self, state: State[K], ledger: Ledger[K], settings: Settings) -> None:
        self.found: list[Pair[K]] = []
        self._state = state
        self._ledger = ledger
        self._left = settings.pair_trials
        self._looked_at: set[K] = set()
        self._named: set[K] = set()

    def resolve(self, refusals: Mapping[K, Refusal[K]]) -> bool:
        """Look at each refusal once, heaviest first; true when accepted options changed, and the walk has to go on."""
        options = self._state.options
        for key in sorted(refusals, key=lambda key: (-options[key].weight, key)):
            if key in self._looked_at or self._left <= 0 or self._explained(key, refusals[key]):
                continue
            self._looked_at.add(key)
            if not self._passes(options.required(key), key):
                continue
            if self._passes(self._state.accepted, key):
                self._state.accept(self._state.accepted | {key})
                return True
            partner = self._partner(key)
            if partner is not None and self._settle(key, partner):
                return True
        return False

    def give_way(self, failed: Iterable[Answer[K]]) -> None:
        """Let an accepted option go for a heavier one whose failure names it, if that passes in its place."""
        for answer in failed:
            (key,) = answer.added
            suspects = answer.verdict.suspects
            if str(key) in suspects or key in self._named:
                continue
            self._named.add(key)
            others = self._state.accepted - self._state.options.required(key)
            named = sorted(option for option in others if str(option) in suspects)
            if any(self._take_place(key, partner) for partner in named):
                return

    def _explained(self, key: K, refusal: Refusal[K]) -> bool:
        """Whether what was seen says why it fails by itself."""
        named = (self._state.options.matching(verdict.suspects, (key,)) for verdict in refusal.witnesses)
        return key in self._state.expected_late or any(named)

    def _partner(self, key: K) -> K | None:
        """The accepted option that first makes `key` fail, which passes without any; None if the trials run out."""
        state = self._state
        base = state.options.required(key)
        whole = self._smallest_failing(key)
        row = state.options.ordered(whole - base, state.belief.hazard)
        passing, failing = 0, len(row)
        if not row:
            return None
        while failing - passing > 1:
            middle = (passing + failing) // 2
            passed = self._passes(base.union(row[:middle]), key)
            if passed is None:
                return None
            passing, failing = (middle, failing) if passed else (passing, middle)
        if failing == len(row) and whole != state.accepted and self._passes(whole, key) is not False:
            return None  # that it failed was chance
        return row[failing - 1]

    def _smallest_failing(self, key: K) -> frozenset[K]:
        """The fewest accepted options beside which `key` has failed already: its partner is among them."""
        beside = [other - {key} for other in self._ledger.failed() if key in other]
        known = (other for other in beside if other <= self._state.accepted)
        return min(known, key=lambda other: (len(other), sorted(other)), default=self._state.accepted)

    def _settle(self, key: K, partner: K) -> bool:
        """Keep the heavier of the two; true when that is `key`, and it passes in place of `partner`."""
        if self._take_place(key, partner):
            return True
        self.found.append(Pair(key, frozenset((partner,))))
        return False

    def _take_place(self, key: K, partner: K) -> bool:
        """Put `key` in place of `partner` if it weighs more and passes there."""
        state, options = self._state, self._state.options
        gone = (options.dependants((partner,)) | {partner}) & state.accepted
        kept = state.accepted - gone
        if options[key].weight <= options.weight(gone) or not self._passes(kept, key):
            return False
        self.found.append(Pair(partner, frozenset((key,))))
        state.exchange(key, partner, candidate=kept | {key})
        return True

    def _passes(self, accepted: frozenset[K], key: K) -> bool | None:
        if self._left <= 0:
            return None
        self._left -= 1
        answers = self._ledger.ask([Question(Phase.PAIR, accepted, frozenset((key,)))])
        return answers[0].verdict.passed if answers else None
