"""What a search knows: what is accepted, which groups are known to fail, and what waits for its witness.

Every undecided option is in one of four places:

- *open*: nothing known beyond its risk;
- in a *failing group*: a set that failed on top of what was accepted, so that one of it breaks (or several
  together);
- *late*: all but certain to break, by its prior or as what is left of a failing group. It stays out of all
  groups, and is tried alone on top of everything accepted once nothing else is open. That one trial is the
  repeat which refuses it and its witness in the final context, both;
- *blocked*: it requires a late one.
"""

from typing import Generic

from harness.search.ledger import Answer
from harness.search.options import K, Options
from harness.search.split import Belief

ISOLATED = 0.95
"""Chance at which one member answers for its failing group: a mistake costs a few trials, proof one each time."""


class State(Generic[K]):
    """The knowledge of one search; it changes only by its methods."""

    def __init__(self, options: Options[K], *, accepted: frozenset[K], late_risk: float) -> None:
        self.options = options
        self.belief = Belief(options)
        self.accepted = accepted
        self.batches: list[frozenset[K]] = [accepted] if accepted else []
        self.groups: dict[frozenset[K], int] = {}
        self.suspected: set[K] = set()
        self.cleared: set[K] = set()
        self.passed_in: dict[K, frozenset[K]] = {}
        self.against: dict[K, set[int]] = {}
        self.expected_late = frozenset(key for key in options if options[key].risk >= late_risk) - accepted
        self.late = set(self.expected_late)

    @property
    def blocked(self) -> frozenset[K]:
        """Options that require a late one; late ones among them cannot be tried either."""
        return self.options.dependants(self.late)

    @property
    def undecided(self) -> frozenset[K]:
        """Options that may go into a group now."""
        return frozenset(self.options) - self.accepted - self.late - self.blocked

    def active_groups(self) -> list[frozenset[K]]:
        """Failing groups that share no member, smallest first."""
        chosen: list[frozenset[K]] = []
        for group in sorted(self.groups, key=lambda group: (len(group), self.groups[group])):
            if not any(group & other for other in chosen):
                chosen.append(group)
        return chosen

    def accept(self, candidate: frozenset[K]) -> None:
        """`candidate` passed and holds all that was accepted before."""
        added = candidate - self.accepted
        self.accepted = candidate
        self.batches.append(added)
        self.late -= added
        for key in added:
            self.against.pop(key, None)
        self._settle({group - added: trial for group, trial in self.groups.items()})

    def beside(self, candidate: frozenset[K]) -> None:
        """`candidate` passed, but another one was accepted: its members are nearly safe, not accepted."""
        rest = candidate - self.accepted
        self.passed_in.update(dict.fromkeys(rest, candidate))
        self.cleared |= rest - self.late
        self.belief.clear(rest - self.late)

    def fail(self, answer: Answer[K], *, suspect_chance: float) -> None:
        """`answer` failed. Its suspects become likelier, and its members a failing group."""
        group = answer.added - self.accepted
        suspects = self.options.matching(answer.verdict.suspects, group)
        if suspects:
            self.belief.suspect(suspects, suspect_chance)
            self.suspected |= suspects
        # What is cleared rides along in other tests. It must not once it is itself in doubt, or two failing
        # groups could be tried in turn for ever, each with the other's members riding along.
        self.cleared -= group
        self._settle({**self.groups, group: answer.number})

    def exchange(self, taken: K, given: K, *, candidate: frozenset[K]) -> None:
        """`candidate` passed and replaces `accepted`: with `taken`, and without `given` and what requires it.

        The trials that spoke against the one speak against the other: they conflict.
        """
        self.late = (self.late | {given}) - {taken}
        self.against[given] = self.against.pop(taken)
        self.accepted = candidate
        self.batches = [candidate]
        self._settle({})

    def blame(self, key: K, trial: int) -> None:
        """A trial speaks against a late option."""
        self.against.setdefault(key, set()).add(trial)

    def _settle(self, groups: dict[frozenset[K], int]) -> None:
        """Take single members out of failing groups until none is left, then keep the smallest groups."""
        while True:
            explained = self.late | self.blocked
            groups = {group: trial for group, trial in groups.items() if group and not group & explained}
            singles = ((key, group) for group in groups if (key := self._isolated(group)) is not None)
            single = next(singles, None)
            if single is None:
                break
            self.late.add(single[0])
            self.blame(single[0], groups[single[1]])
        self.groups = {group: groups[group] for group in groups if not any(other < group for other in groups)}
        self._calibrate()

    def _isolated(self, group: frozenset[K]) -> K | None:
        likeliest = max(group, key=lambda key: (self.belief.risk(key), len(self.options.required(key)), key))
        rest = self.belief.pass_chance(group - {likeliest})
        whole = self.belief.pass_chance(group)
        sure = rest * self.belief.risk(likeliest) / (1.0 - whole)
        return likeliest if len(group) == 1 or sure >= ISOLATED else None

    def _calibrate(self) -> None:
        decided = (self.accepted | self.late) - self.expected_late
        self.belief.calibrate(decided=decided, breaking=len(self.late - self.expected_late))
