"""The margin of a memory limit, from values of which everything is known."""

import pytest

from harness.limits.fit import LEAST_SCATTER, Sample, memory_limit, scatter_of_need

EVEN = (94.0, 96.0, 98.0, 100.0, 100.0, 100.0, 100.0, 102.0, 104.0, 106.0)


def test_what_scatters_evenly_scatters_as_measured():
    sample = Sample(EVEN)
    assert scatter_of_need(sample, 0) == pytest.approx(sample.scatter)
    assert sample.scatter == pytest.approx(sample.bound / 100)
    assert sample.scatter > LEAST_SCATTER


def test_a_trial_that_failed_high_by_chance_does_not_take_the_scatter_away():
    sample = Sample(EVEN)
    assert scatter_of_need(sample, 105.0) == pytest.approx(sample.scatter)


def test_one_run_that_caught_a_peak_which_all_need_is_no_scatter():
    caught = Sample((100.0,) * 9 + (130.0,))
    assert caught.scatter > 1.7
    assert scatter_of_need(caught, 128.0) == LEAST_SCATTER


def test_one_run_that_needs_more_where_less_works_is_scatter():
    sample = Sample((100.0,) * 9 + (130.0,))
    assert scatter_of_need(sample, 99.0) == pytest.approx(sample.scatter)


def test_runs_that_missed_the_peak_are_no_scatter_either():
    missed = Sample((130.0,) * 8 + (100.0, 101.0))
    assert scatter_of_need(missed, 128.0) == LEAST_SCATTER


def test_a_censored_run_keeps_the_margin_up():
    sample = Sample((100.0,) * 10, at_least=140.0, censored=1)
    assert scatter_of_need(sample, 98.0) == pytest.approx(1.4)


def test_the_limit_is_rounded_up_and_has_a_batch_for_each_other_processor():
    sample = Sample((100.0 * 2**20,) * 10)
    limit = memory_limit(100 * 2**20, sample, too_little_bytes=98 * 2**20, processors=2)
    least = LEAST_SCATTER * 100 * 2**20 + 64 * 4096
    assert least <= limit <= least + 2**20
