"""The word that a night has for a service: what its trials say of what was accepted, and nothing else.

A difference between two searches may be chance. So it makes a word only where trials of just that difference, repeated,
say so too; the rest is told beside the word and pages nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from harness.judge.verdict import Outcome
from harness.results.accepted import Accepted, limits_of
from harness.results.compare import Difference, differences, moved_alike, moves
from harness.search.sequential import SequentialTest

Data = Mapping[str, Any]
MOST_TOLD = 3
# One failure among so many passes is chance.
PASSES_BESIDE_A_FLAKE = 5


class Word(Enum):
    """What a night says of a service, in one word."""

    SAME = "same"
    TIGHTER = "could be tighter"
    BROKEN = "no longer works"
    LIMITS = "limits moved"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Tries:
    """How often one candidate passed and failed; of the first failure why, its trial, and what it points to.

    `rate` is how often the service fails by itself, 0 where it never did: then the sequential test of the search says
    what the trials mean. Fewer than `least` say nothing: machines were lost, or the time was up.
    """

    passed: int = 0
    failed: int = 0
    reason: str = ""
    trial: str = ""
    suspects: tuple[str, ...] = ()
    rate: float = 0.0
    least: int = field(default=1, compare=False)

    @property
    def works(self) -> bool:
        """Whether it passed every time, but for one failure among many, or as often as the service ever does."""
        if self.count < self.least:
            return False
        if self.rate:
            return SequentialTest(self.rate).decide(self.passed, self.failed) is Outcome.PASS
        return self.passed > 0 and (self.failed == 0 or (self.failed == 1 and self.passed >= PASSES_BESIDE_A_FLAKE))

    @property
    def broken(self) -> bool:
        """Whether it failed every time, more than once, or so often that the service alone does not explain it."""
        if self.count < self.least:
            return False
        if self.rate:
            return SequentialTest(self.rate).decide(self.passed, self.failed) is Outcome.FAIL
        return self.passed == 0 and self.failed > 1

    @property
    def clear(self) -> bool:
        """Whether they say anything."""
        return self.works or self.broken

    @property
    def count(self) -> int:
        """How many there were."""
        return self.passed + self.failed

    def __str__(self) -> str:
        by_itself = f", and fails {self.rate:.0%} of the time by itself" if self.rate else ""
        return f"passed {self.passed} of {self.count}{by_itself}"


@dataclass(frozen=True)
class Culprit:
    """A directive of the accepted drop-in without which the rest of it works: `rest` are the trials of that."""

    directive: str
    lines: tuple[str, ...]
    reason: str
    trial: str
    rest: Tries


@dataclass(frozen=True)
class Evidence:
    """What one night found of one service.

    `tries` are those of the accepted drop-in. `unbaselined` says why the service does not pass without any tightening
    either, "" when it does. `culprits` are what was found to blame. `now` is tonight's recommendation, None when there
    was no search; `problem` says why there is none, or why it is not tight. `gained` are tightenings that passed on top
    of the accepted ones in `tighter`, `again` is a second fit of the limits, both where they were needed.
    `changes` are what changed around the service since it was accepted.
    """

    accepted: Accepted | None
    changes: tuple[str, ...] = ()
    tries: Tries = Tries()
    unbaselined: str = ""
    culprits: tuple[Culprit, ...] = ()
    now: Data | None = None
    problem: str = ""
    gained: tuple[str, ...] = ()
    tighter: Tries = Tries()
    again: Data | None = None


@dataclass(frozen=True)
class Judgement:
    """The word, one line that says why, and all that differs between the two recommendations."""

    word: Word
    reason: str
    differences: tuple[Difference, ...] = field(default=())


def judge_night(evidence: Evidence) -> Judgement:
    """The word for one service and night."""
    accepted, tries = evidence.accepted, evidence.tries
    if accepted is None:
        return Judgement(Word.UNDECIDED, "nothing was accepted yet" + _also(evidence.problem))
    found = tuple(differences(accepted.recommendation, evidence.now)) if evidence.now is not None else ()
    if tries.broken:
        return Judgement(Word.BROKEN, _broken(evidence, accepted), found)
    if evidence.unbaselined:
        return Judgement(Word.UNDECIDED, f"what was accepted {tries}, but {evidence.unbaselined}", found)
    if not tries.works:
        why = tries.reason or f"too few to tell, {tries.least} are needed"
        told = f"what was accepted {tries}: {why}" if tries.count else "what was accepted was not tried"
        return Judgement(Word.UNDECIDED, told + _also(evidence.problem), found)
    works = f"what was accepted {tries}"
    if evidence.now is None and not evidence.problem:
        rest = "; nothing more was searched for" if evidence.changes else ", and nothing around it changed"
        return Judgement(Word.SAME, works + rest)
    if evidence.problem:
        return Judgement(Word.UNDECIDED, f"{works}, but {evidence.problem}", found)
    if moved := _confirmed_moves(accepted, evidence):
        return Judgement(Word.LIMITS, _listed([item.what for item in moved]), found)
    if evidence.gained and evidence.tighter.works:
        return Judgement(Word.TIGHTER, f"{_listed(evidence.gained)}: {evidence.tighter}", found)
    chance = f"; not confirmed of tonight's search: {_listed([item.what for item in found])}" if found else ""
    return Judgement(Word.SAME, works + chance, found)


def _confirmed_moves(accepted: Accepted, evidence: Evidence) -> list[Difference]:
    if evidence.now is None or evidence.again is None:
        return []
    old = accepted.recommendation
    return moved_alike(moves(old, evidence.now), moves(old, evidence.again))


def _broken(evidence: Evidence, accepted: Accepted) -> str:
    tries = evidence.tries
    if evidence.unbaselined:
        return f"the service fails its scenario without any tightening too: {evidence.unbaselined}"
    if not evidence.culprits:
        suspected = f"; suspected: {', '.join(tries.suspects[:MOST_TOLD])}" if tries.suspects else ""
        return f"what was accepted {tries}: trial {tries.trial}, {tries.reason}{suspected}"
    first = evidence.culprits[0]
    names = " and ".join(line for item in evidence.culprits for line in item.lines[-1:])
    told = f"{names}: trial {first.trial}, {first.reason}; without it the rest {evidence.culprits[-1].rest}"
    now = _now(evidence, {item.directive for item in evidence.culprits})
    return f"{told}; tonight {now}" if now else told


def _now(evidence: Evidence, directives: set[str]) -> str:
    """What tonight's search has in place of what is to blame."""
    if evidence.now is None:
        return ""
    limits = [
        f"{item['directive']}={item['value']}" for item in limits_of(evidence.now) if item["directive"] in directives
    ]
    refused = [item["label"] for item in evidence.now["refused"]]
    return _listed(limits or [f"not {label}" for label in refused if _speaks_of(label, directives)])


def _speaks_of(label: str, directives: set[str]) -> bool:
    """Whether a refusal explains that a directive is to blame; exceptions from ProtectSystem= are paths."""
    name = label.partition("=")[0].partition(" ")[0]
    return name in directives or (name == "ReadWritePaths" and "ProtectSystem" in directives)


def _also(problem: str) -> str:
    return f"; {problem}" if problem else ""


def _listed(texts: Sequence[str], most: int = MOST_TOLD) -> str:
    rest = f" and {len(texts) - most} more" if len(texts) > most else ""
    return "; ".join(texts[:most]) + rest
