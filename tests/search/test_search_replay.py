import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predicates import LOST, Predicate, flat, without

from harness.judge.verdict import Outcome, Verdict
from harness.search.replay import Replay
from harness.search.result import Budget, Settings, Stop
from harness.search.search import search

LETTERS = "abcdefghijklmnop"
A, B, C = (frozenset(letter) for letter in "abc")


def no_more(candidates):
    raise AssertionError(f"nothing new should be tried: {candidates}")


def verdict(name):
    return Verdict(Outcome.PASS, trial_id=name)


def test_the_nth_request_takes_the_nth_verdict_and_the_rest_is_tried_as_one_batch():
    batches = []

    def fresh(candidates):
        batches.append(candidates)
        return [verdict(f"new {''.join(candidate)}") for candidate in candidates]

    replay = Replay({A: [verdict("a1"), verdict("a2")], C: [verdict("c1")]}, fresh)
    assert [v.trial_id for v in replay([B, A, C, A])] == ["new b", "a1", "c1", "a2"]
    assert [v.trial_id for v in replay([A, C])] == ["new a", "new c"]
    assert batches == [[B], [A, C]]
    assert (replay.served, replay.tried) == (3, 3)


def test_a_machine_lost_in_the_stored_run_is_not_served():
    replay = Replay({A: [LOST, verdict("a1"), LOST]}, lambda candidates: [verdict("new")] * len(candidates))
    assert [v.trial_id for v in replay([A, A])] == ["a1", "new"]


def test_candidates_may_be_stored_under_another_key():
    replay = Replay({"a": [verdict("a1")]}, no_more, key_of=lambda candidate: "".join(sorted(candidate)))
    assert replay([A]) == [verdict("a1")]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stored_search_is_walked_again_without_a_trial(workers):
    attempt = Predicate(without("c", "k"))
    first = search(flat(LETTERS), attempt, settings=Settings(workers=workers))
    replay = Replay(attempt.stored, no_more)
    assert search(flat(LETTERS), replay, settings=Settings(workers=workers)) == first
    assert replay.served == first.trials


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12), st.integers(1, 3), st.frozensets(st.sampled_from(LETTERS), max_size=4))
def test_a_search_that_was_cut_off_goes_on_as_if_it_had_not_been(limit, workers, breaking):
    way = Settings(workers=workers)
    whole = search(flat(LETTERS), Predicate(without(*breaking)), settings=way)
    attempt = Predicate(without(*breaking))
    cut_off = search(flat(LETTERS), attempt, settings=way, budget=Budget(max_trials=limit))
    resumed = Replay(dict(attempt.stored), attempt)
    result = search(flat(LETTERS), resumed, settings=way)
    assert (result.accepted, set(result.refused)) == (whole.accepted, set(whole.refused))
    assert result.stop is Stop.TIGHT
    assert resumed.served == cut_off.trials
    assert resumed.tried == whole.trials - cut_off.trials
