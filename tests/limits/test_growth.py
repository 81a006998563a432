"""A leak is recognised with its rate; noise, filling up and a step in the load are none."""

import random

import pandas
import pytest

from harness.limits import growth

MIB = 2**20
RUNS = 300


def held(level, *, seed=1, seconds=4.0, noise=0.3 * MIB) -> pandas.DataFrame:
    """25 rows a second of `level(time_s)` with noise, in bytes."""
    rng = random.Random(seed)
    times_s = [number / 25 for number in range(int(seconds * 25))]
    return pandas.DataFrame(
        {"time_s": times_s, "needed_bytes": [level(time_s) + rng.uniform(0, noise) for time_s in times_s]}
    )


@pytest.mark.parametrize("rate_mib", [1.0, 3.0, 20.0])
def test_a_leak_with_its_rate(rate_mib):
    found = [growth.of(held(lambda t: 50 * MIB + rate_mib * MIB * t, seed=seed)) for seed in range(RUNS)]
    assert sum(item.steady for item in found) >= 0.95 * RUNS
    rates = sorted(item.bytes_per_s for item in found)
    assert rates[RUNS // 2] == pytest.approx(rate_mib * MIB, rel=0.1)


@pytest.mark.parametrize(
    "level",
    [
        lambda t: 50 * MIB,
        lambda t: 50 * MIB + (30 * MIB if t > 3 else 0),
        lambda t: 50 * MIB + min(1.0, t) * 30 * MIB,
        lambda t: 50 * MIB + (10 * MIB if int(t * 2) % 2 else 0),
        lambda t: 80 * MIB - 5 * MIB * t,
        lambda t: 5 * MIB + min(1.0, max(0.0, t - 0.6) / 2.3) * 2.6 * MIB,
    ],
    ids=["level", "a load at the end", "fills up", "goes up and down", "gives back", "adds data and comes to rest"],
)
def test_what_is_no_leak(level):
    found = [growth.of(held(level, seed=seed)) for seed in range(RUNS)]
    assert sum(item.steady for item in found) <= 0.05 * RUNS


def test_too_few_rows_say_nothing():
    assert growth.of(held(lambda t: 50 * MIB, seconds=1.0)) is None
