import pytest
from predicates import flat, ladder

from harness.search.options import MIN_RISK, Option, Options, hazard_of


def test_order_is_chance_to_break_then_weight_then_key():
    options = Options([Option("c"), Option("d", weight=5), Option("b"), Option("a", risk=0.2), Option("e", risk=0.01)])
    hazard = {key: hazard_of(options[key].risk) for key in options}
    assert options.ordered(list(options), hazard.__getitem__) == ("e", "d", "b", "c", "a")


def test_a_safe_rung_comes_after_the_risky_one_it_requires():
    options = Options([*flat("x", risk=0.3), Option("low", risk=0.5), Option("high", frozenset(("low",)), risk=0.0)])
    hazard = {key: hazard_of(options[key].risk) for key in options}
    assert options.ordered(list(options), hazard.__getitem__) == ("x", "low", "high")
    assert options.ordered(["x", "high"], hazard.__getitem__) == ("high", "x"), "what is required is decided"


def test_requirements_are_followed_all_the_way():
    options = Options(ladder("r", 4))
    assert options.required("r3") == {"r0", "r1", "r2"}
    assert options.dependants(["r1"]) == {"r2", "r3"}
    assert options.closed({"r1", "r2", "r3"}, frozenset()) == frozenset()
    assert options.closed({"r1", "r3"}, frozenset({"r0"})) == {"r1"}


def test_suspects_match_by_group_or_key():
    options = Options([*ladder("Protect", 2), *flat("ab")])
    assert options.matching(("Protect",), options) == {"Protect0", "Protect1"}
    assert options.matching(("a", "B"), options) == {"a", "b"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([Option("a"), Option("a")], "the same key"),
        ([Option("a", frozenset("b"))], "'a' requires 'b', which is not an option"),
        ([Option("a", frozenset("b")), Option("b", frozenset("a"))], "requires itself"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(options)


def test_no_risk_is_certain():
    assert hazard_of(0.0) == hazard_of(MIN_RISK) > 0
    assert hazard_of(1.0) < 5
