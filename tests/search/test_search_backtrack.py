from dataclasses import replace

import pytest
from predicates import LOST, Predicate, flat, without

from harness.search.backtrack import bisect_accepted
from harness.search.result import Budget, Settings, Stop
from harness.search.search import search

LETTERS = "abcdefghijklmnop"
BATCHES = tuple(frozenset(LETTERS[at : at + 2]) for at in range(0, 14, 2))


@pytest.fixture
def previous():
    """A search that accepted `BATCHES`, refused o and p, and was wrong about whatever a test says."""
    result = search(flat(LETTERS), Predicate(without("o", "p")))
    return replace(result, batches=BATCHES)


@pytest.mark.parametrize("wrong", "abcdefghijklmn")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_fewest_batches_are_dropped_and_the_rest_found_again(previous, wrong, workers):
    attempt = Predicate(without(wrong, "o", "p"))
    back = bisect_accepted(flat(LETTERS), previous, attempt=attempt, settings=Settings(workers=workers))
    place = LETTERS.index(wrong) // 2
    assert back.kept == BATCHES[:place]
    assert back.dropped == BATCHES[place:]
    assert back.result.stop is Stop.TIGHT
    assert back.result.accepted == frozenset(LETTERS) - {wrong, "o", "p"}
    assert set(back.result.refused) == {wrong, "o", "p"}
    assert back.trials == len(attempt.tried)


def test_a_pass_is_believed_only_twice(previous):
    lucky = iter([True])
    works = without("a", "o", "p")
    attempt = Predicate(lambda candidate: works(candidate) or next(lucky, False))
    back = bisect_accepted(flat(LETTERS), previous, attempt=attempt)
    assert back.kept == ()
    assert back.result.accepted == frozenset(LETTERS) - {"a", "o", "p"}


def test_every_newly_accepted_batch_passed_twice(previous):
    attempt = Predicate(without("m", "o", "p"))
    back = bisect_accepted(flat(LETTERS), previous, attempt=attempt)
    assert len(attempt.stored[back.result.accepted]) >= 2


@pytest.mark.parametrize("limit", range(9))
def test_out_of_budget_it_keeps_what_is_sure(previous, limit):
    attempt = Predicate(without("e", "o", "p"))
    back = bisect_accepted(flat(LETTERS), previous, attempt=attempt, budget=Budget(max_trials=limit))
    assert back.trials <= limit
    assert back.result.stop is Stop.BUDGET
    assert "e" not in back.result.accepted
    assert frozenset().union(*back.kept) <= back.result.accepted


def test_out_of_machines_it_says_so(previous):
    back = bisect_accepted(flat(LETTERS), previous, attempt=lambda candidates: [LOST] * len(candidates))
    assert back.result.stop is Stop.MACHINE_LOST
    assert back.result.accepted == frozenset()
    assert back.trials == 1 + Settings().machine_retries
