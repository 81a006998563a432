"""The bound covers the true 99 % quantile as often as it says, whatever the peaks are drawn from."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.limits import bound

SAMPLES = 2000
Draw = Callable[[random.Random], float]


def lognormal(rng: random.Random) -> float:
    return rng.lognormvariate(0, 0.15)


def bimodal(rng: random.Random) -> float:
    return (1.3 if rng.random() < 0.1 else 1.0) * rng.normalvariate(1, 0.01)


def pareto(rng: random.Random) -> float:
    return rng.paretovariate(4)


QUANTILES = {
    lognormal: math.exp(0.15 * 2.3263),
    bimodal: 1.3 * (1 + 0.01 * 1.2816),  # 90 % of the upper tenth
    pareto: 100 ** (1 / 4),
}


def covered(draw: Draw, runs: int) -> float:
    """Share of samples of `runs` values whose bound is no smaller than the true quantile."""
    rng = random.Random(4)
    hits = sum(
        bound.upper_bound([draw(rng) for _ in range(runs)]) >= QUANTILES[draw]  # type: ignore[index]
        for _ in range(SAMPLES)
    )
    return hits / SAMPLES


# From the same simulation with another seed, less three standard errors: it must be able to fail.
@pytest.mark.parametrize(
    ("draw", "runs", "least"),
    [
        (lognormal, 10, 0.77),
        (lognormal, 20, 0.92),
        (bimodal, 10, 0.60),
        (bimodal, 20, 0.84),
        (pareto, 10, 0.44),
        (pareto, 20, 0.62),
    ],
)
def test_share_that_is_covered(draw, runs, least):
    assert covered(draw, runs) >= least


@pytest.mark.parametrize("draw", [lognormal, bimodal])
def test_it_covers_more_often_than_the_largest_value_alone(draw):
    rng = random.Random(5)
    largest = sum(max(draw(rng) for _ in range(10)) >= QUANTILES[draw] for _ in range(SAMPLES)) / SAMPLES
    assert covered(draw, 10) > largest + 0.3


@given(st.lists(st.floats(1, 1e12), min_size=2, max_size=30))
def test_never_below_what_was_seen(values):
    assert bound.upper_bound(values) >= max(values)


@given(st.lists(st.floats(1, 1e6), min_size=2, max_size=30), st.floats(0.001, 1000))
def test_it_does_not_depend_on_the_unit_of_measure(values, factor):
    scaled = bound.upper_bound([value * factor for value in values])
    assert scaled == pytest.approx(bound.upper_bound(values) * factor)


@given(st.lists(st.integers(1, 10_000), min_size=2, max_size=30))
def test_counts_leave_room_for_one_more(values):
    assert bound.upper_count(values) >= max(values) + 1


def test_equal_counts_leave_room_for_just_one():
    assert bound.upper_count([40] * 10) == 41


@pytest.mark.parametrize(("runs", "quantile"), [(5, 0.55), (10, 0.74), (20, 0.86), (30, 0.905), (59, 0.95)])
def test_what_the_largest_of_some_runs_covers(runs, quantile):
    assert bound.covered_quantile(runs) == pytest.approx(quantile, abs=0.01)


def test_a_failure_among_them_proves_less():
    assert bound.failure_at_most(14, 1) == pytest.approx(0.279, abs=0.002)  # 95 % upper limit of 1 in 15


@pytest.mark.parametrize(("clean", "most"), [(0, 1.0), (5, 0.45), (14, 0.19), (29, 0.10), (59, 0.05)])
def test_what_clean_runs_prove(clean, most):
    assert bound.failure_at_most(clean) == pytest.approx(most, abs=0.01)
