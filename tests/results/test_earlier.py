"""What of an earlier answer is tried first, tried again, or stands."""

from harness.judge.verdict import Outcome, Verdict
from harness.results.earlier import ACCEPTED_RISK, DOUBTED_RISK, Earlier
from harness.search.options import Option
from harness.search.search import search
from harness.unit.tightening import Tightening


def key(label: str) -> Tightening:
    return Tightening.from_label(label)


FULL, STRICT, TMP, DENIED = map(
    key, ("ProtectSystem=full", "ProtectSystem=strict", "PrivateTmp=yes", "ReadWritePaths -/srv/x")
)
HOME, HOME_TMPFS, HOME_YES = map(key, ("ProtectHome=read-only", "ProtectHome=tmpfs", "ProtectHome=yes"))
OPTIONS = [
    Option(FULL, risk=0.4),
    Option(STRICT, requires=frozenset({FULL}), risk=0.4),
    Option(TMP, risk=0.4),
    Option(DENIED, requires=frozenset({FULL, STRICT}), risk=0.5),
    Option(HOME, risk=0.4),
    Option(HOME_TMPFS, requires=frozenset({HOME}), risk=0.4),
    Option(HOME_YES, requires=frozenset({HOME, HOME_TMPFS}), risk=0.4),
]
WITNESS = Verdict(Outcome.FAIL, reason="step reads home: exit status 1", trial_id="before-1/0007")
EARLIER = Earlier("before-1", frozenset({FULL, STRICT, HOME}), {HOME_TMPFS: WITNESS}, frozenset({TMP}))


def test_accepted_first_doubted_last_standing_not_at_all():
    risks = {option.key: option.risk for option in EARLIER.options(OPTIONS)}
    assert risks == {
        FULL: ACCEPTED_RISK,
        STRICT: ACCEPTED_RISK,
        HOME: ACCEPTED_RISK,
        TMP: DOUBTED_RISK,
        DENIED: 0.5,
    }


def test_the_search_needs_few_trials_and_the_result_is_whole():
    tried: list[frozenset[Tightening]] = []

    def attempt(candidates):
        tried.extend(candidates)
        broken = [candidate & {DENIED, TMP, HOME_TMPFS, HOME_YES} for candidate in candidates]
        return [Verdict(Outcome.FAIL if found else Outcome.PASS, trial_id="0009") for found in broken]

    result = EARLIER.completed(search(EARLIER.options(OPTIONS), attempt), OPTIONS)
    assert result.accepted == {FULL, STRICT, HOME}
    assert tried[0] == {FULL, STRICT, HOME}
    assert len(tried) <= 5
    assert {name: refusal.witnesses[-1].trial_id for name, refusal in result.refused.items()} == {
        TMP: "0009",
        DENIED: "0009",
        HOME_TMPFS: "before-1/0007",
    }
    assert result.unreached == {HOME_YES: HOME_TMPFS}


def test_an_accepted_one_that_breaks_now_is_found():
    def attempt(candidates):
        return [Verdict(Outcome.FAIL if STRICT in candidate else Outcome.PASS) for candidate in candidates]

    result = EARLIER.completed(search(EARLIER.options(OPTIONS), attempt), OPTIONS)
    assert result.accepted == {FULL, HOME, TMP}
    assert STRICT in result.refused


def test_facts_come_back():
    assert Earlier.from_facts(EARLIER.to_facts()) == EARLIER
