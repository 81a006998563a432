"""From options to a confirmed answer, for services that fail at times by themselves."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from predicates import LOST, Predicate, Stored, flat, without

from bench.search import settled
from harness.judge.verdict import Outcome, Verdict
from harness.search.options import Option
from harness.search.result import Budget, Settings, Stop
from harness.search.sequential import BROKEN_FAILS, MOST_TRIALS, Errors, Reliability, Sequential, SequentialTest
from harness.search.settle import TRIED_AGAIN, Settled, Settling, Trials

RUNS = 100
LETTERS = "abcdefghijklmnop"
RELIABLE = Reliability(3, 0)


def never() -> Reliability:
    raise AssertionError("there was no reason to measure the baseline")


def settle(options, attempt, *, confirm=None, measure=never, reliability=RELIABLE, **more) -> Settled:
    return Settling(
        options,
        Trials(attempt, confirm or attempt, measure),
        reliability,
        confirm_runs=3,
        settings=Settings(workers=2, pair_trials=12),
        budget=more.pop("budget", Budget),
        **more,
    ).run()


@pytest.mark.parametrize(
    ("rate", "count", "breaking", "pairs"),
    [(0.05, 60, 3, 0), (0.05, 90, 8, 2), (0.05, 120, 12, 1), (0.15, 90, 8, 2), (0.15, 60, 5, 0)],
)
def test_a_flaky_service_is_found_right(rate, count, breaking, pairs):
    right = sum(settled(count, breaking, rate, seed, pairs=pairs)[0] for seed in range(RUNS))
    assert right >= 95


def test_a_reliable_service_is_never_measured_again():
    settled = settle(flat(LETTERS), Predicate(without("c", "k")))
    assert set(settled.result.refused) == {"c", "k"}
    assert settled.confirmed is Outcome.PASS
    assert len(settled.verdicts) == 3
    assert settled.reliability == RELIABLE


def test_what_fails_only_without_another_is_no_chance():
    """As a call that is made for a service which another option closes: it breaks alone, and not beside it."""
    options = [Option(key, risk=0.5 if key == "k" else 0.05) for key in LETTERS]
    works = Predicate(lambda candidate: "c" not in candidate or "k" in candidate)
    settled = settle(options, works)
    assert settled.result.accepted == set(LETTERS)
    assert settled.reliability == RELIABLE
    failed = [candidate for candidate in works.tried if "c" in candidate and "k" not in candidate]
    assert len(set(failed)) == len(failed) - TRIED_AGAIN
    # By chance the same looks alike, and does not come again.
    again = Predicate(lambda candidate: "c" not in candidate or "k" in candidate or candidate in again.stored)
    assert settle(options, again, measure=lambda: Reliability(20, 1)).reliability.flaky


def test_of_what_was_proven_before_the_pass_of_the_search_is_a_confirming_run():
    asked = []

    def confirm(candidates):
        asked.extend(candidates)
        return [Verdict(Outcome.PASS, trial_id="confirm") for _ in candidates]

    options = flat("abc", risk=0.01)
    settled = settle(options, Predicate(without()), confirm=confirm, proven_before=True)
    assert settled.confirmed is Outcome.PASS
    assert asked == [frozenset("abc")] * 2
    assert [verdict.trial_id == "confirm" for verdict in settled.verdicts] == [False, True, True]


def test_one_failed_confirming_run_of_a_flaky_service_is_no_reason_to_loosen():
    verdicts = iter([Outcome.PASS, Outcome.FAIL])

    def confirm(candidates):
        return [Verdict(next(verdicts, Outcome.PASS)) for _ in candidates]

    settled = settle(flat(LETTERS), Predicate(without("c")), confirm=confirm, measure=lambda: Reliability(20, 1))
    assert settled.confirmed is Outcome.PASS
    assert set(settled.result.accepted) == set(LETTERS) - {"c"}
    assert settled.reliability.flaky


def test_a_pass_that_was_luck_is_taken_back():
    lucky = {"f": 1}

    def works(candidate):
        if "f" in candidate and lucky["f"]:
            lucky["f"] -= 1
            return True
        return "f" not in candidate

    settled = settle(flat(LETTERS), Predicate(works), measure=lambda: Reliability(20, 0))
    assert settled.confirmed is Outcome.PASS
    assert settled.result.accepted == set(LETTERS) - {"f"}


def test_what_never_confirms_is_said_to_be_unconfirmed():
    settled = settle(
        flat(LETTERS), Predicate(without("c")), confirm=Predicate(lambda _: False), measure=lambda: Reliability(20, 0)
    )
    assert settled.confirmed is Outcome.FAIL


@pytest.mark.parametrize("reliability", [RELIABLE, Reliability(20, 1)])
def test_a_confirming_run_whose_machine_was_lost_is_made_again(reliability):
    works, asked = Predicate(without("c")), []

    def confirm(candidates):
        asked.extend(candidates)
        verdicts = works(candidates)
        return [LOST, *verdicts[1:]] if len(asked) == len(candidates) else verdicts

    settled = settle(flat(LETTERS), works, confirm=confirm, reliability=reliability)
    assert (settled.result.stop, settled.confirmed) == (Stop.TIGHT, Outcome.PASS)
    assert [verdict.outcome for verdict in settled.verdicts] == [Outcome.PASS] * 3
    assert len(asked) == 1 + 3


@pytest.mark.parametrize("reliability", [RELIABLE, Reliability(20, 1)])
def test_a_machine_lost_in_confirming_is_no_failure(reliability):
    """The run is cut off where it is: what was found so far can be gone on with."""

    def confirm(candidates):
        return [LOST] * len(candidates)

    settled = settle(flat(LETTERS), Predicate(without("c")), confirm=confirm, reliability=reliability)
    assert settled.confirmed is Outcome.UNRESOLVED
    assert settled.result.stop is Stop.MACHINE_LOST
    assert set(settled.result.accepted) == set(LETTERS) - {"c"}


def test_a_budget_that_runs_out_leaves_the_rest_undecided():
    settled = settle(flat(LETTERS), Predicate(without("c", "k")), budget=lambda: Budget(max_trials=3))
    assert settled.result.stop is Stop.BUDGET
    assert settled.confirmed is None
    assert settled.result.undecided


def test_the_rate_of_a_baseline_is_never_nothing():
    assert 0 < Reliability(20, 0).rate < 0.05 < Reliability(20, 1).rate < 0.1


@given(
    rate=st.floats(0.02, 0.3),
    false_refusal=st.sampled_from([0.001, 0.01, 0.05]),
    false_acceptance=st.sampled_from([0.001, 0.01, 0.05]),
    seed=st.integers(0, 1000),
)
def test_the_test_ends_and_says_how_often_it_was_tried(rate, false_refusal, false_acceptance, seed):
    rng = Random(seed)
    attempt = Predicate(lambda candidate: rng.random() >= rate)
    test = SequentialTest(rate, Errors(false_refusal, false_acceptance))
    (tried,) = Sequential(attempt, test).try_all([frozenset("a")])
    count = len(tried.passed) + len(tried.failed)
    assert test.decide(len(tried.passed), len(tried.failed)) is tried.verdict(test).outcome
    assert 0 < count <= MOST_TRIALS + 2


@pytest.mark.parametrize("rate", [0.05, 0.15])
def test_the_errors_of_the_test_are_as_asked(rate):
    """2,000 candidates of each kind; asked for 1 %, Wald's bounds are not exact, so three times that is allowed."""
    rng = Random(1)
    test = SequentialTest(rate, Errors(0.01, 0.01))
    good = Sequential(Predicate(lambda _: rng.random() >= rate), test)([frozenset("a")] * 2000)
    bad = Sequential(Predicate(lambda _: rng.random() >= BROKEN_FAILS), test)([frozenset("a")] * 2000)
    assert sum(verdict.failed for verdict in good) <= 60
    assert sum(verdict.passed for verdict in bad) <= 60


def test_a_lost_machine_leaves_a_candidate_undecided():
    assert Sequential(lambda candidates: [LOST] * len(candidates), SequentialTest(0.05))([frozenset("a")]) == [LOST]


def test_what_was_tried_before_a_machine_was_lost_counts():
    asked, answers = [], iter([Verdict(Outcome.PASS, trial_id="kept"), LOST])

    def attempt(candidates):
        asked.append(len(candidates))
        return [next(answers, Verdict(Outcome.PASS)) for _ in candidates]

    sequential = Sequential(attempt, SequentialTest(0.05))
    assert sequential([frozenset("a")]) == [LOST]
    (tried,) = sequential.try_all([frozenset("a")])
    assert [verdict.trial_id for verdict in tried.passed] == ["kept", ""]
    assert asked == [2, 1]
    sequential([frozenset("a")])  # asked for once more, it is tried anew
    assert asked == [2, 1, 2]


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_walking_over_what_is_stored_is_the_same_walk_whatever_was_lost(rate):
    reliability, lost = (Reliability(20, round(20 * rate)) if rate else RELIABLE), 0
    for seed in range(40):
        chance = Random(f"{rate}/{seed}")

        def works(candidate, chance=chance):
            breaks = "c" in candidate or {"e", "h"} <= candidate
            return not breaks and chance.random() >= rate

        attempt = Stored(Predicate(works), chance)
        first = settle(flat(LETTERS), attempt, measure=lambda: reliability, reliability=reliability)
        attempt.again()
        lost, trials = lost + attempt.lost, attempt.trials
        again = settle(flat(LETTERS), attempt, measure=lambda: reliability, reliability=reliability)
        assert attempt.trials == trials
        assert (again.result.accepted, again.confirmed) == (first.result.accepted, first.confirmed)
    assert lost > 20


def test_a_refusal_says_in_how_many_trials_it_failed():
    (verdict,) = Sequential(Predicate(without("a")), SequentialTest(0.05))([frozenset("a")])
    assert verdict.reason.endswith("(failed in 2 of 2 trials)")
