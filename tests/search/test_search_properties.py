"""Random predicates: the search ends, what it accepts has passed, and nothing can be added."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from predicates import Predicate, further

from harness.search.options import Option
from harness.search.result import Budget, Settings, Stop
from harness.search.search import search

FAR_TOO_MANY = 5000


@st.composite
def option_lists(draw, most=12):
    """Options on trees: each may require one made before it."""
    count = draw(st.integers(0, most))
    made = []
    for number in range(count):
        below = draw(st.none() | st.integers(0, number - 1)) if number else None
        requires = frozenset() if below is None else frozenset({f"k{below:02}"})
        risk = draw(st.sampled_from([0.0, 0.02, 0.1, 0.4, 0.6, 0.95, 1.0]))
        made.append(Option(f"k{number:02}", requires, draw(st.integers(0, 5)), risk, f"G{number % 4}"))
    return made


ways = st.builds(
    Settings,
    workers=st.integers(1, 3),
    refusal_repeats=st.integers(0, 2),
    acceptance_repeats=st.integers(0, 1),
    pair_trials=st.sampled_from([0, 0, 20]),
)


def check_result(options, result, attempt):
    """What holds of every search of a service that always answers alike."""
    works = {candidate: verdicts[0].passed for candidate, verdicts in attempt.stored.items()}
    assert result.stop is Stop.TIGHT
    assert not result.accepted or works[result.accepted]
    assert frozenset().union(*result.batches) == result.accepted
    assert not result.undecided
    assert set(result.refused) == set(further(options, result.accepted))
    for key, refusal in result.refused.items():
        assert not works[result.accepted | {key}]
        assert refusal.witnesses
        assert not any(verdict.passed for verdict in refusal.witnesses)
    for key, because in result.unreached.items():
        assert because in result.refused
        assert key not in result.refused
    every = {option.key for option in options}
    assert every == result.accepted | set(result.refused) | set(result.unreached)
    for option in options:
        assert all(option.requires <= candidate for candidate in attempt.tried if option.key in candidate)


@settings(max_examples=150, deadline=None)
@given(option_lists(), st.data(), ways)
def test_monotone_services(options, data, way):
    keys = [option.key for option in options]
    sets = st.frozensets(st.sampled_from(keys), min_size=1, max_size=3) if keys else st.nothing()
    forbidden = data.draw(st.lists(sets, max_size=5)) if keys else []
    hints = data.draw(st.frozensets(st.sampled_from([*keys, "G1", "G2", "nothing"]), max_size=2))
    attempt = Predicate(lambda c: not any(f <= c for f in forbidden), suspects=tuple(sorted(hints)))
    result = search(options, attempt, settings=way, budget=Budget(max_trials=FAR_TOO_MANY))
    check_result(options, result, attempt)
    alone = {key for forbidden_set in forbidden if len(forbidden_set) == 1 for key in forbidden_set}
    assert not result.accepted & alone


@settings(max_examples=150, deadline=None)
@given(option_lists(), st.integers(0, 10**6), st.floats(0.0, 1.0), ways)
def test_services_that_follow_no_rule_but_answer_alike(options, seed, share, way):
    def works(candidate):
        return Random(f"{seed} {sorted(candidate)}").random() < share

    attempt = Predicate(works)
    result = search(options, attempt, settings=way, budget=Budget(max_trials=FAR_TOO_MANY))
    check_result(options, result, attempt)


@settings(max_examples=100, deadline=None)
@given(option_lists(), st.integers(0, 10**6), st.floats(0.0, 1.0), ways)
def test_services_that_answer_by_chance_still_end(options, seed, share, way):
    rng = Random(seed)
    attempt = Predicate(lambda _: rng.random() < share)
    result = search(options, attempt, settings=way, budget=Budget(max_trials=FAR_TOO_MANY))
    assert result.stop is Stop.TIGHT
    assert not result.accepted or any(v.passed for v in attempt.stored[result.accepted])
    for key, refusal in result.refused.items():
        assert set(refusal.witnesses) <= set(attempt.stored[result.accepted | {key}])


@settings(max_examples=50, deadline=None)
@given(option_lists(), st.integers(0, 10**6), ways)
def test_the_same_verdicts_give_the_same_search(options, seed, way):
    def works(candidate):
        return Random(f"{seed} {sorted(candidate)}").random() < 0.5

    one, other = Predicate(works), Predicate(works)
    assert search(options, one, settings=way) == search(list(reversed(options)), other, settings=way)
    assert one.batches == other.batches
