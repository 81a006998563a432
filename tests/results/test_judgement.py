"""The word of a night, for every kind of evidence."""

import copy
from dataclasses import replace

import pytest

from harness.results.accepted import Accepted, limits_of
from harness.results.judgement import Culprit, Evidence, Tries, Word, judge_night
from tests.report import sample

WORKS = Tries(passed=3)
FAILS = Tries(failed=3, reason="step save: EROFS", trial="0007", suspects=("ProtectSystem",))
SOMETIMES = Tries(passed=4, failed=2, reason="step save: EROFS")
CHANGED = ("package x: 1 → 2",)


@pytest.fixture
def accepted():
    return Accepted.of_run(sample.sample())


@pytest.fixture
def now():
    return copy.deepcopy(sample.sample().recommendation)


def word(evidence: Evidence) -> Word:
    return judge_night(evidence).word


def test_nothing_accepted(now):
    assert word(Evidence(None, now=now)) is Word.UNDECIDED


def test_it_works_and_nothing_changed(accepted):
    judged = judge_night(Evidence(accepted, tries=WORKS))
    assert judged.word is Word.SAME
    assert judged.reason == "what was accepted passed 3 of 3, and nothing around it changed"


def test_it_works_and_the_search_says_the_same(accepted, now):
    assert word(Evidence(accepted, CHANGED, tries=WORKS, now=now)) is Word.SAME


def test_it_never_works(accepted, now):
    judged = judge_night(Evidence(accepted, CHANGED, tries=FAILS))
    assert judged.word is Word.BROKEN
    assert "passed 0 of 3: trial 0007, step save: EROFS; suspected: ProtectSystem" in judged.reason


def test_what_is_to_blame_is_named_with_what_is_in_its_place(accepted, now):
    blamed = Culprit("MemoryMax", ("MemoryMax=22272K",), "oom-kill", "0007", WORKS)
    next(item for item in limits_of(now) if item["directive"] == "MemoryMax")["value"] = "31M"
    judged = judge_night(Evidence(accepted, tries=FAILS, culprits=(blamed,), now=now))
    assert judged.word is Word.BROKEN
    assert judged.reason == (
        "MemoryMax=22272K: trial 0007, oom-kill; without it the rest passed 3 of 3; tonight MemoryMax=31M"
    )


def test_one_failure_of_two_is_not_enough_to_wake_anybody(accepted):
    assert word(Evidence(accepted, tries=Tries(passed=1, failed=1, reason="x"))) is Word.UNDECIDED
    assert word(Evidence(accepted, tries=Tries(failed=1, reason="x"))) is Word.UNDECIDED


@pytest.mark.parametrize(
    ("tries", "why"),
    [
        (Tries(passed=1, least=3), "passed 1 of 1: too few to tell, 3 are needed"),
        (Tries(failed=2, reason="step save: EROFS", least=3), "passed 0 of 2: step save: EROFS"),
        (Tries(least=3), "was not tried"),
    ],
)
def test_too_few_tries_say_nothing(accepted, tries, why):
    """Machines were lost, or the deadline came: neither is a pass or a failure."""
    assert not tries.clear
    judged = judge_night(Evidence(accepted, tries=tries))
    assert judged.word is Word.UNDECIDED
    assert judged.reason == f"what was accepted {why}"


def test_it_works_only_sometimes(accepted):
    judged = judge_night(Evidence(accepted, tries=SOMETIMES))
    assert judged.word is Word.UNDECIDED
    assert judged.reason == "what was accepted passed 4 of 6: step save: EROFS"


def test_one_failure_among_six_is_chance(accepted):
    assert word(Evidence(accepted, tries=Tries(passed=5, failed=1, reason="x"))) is Word.SAME


def test_the_service_fails_without_any_tightening_too(accepted):
    judged = judge_night(Evidence(accepted, tries=FAILS, unbaselined="the baseline never passes"))
    assert judged.word is Word.BROKEN
    assert "without any tightening too" in judged.reason
    assert word(Evidence(accepted, tries=WORKS, unbaselined="flaky")) is Word.UNDECIDED


def test_the_search_was_cut_off(accepted):
    judged = judge_night(Evidence(accepted, CHANGED, tries=WORKS, problem="stopped by the deadline"))
    assert judged.word is Word.UNDECIDED
    assert judged.reason == "what was accepted passed 3 of 3, but stopped by the deadline"


def test_a_gain_counts_only_when_trials_confirm_it(accepted, now):
    gained = ("PrivateNetwork=yes",)
    now["settings"].append({"label": gained[0], "directive": "PrivateNetwork", "trial": "0040"})
    evidence = Evidence(accepted, CHANGED, tries=WORKS, now=now)
    assert word(evidence) is Word.SAME
    assert "not confirmed of tonight's search: PrivateNetwork=yes" in judge_night(evidence).reason
    assert word(replace(evidence, gained=gained, tighter=FAILS)) is Word.SAME
    judged = judge_night(replace(evidence, gained=gained, tighter=WORKS))
    assert judged.word is Word.TIGHTER
    assert judged.reason == "PrivateNetwork=yes: passed 3 of 3"


def test_limits_move_only_when_a_second_fit_says_so(accepted, now):
    again = copy.deepcopy(now)
    for data in (now, again):
        item = next(item for item in limits_of(data) if item["directive"] == "MemoryMax")
        item["cliff_worked"], item["value"] = 2 * item["cliff_worked"], "44M"
    evidence = Evidence(accepted, CHANGED, tries=WORKS, now=now)
    assert word(evidence) is Word.SAME
    assert word(replace(evidence, again=copy.deepcopy(accepted.recommendation))) is Word.SAME
    judged = judge_night(replace(evidence, again=again))
    assert judged.word is Word.LIMITS
    assert judged.reason == f"MemoryMax: {limits_of(accepted.recommendation)[0]['value']} → 44M"
