"""What stayed away counts only once it is known that it does not by chance."""

import pytest

from harness.judge.doubt import CLEARED_OFTEN, Doubts
from harness.judge.novelty import templates
from harness.judge.verdict import Outcome, Verdict
from tests.judge.facts import baseline, line, observation, verdict


def missing(*words: str) -> Verdict:
    return Verdict(Outcome.FAIL, missed=tuple(f"no longer logged: {word}" for word in words))


PASSED = Verdict(Outcome.PASS)
HELLO, OTHER, BOTH = missing("hello"), missing("other"), missing("also", "hello")
BROKEN = Verdict(Outcome.FAIL, reason="step x: exit status 1")


@pytest.mark.parametrize(
    ("again", "bare", "by_chance", "doubted"),
    [
        (HELLO, HELLO, True, True),
        (BROKEN, HELLO, True, True),
        (HELLO, PASSED, False, False),
        (BOTH, PASSED, False, False),
        (PASSED, PASSED, False, True),
        (OTHER, PASSED, False, True),
        (BROKEN, PASSED, False, True),
    ],
)
def test_what_the_next_runs_tell(again, bare, by_chance, doubted):
    doubts = Doubts()
    assert doubts.about(HELLO)
    doubts.learn(HELLO, again, bare)
    assert doubts.by_chance == ({*HELLO.missed} if by_chance else set())
    assert doubts.about(HELLO) == doubted


def test_what_comes_and_goes_is_chance_and_what_lasts_stays_so():
    doubts = Doubts()
    for _ in range(CLEARED_OFTEN):
        assert doubts.by_chance == set()
        doubts.learn(HELLO, PASSED, PASSED)
    assert doubts.by_chance == {*HELLO.missed}
    doubts = Doubts()
    doubts.learn(HELLO, HELLO, PASSED)
    for _ in range(CLEARED_OFTEN):
        doubts.learn(BOTH, PASSED, PASSED)
    assert doubts.by_chance == {BOTH.missed[0]}
    assert not doubts.about(BOTH)


def test_others_are_in_doubt_each_time():
    doubts = Doubts()
    slow = Verdict(Outcome.FAIL, only_slow=True)
    doubts.learn(slow, slow, PASSED)
    assert doubts.about(slow)
    assert doubts.about(Verdict(Outcome.FAIL, glimpsed=True))
    assert not doubts.about(BROKEN)
    assert not doubts.by_chance


def test_what_further_runs_said_with_nothing_tightened_is_no_news():
    seen = observation(journal=(line("warning: 7 misses"),))
    for said, passes in ((templates([line("warning: 9 misses")]), True), (frozenset(), False)):
        assert verdict(seen, Doubts().known(baseline(), said=said)).passed == passes
