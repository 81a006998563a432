"""Bisection finds the cliff to the asked ratio, in few trials, wherever the guess lies."""

from hypothesis import given
from hypothesis import strategies as st

from harness.limits.cliff import Bracket

CLIFFS = st.floats(1e5, 1e10)
GUESSES = st.floats(0.3, 3.0)


def search(cliff: float, guess: float, *, ratio: float = 1.03, most: int = 40) -> tuple[Bracket, int]:
    bracket = Bracket(ratio=ratio, apart=0)
    for number in range(1, most + 1):
        value = bracket.next(guess)
        bracket = bracket.heard(value, works=value >= cliff)
        if bracket.found:
            return bracket, number
    return bracket, most


@given(CLIFFS, GUESSES)
def test_the_cliff_is_between_what_failed_and_what_worked(cliff, factor):
    bracket, _ = search(cliff, cliff * factor)
    assert bracket.found
    assert bracket.failed < cliff <= bracket.worked <= bracket.failed * 1.03


@given(CLIFFS, st.floats(0.9, 1.15))
def test_few_trials_when_the_guess_is_near(cliff, factor):
    assert search(cliff, cliff * factor)[1] <= 6


@given(st.lists(st.tuples(st.floats(1, 1000), st.booleans()), max_size=30))
def test_nothing_is_taken_to_work_at_or_below_a_failure(heard):
    bracket = Bracket(ratio=1.03, apart=0)
    for value, works in heard:
        bracket = bracket.heard(value, works=works)
        if bracket.failed is not None and bracket.worked is not None:
            assert bracket.worked > bracket.failed
