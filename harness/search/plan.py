"""What to try in the next round, one test for each machine, so that the round tells most.

A test is a prefix, either of a failing group or of the options that are in none. Groups come first, since
what they hold back can be accepted as soon as they are resolved. Further machines go where they add most: to
a second cut of the same row, or to a row of their own, whose answer is independent and so tells more.

A suspect is tested by the same rule. Its raised risk moves it to the end of its failing group, and the cut just
before it is taken if it tells nearly as much as the best: the group is tried without the suspect, and if that
passes, everything else is accepted at once and a single suspect is isolated.
"""

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import Generic

from harness.search.ledger import Question
from harness.search.options import K
from harness.search.result import Phase, Settings
from harness.search.split import choose_cuts, first_break, information
from harness.search.state import State

SUSPECT_BITS = 0.8
"""What leaving out the suspects must tell at least: as much as a chance to pass between 1/4 and 3/4."""
WORTH_BITS = 0.3
"""Another machine stays idle below this: trials are counted too, and a question whose answer is known wastes one."""


@dataclass(frozen=True)
class Row(Generic[K]):
    """Options in order, the chance of each to be the first that breaks, and what is tried along with any prefix."""

    keys: tuple[K, ...]
    chances: tuple[float, ...]
    along: frozenset[K] = frozenset()
    suspects: int = 0

    def cuts(self, count: int) -> tuple[int, ...]:
        """The most telling `count` cuts; a single one goes just before the suspects if that tells enough."""
        before = len(self.keys) - self.suspects
        if count == 1 and 0 < before < len(self.keys) and information(self.chances, [before]) >= SUSPECT_BITS:
            return (before,)
        return choose_cuts(self.chances, count)

    def gain(self, count: int) -> float:
        """Bits told by `count` prefixes."""
        return information(self.chances, self.cuts(count))

    def room(self) -> int:
        """How many different cuts there are."""
        return len(self.chances) - 1

    def prefixes(self, count: int) -> list[frozenset[K]]:
        """What to add for each of `count` prefixes."""
        return [self.along.union(self.keys[:cut]) for cut in self.cuts(count)]


def plan_first(state: State[K], settings: Settings) -> list[Question[K]]:
    """The tightest predicted candidate, and with more machines smaller ones in case it fails."""
    likely = {key for key in state.undecided if state.belief.risk(key) < settings.predicted_risk}
    predicted = state.options.closed(likely, state.accepted)
    if not predicted:
        return plan_round(state, settings.workers)
    row = _row(state, predicted, failing=False)
    # A cut at the end is the candidate itself; the others are placed in the row as if it failed, and tell only then.
    inner = _row(state, predicted, failing=True)
    fails = 1 - state.belief.pass_chance(predicted)
    further = min(settings.workers - 1, inner.room())
    while further and fails * (inner.gain(further) - inner.gain(further - 1)) < WORTH_BITS:
        further -= 1
    added = [frozenset(row.keys), *(inner.prefixes(further) if further else ())]
    return [Question(Phase.PREDICT, state.accepted, keys) for keys in added]


def plan_round(state: State[K], workers: int) -> list[Question[K]]:
    """Up to `workers` different tests; none when every option is accepted, late or blocked."""
    rows = _rows(state)
    share = [0] * len(rows)
    for machine in range(workers):
        gains = [
            row.gain(cuts + 1) - row.gain(cuts) if cuts < row.room() else -1.0
            for row, cuts in zip(rows, share, strict=True)
        ]
        if not gains or max(gains) < 0 or (machine and max(gains) < WORTH_BITS):
            break
        share[gains.index(max(gains)) if machine else 0] += 1
    added = {keys: None for row, cuts in zip(rows, share, strict=True) for keys in row.prefixes(cuts)}
    return [Question(Phase.NARROW, state.accepted, keys) for keys in added]


def expected_trials(state: State[K], settings: Settings) -> float:
    """A rough count of the trials still to come: one for each bit not known, and what each refusal still lacks."""
    needed = 1 + settings.refusal_repeats
    waiting = [key for key in state.late if not state.options.required(key) & state.late]
    total = float(sum(max(0, needed - len(state.against.get(key, ()))) for key in waiting))
    for row in _rows(state):
        total += information(row.chances, range(1, len(row.chances)))
    return total + math.fsum(state.belief.risk(key) for key in state.undecided)


def _rows(state: State[K]) -> list[Row[K]]:
    groups = state.active_groups()
    grouped = frozenset[K]().union(*groups)
    cleared = state.undecided & state.cleared
    rows = [_row(state, group, failing=True, along=cleared - grouped) for group in groups]
    free = state.options.closed(state.undecided - grouped, state.accepted)
    return [*rows, _row(state, free, failing=False)] if free else rows


def _row(state: State[K], keys: frozenset[K], *, failing: bool, along: frozenset[K] = frozenset()) -> Row[K]:
    ordered = state.options.ordered(keys, state.belief.hazard)
    chances = first_break([state.belief.hazard(key) for key in ordered], failing=failing)
    suspects = sum(1 for _ in takewhile(state.suspected.__contains__, reversed(ordered))) if failing else 0
    return Row(ordered, tuple(chances), state.options.closed(along, state.accepted), suspects)
