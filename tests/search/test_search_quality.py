"""How many trials the search takes: ceilings on fixed seeds, a little above what it needs today."""

import os
import subprocess
import sys
from random import Random
from statistics import mean

import pytest

from bench.synthetic import HINT_RIGHT, HINT_WRONG, Service, make_problem, traced
from harness.search.result import Settings, Stop
from harness.search.search import search

RUNS = 40
REAL_SERVICE_TRIALS = 40 - 3 - 3
"""What a real service may take, less the baseline and the confirming runs."""


def results(count, breaking, *, pairs=True, hints=True, trace=True, workers=1, flaky=0.0):
    for seed in range(RUNS):
        rng = Random(f"{count} {breaking} {seed}")
        problem = make_problem(count, breaking, pairs=seed % 3 if pairs else 0, rng=rng)
        problem = traced(problem, rng) if trace else problem
        told = {"hint_right": HINT_RIGHT, "hint_wrong": HINT_WRONG} if hints else {}
        service = Service(problem, rng, false_failures=flaky, **told)
        result = search(problem.options, service, settings=Settings(workers=workers))
        assert result.stop is Stop.TIGHT
        assert result.trials == service.trials
        yield result, problem.is_tight(result.accepted)


@pytest.mark.parametrize(
    ("count", "breaking", "ceiling"), [(60, 3, 19), (90, 8, 33), (120, 12, 43)], ids=lambda value: str(value)
)
def test_mean_trials_with_witnesses(count, breaking, ceiling):
    found = list(results(count, breaking))
    assert all(tight for _, tight in found)
    assert mean(result.trials for result, _ in found) <= ceiling


@pytest.mark.parametrize(("count", "breaking", "ceiling"), [(60, 3, 28), (90, 8, 52), (120, 12, 72)])
def test_mean_trials_knowing_nothing(count, breaking, ceiling):
    found = list(results(count, breaking, hints=False, trace=False))
    assert all(tight for _, tight in found)
    assert mean(result.trials for result, _ in found) <= ceiling


@pytest.mark.parametrize(("count", "breaking", "ceiling"), [(60, 3, 12), (90, 8, 20), (120, 12, 27)])
def test_mean_rounds_on_two_machines(count, breaking, ceiling):
    found = list(results(count, breaking, workers=2))
    assert all(tight for _, tight in found)
    assert mean(result.rounds for result, _ in found) <= ceiling


@pytest.mark.parametrize("breaking", [5, 6])
def test_a_real_service_stays_within_what_it_may_take(breaking):
    trials = [result.trials for result, _ in results(60, breaking, pairs=False)]
    assert mean(trials) <= 22
    assert max(trials) <= REAL_SERVICE_TRIALS


def test_a_flaky_service_is_mostly_found_right():
    found = list(results(90, 8, flaky=0.05))
    assert mean(tight for _, tight in found) >= 0.9
    assert mean(result.trials for result, _ in found) <= 37


def test_the_order_of_sets_in_memory_does_not_matter():
    code = (
        "from random import Random; from bench.synthetic import *; from harness.search.search import search\n"
        "r = Random(1); p = traced(make_problem(60, 6, pairs=2, rng=r), r); s = Service(p, r, 0.7, 0.05)\n"
        "print([sorted(d.accepted | d.added) for d in search(p.options, s).decisions])"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] != ""
