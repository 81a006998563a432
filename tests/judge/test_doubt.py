"""What stayed away counts only once it is known that it does not by chance."""

import pytest

from harness.judge.doubt import Doubts
from harness.judge.verdict import Outcome, Verdict

PASSED = Verdict(Outcome.PASS)
HELLO, OTHER = (Verdict(Outcome.FAIL, missed=f"no longer logged: {word}") for word in ("hello", "other"))
BROKEN = Verdict(Outcome.FAIL, reason="step x: exit status 1")


@pytest.mark.parametrize(
    ("again", "bare", "by_chance", "doubted"),
    [
        (PASSED, PASSED, True, True),
        (OTHER, PASSED, True, True),
        (HELLO, HELLO, True, True),
        (BROKEN, HELLO, True, True),
        (HELLO, PASSED, False, False),
        (BROKEN, PASSED, False, True),
    ],
)
def test_what_the_next_runs_tell(again, bare, by_chance, doubted):
    doubts = Doubts()
    assert doubts.about(HELLO)
    doubts.learn(HELLO, again, bare)
    assert (HELLO.missed in doubts.by_chance) == by_chance
    assert doubts.about(HELLO) == doubted


def test_others_are_in_doubt_each_time():
    doubts = Doubts()
    slow = Verdict(Outcome.FAIL, only_slow=True)
    doubts.learn(slow, slow, PASSED)
    assert doubts.about(slow)
    assert doubts.about(Verdict(Outcome.FAIL, glimpsed=True))
    assert not doubts.about(BROKEN)
    assert not doubts.by_chance
