import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from predicates import flat

from harness.search.options import Options
from harness.search.split import Belief, choose_cuts, first_break, information

rows = st.lists(st.floats(0.001, 4.0), min_size=1, max_size=9)


@given(rows, st.booleans())
def test_the_first_break_is_somewhere(hazards, failing):
    chances = first_break(hazards, failing=failing)
    assert len(chances) == len(hazards) + (not failing)
    assert math.isclose(math.fsum(chances), 1.0)


@given(rows, st.integers(1, 3))
def test_cuts_are_distinct_ascending_and_inside(hazards, count):
    cuts = choose_cuts(first_break(hazards, failing=False), count)
    assert len(cuts) == min(count, len(hazards))
    assert all(0 < a < b for a, b in itertools.pairwise((*cuts, len(hazards) + 1)))


@given(rows)
def test_one_cut_is_the_most_telling_one(hazards):
    chances = first_break(hazards, failing=False)
    best = max(information(chances, [cut]) for cut in range(1, len(chances)))
    assert information(chances, choose_cuts(chances, 1)) == pytest.approx(best)


def test_cuts_of_an_even_row_are_its_quantiles():
    assert choose_cuts([0.125] * 8, 1) == (4,)
    assert choose_cuts([0.125] * 8, 3) == (2, 4, 6)
    assert information([0.125] * 8, [2, 4, 6]) == pytest.approx(2.0)


def test_a_suspicion_raises_risks_together_and_never_lowers_them():
    belief = Belief(Options(flat("abc", risk=0.1)))
    belief.suspect({"a", "b"}, 0.7)
    assert 1 - belief.pass_chance("ab") == pytest.approx(0.7)
    assert belief.risk("c") == pytest.approx(0.1)
    belief.suspect({"a"}, 0.05)
    assert belief.risk("a") > 0.4


def test_the_prior_is_scaled_by_what_is_found():
    belief = Belief(Options(flat("abcdefgh", risk=0.1)))
    belief.calibrate(decided="abcd", breaking=4)
    assert 0.1 < belief.risk("h") < 0.2
    belief.calibrate(decided="abcd", breaking=0)
    assert belief.risk("h") < 0.1
