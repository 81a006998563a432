import pytest
from predicates import LOST, Predicate, flat, further, ladder, without

from harness.judge.verdict import Outcome, Verdict
from harness.search.options import Option
from harness.search.result import Budget, Pair, Phase, Settings, Stop
from harness.search.search import search

LETTERS = "abcdefghijklmnop"


def test_nothing_to_try_is_tight_without_a_trial():
    result = search([], Predicate(without()))
    assert (result.stop, result.trials, result.accepted) == (Stop.TIGHT, 0, frozenset())


def test_a_service_that_stands_everything_takes_one_trial():
    result = search(flat(LETTERS), Predicate(without()))
    assert (result.stop, result.trials) == (Stop.TIGHT, 1)
    assert result.accepted == frozenset(LETTERS)
    assert result.batches == (frozenset(LETTERS),)


def test_the_first_round_is_everything_likely_to_pass():
    attempt = Predicate(without("z"))
    search([*flat(LETTERS), *flat("yz", risk=0.5)], attempt)
    assert attempt.batches[0] == [frozenset(LETTERS)]


def test_each_refusal_has_a_witness_in_the_final_context():
    attempt = Predicate(without("c", "k"))
    result = search(flat(LETTERS), attempt)
    assert result.accepted == frozenset(LETTERS) - {"c", "k"}
    assert set(result.refused) == {"c", "k"}
    for key, refusal in result.refused.items():
        assert refusal.context == result.accepted
        assert refusal.failures >= 2
        assert refusal.witnesses
        assert set(refusal.witnesses) <= set(attempt.stored[result.accepted | {key}])


def test_the_witness_is_the_repeat():
    attempt = Predicate(without("c"))
    result = search(flat(LETTERS), attempt)
    singles = [d for d in result.decisions if d.phase is Phase.WITNESS]
    assert len(singles) == 1
    unrepeated = search(flat(LETTERS), Predicate(without("c")), settings=Settings(refusal_repeats=0))
    assert unrepeated.refused["c"].witnesses
    assert unrepeated.trials <= result.trials


def test_a_ladder_is_climbed_up_to_the_rung_that_breaks():
    result = search([*flat("abc"), *ladder("rung", 5)], Predicate(without("rung2")))
    assert result.accepted == {"a", "b", "c", "rung0", "rung1"}
    assert set(result.refused) == {"rung2"}
    assert result.unreached == {"rung3": "rung2", "rung4": "rung2"}


def test_no_candidate_has_an_option_without_what_it_requires():
    options = [*ladder("one", 4), *ladder("two", 3, risk=0.4), *flat("ab")]
    attempt = Predicate(without("one2", "two0"))
    search(options, attempt, settings=Settings(workers=3))
    for option in options:
        assert all(option.requires <= candidate for candidate in attempt.tried if option.key in candidate)


def test_near_certain_breakers_stay_out_of_groups_and_go_side_by_side():
    options = [*flat(LETTERS), *flat("xyz", risk=0.95)]
    attempt = Predicate(without("x", "y", "z"))
    result = search(options, attempt, settings=Settings(workers=3))
    everything = frozenset(LETTERS)
    assert result.trials == len(attempt.batches[0]) + 2 * 3
    alone = [everything | {"x"}, everything | {"y"}, everything | {"z"}]
    assert attempt.batches[1:] == [alone, alone]  # each refusal is repeated


def test_a_suspect_is_tested_by_leaving_it_out():
    attempt = Predicate(without("k"), suspects=("K",))
    result = search(flat(LETTERS), attempt)
    assert attempt.tried[1] == frozenset(LETTERS) - {"k"}
    assert result.trials == 3


def test_a_wrong_suspect_is_not_refused():
    result = search(flat(LETTERS), Predicate(without("k"), suspects=("C",)))
    assert set(result.refused) == {"k"}
    assert "c" in result.accepted


def test_one_false_failure_refuses_nothing():
    answers = iter([False])
    result = search(flat(LETTERS), Predicate(lambda _: next(answers, True)))
    assert result.accepted == frozenset(LETTERS)


def test_of_two_that_passed_side_by_side_the_heavier_is_kept_and_the_pair_reported():
    options = [Option("light", weight=1, risk=0.95), Option("heavy", weight=9, risk=0.95)]
    result = search(options, Predicate(lambda c: len(c) < 2), settings=Settings(workers=2))
    assert result.accepted == {"heavy"}
    assert result.pairs == (Pair("light", frozenset({"heavy"})),)


def test_a_lost_machine_is_tried_again_and_changes_nothing():
    works = Predicate(without("c"))
    calls = 0

    def attempt(candidates):
        nonlocal calls
        calls += 1
        return [LOST for _ in candidates] if calls % 3 == 0 else works(candidates)

    result = search(flat(LETTERS), attempt, settings=Settings(workers=2))
    calm = search(flat(LETTERS), Predicate(without("c")), settings=Settings(workers=2))
    assert result.stop is Stop.TIGHT
    assert (result.accepted, result.refused) == (calm.accepted, calm.refused)
    assert result.trials > calm.trials


def test_only_the_lost_half_of_a_batch_is_tried_again():
    works = Predicate(without("c"))
    sizes = []

    def attempt(candidates):
        sizes.append(len(candidates))
        verdicts = works(candidates)
        return [verdicts[0], LOST] if len(sizes) == 1 else verdicts

    search(flat(LETTERS), attempt, settings=Settings(workers=2))
    assert sizes[:2] == [2, 1]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_machine_lost_again_and_again_stops_the_search_with_what_passed(workers):
    works = Predicate(without("c"))
    rounds = 0

    def attempt(candidates):
        nonlocal rounds
        rounds += 1
        return works(candidates) if rounds <= 3 else [LOST] * len(candidates)

    result = search(flat(LETTERS), attempt, settings=Settings(workers=workers, machine_retries=3))
    assert result.stop is Stop.MACHINE_LOST
    assert rounds == 3 + 1 + 3
    assert "c" not in result.accepted
    assert not result.accepted or result.accepted in works.tried
    assert result.undecided | result.accepted | set(result.refused) | set(result.unreached) == set(LETTERS)


@pytest.mark.parametrize("limit", range(8))
def test_a_budget_stops_with_what_passed(limit):
    attempt = Predicate(without("c", "d", "k"))
    result = search(flat(LETTERS), attempt, settings=Settings(workers=2), budget=Budget(max_trials=limit))
    assert result.stop is Stop.BUDGET
    assert result.trials == limit == len(attempt.tried)
    assert not result.accepted or Outcome.PASS in {v.outcome for v in attempt.stored[result.accepted]}
    assert result.undecided


def test_a_budget_may_be_a_clock():
    asked = iter([False, False, True])
    result = search(flat(LETTERS), Predicate(without("c")), budget=Budget(expired=lambda: next(asked)))
    assert (result.stop, result.rounds) == (Stop.BUDGET, 2)


def test_repeated_acceptance_is_not_fooled_by_one_false_pass():
    lucky = iter([True])
    works = without("c")
    attempt = Predicate(lambda candidate: works(candidate) or next(lucky, False))
    result = search(flat(LETTERS), attempt, settings=Settings(acceptance_repeats=1))
    assert result.accepted == frozenset(LETTERS) - {"c"}


def test_progress_tells_phase_trials_and_weight():
    heard = []
    result = search(flat(LETTERS), Predicate(without("c")), progress=heard.append)
    assert [event.trials for event in heard] == list(range(1, result.trials + 1))
    assert heard[0].phase is Phase.PREDICT
    assert heard[-1].phase is Phase.WITNESS
    assert heard[-1].accepted_weight == len(LETTERS) - 1
    assert all(event.expected_remaining >= 0 for event in heard)


def test_the_decisions_tell_the_whole_search():
    attempt = Predicate(without("c", "k"))
    result = search(flat(LETTERS), attempt, settings=Settings(workers=2))
    assert [d.accepted | d.added for d in result.decisions] == attempt.tried
    assert [d.round for d in result.decisions] == [n for n, b in enumerate(attempt.batches, 1) for _ in b]
    assert frozenset().union(*result.batches) == result.accepted


def test_verdicts_have_to_match_the_batch():
    with pytest.raises(ValueError, match="2 candidates were tried and 1 verdicts"):
        search(flat(LETTERS), lambda _: [Verdict(Outcome.FAIL)], settings=Settings(workers=2))


def test_no_workers_is_a_mistake():
    with pytest.raises(ValueError, match="at least one worker"):
        Settings(workers=0)


def test_an_option_opened_by_a_late_acceptance_is_tried_too():
    options = [*flat("ab"), Option("low", risk=0.95), Option("high", frozenset({"low"}), risk=0.95)]
    result = search(options, Predicate(without()))
    assert result.accepted == {"a", "b", "low", "high"}
    assert further(options, result.accepted) == []
