from dataclasses import replace

from predicates import Predicate, flat

from harness.search.options import Option
from harness.search.result import Pair, Settings, Stop
from harness.search.search import search

LETTERS = "abcdefghijklmnop"
LOOKING = Settings(pair_trials=20)


def together(*pair):
    return lambda candidate: not set(pair) <= candidate


def test_of_equal_risks_the_heavier_is_accepted_first():
    options = [*flat(LETTERS), Option("light", weight=2, risk=0.1), Option("heavy", weight=9, risk=0.1)]
    result = search(options, Predicate(together("light", "heavy")))
    assert set(result.refused) == {"light"}


def test_without_trials_for_it_an_unseen_pair_is_not_reported():
    options = [*flat(LETTERS), Option("light", weight=2, risk=0.05), Option("heavy", weight=9, risk=0.2)]
    result = search(options, Predicate(together("light", "heavy")))
    assert set(result.refused) == {"heavy"}
    assert result.pairs == ()


def test_with_trials_the_heavier_takes_the_place_of_the_lighter():
    options = [*flat(LETTERS), Option("light", weight=2, risk=0.05), Option("heavy", weight=9, risk=0.2)]
    attempt = Predicate(together("light", "heavy"))
    result = search(options, attempt, settings=LOOKING)
    assert set(result.refused) == {"light"}
    assert result.pairs == (Pair("light", frozenset({"heavy"})),)
    assert result.accepted == {*LETTERS, "heavy"}
    assert result.accepted in attempt.tried
    assert result.batches == (result.accepted,)
    assert result.refused["light"].context == result.accepted


def test_an_accepted_one_that_is_named_by_the_denial_gives_way_at_once():
    options = [*flat(LETTERS), Option("light", weight=0, risk=0.05), Option("heavy", weight=9, risk=0.95)]
    attempt = Predicate(together("light", "heavy"), suspects=("light",))
    result = search(options, attempt, settings=LOOKING)
    assert set(result.refused) == {"light"}
    assert result.pairs == (Pair("light", frozenset({"heavy"})),)
    # All but the heavy one; that as well; in place of the light one; and the light one again, as its witness.
    assert result.trials == 4
    lighter = [*flat(LETTERS), Option("light", weight=0, risk=0.95), Option("heavy", weight=9, risk=0.05)]
    result = search(lighter, Predicate(together("light", "heavy"), suspects=("heavy",)), settings=LOOKING)
    assert set(result.refused) == {"light"}
    assert result.pairs == ()


def test_what_an_option_rests_on_never_gives_way_to_it():
    options = [Option("policy", weight=0, risk=0.05), Option("strict", frozenset({"policy"}), weight=9, risk=0.95)]
    attempt = Predicate(lambda candidate: "strict" not in candidate, suspects=("policy",))
    result = search(options, attempt, settings=LOOKING)
    assert result.accepted == {"policy"}
    assert all("policy" in candidate for candidate in attempt.tried if "strict" in candidate)


def test_one_that_was_suspected_in_a_group_is_tried_in_place_of_a_lighter_one_still():
    """A denial of one in a group of many says nothing of why it fails beside what was accepted."""
    options = [
        Option("small", weight=1, risk=0.02),
        Option("big", weight=100, risk=0.05),
        *(Option(key, weight=5, risk=0.05) for key in "xyzuvwq"),
    ]

    class First(Predicate):
        """The first trial's denial names some of its group."""

        def _try(self, candidate):
            told = super()._try(candidate)
            return replace(told, suspects=("big", "x", "y")) if told.failed and len(self.stored) == 1 else told

    attempt = First(lambda candidate: not {"big", "small"} <= candidate and "q" not in candidate)
    result = search(options, attempt, settings=LOOKING)
    assert result.accepted == {"big", *"xyzuvw"}
    assert set(result.refused) == {"small", "q"}


def test_what_stands_on_the_lighter_counts_with_it():
    options = [
        *flat(LETTERS),
        Option("light", weight=2, risk=0.05),
        Option("on light", frozenset({"light"}), weight=8, risk=0.05),
        Option("heavy", weight=9, risk=0.2),
    ]
    result = search(options, Predicate(together("light", "heavy")), settings=LOOKING)
    assert set(result.refused) == {"heavy"}
    assert result.pairs == (Pair("heavy", frozenset({"light"})),)


def test_an_option_that_breaks_alone_costs_one_trial_and_is_no_pair():
    attempt = Predicate(lambda candidate: "c" not in candidate)
    plain = search(flat(LETTERS), Predicate(lambda candidate: "c" not in candidate))
    result = search(flat(LETTERS), attempt, settings=LOOKING)
    assert result.pairs == ()
    assert result.trials == plain.trials + 1
    assert attempt.tried[-1] == {"c"}


def test_looking_for_pairs_keeps_to_its_trials():
    options = [*flat(LETTERS), Option("light", weight=2, risk=0.05), Option("heavy", weight=9, risk=0.2)]
    plain = search(options, Predicate(together("light", "heavy")))
    result = search(options, Predicate(together("light", "heavy")), settings=Settings(pair_trials=3))
    assert result.stop is Stop.TIGHT
    assert result.trials == plain.trials + 3
    assert result.accepted == plain.accepted
