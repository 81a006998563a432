"""Who is to blame, on made-up services: whatever lines one cannot live with are found, and few trials are spent."""

import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.attempts import Request
from harness.judge.verdict import Outcome, Verdict
from harness.recheck import MOST_CULPRITS, Recheck
from harness.results.judgement import Tries
from harness.scenario import load
from tests.systemd import tiny

DIRECTIVES = [f"D{number:02}" for number in range(24)]
OPEN = "[Service]\nD00=no\n"
ACCEPTED = "[Service]\n" + "".join(f"{name}=yes\n" for name in DIRECTIVES)
FAILED = Tries(failed=3, reason="it broke", trial="0003", suspects=("D09", "D04 -item"))


class Service:
    """Stands for a walk: a candidate passes when `works` says so of its lines, unless its machine is in `lost`."""

    def __init__(
        self, scenario, works: Callable[[set[str]], bool], open_text: str = OPEN, lost: frozenset[int] = frozenset()
    ) -> None:
        self.scenario = scenario
        self.works = works
        self.open_text = open_text
        self.lost = lost
        self.candidates: list[set[str]] = []
        self.attempts = SimpleNamespace()

    def render(self, steps: object) -> str:
        return self.open_text

    def heard(self, phase: str, event: object) -> None:
        pass

    def judged(self, requests: Sequence[Request], baseline: object) -> list:
        found = []
        for request in requests:
            lines = set(request.drop_in.splitlines()[1:])
            self.candidates.append(lines)
            passed = self.works(lines)
            outcome = Outcome.PASS if passed else Outcome.FAIL
            if len(self.candidates) in self.lost:
                outcome = Outcome.UNRESOLVED
            observation = SimpleNamespace(exposure=None)
            found.append((Verdict(outcome, "" if passed else "it broke", trial_id="0009"), observation))
        return found


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return load(tiny.write(tmp_path_factory.mktemp("tiny")))


def recheck(service: Service, drop_in: str = ACCEPTED) -> Recheck:
    accepted = SimpleNamespace(
        drop_in=drop_in, labels=("D01=yes", "D04 -item"), without_limits=drop_in, recommendation={}
    )
    made = Recheck(service, accepted)
    made.baseline = object()
    return made


def blamed(service: Service, failed: Tries = FAILED, drop_in: str = ACCEPTED) -> set[str]:
    return {item.directive for item in recheck(service, drop_in).culprits(failed)}


@given(st.sets(st.sampled_from(DIRECTIVES), min_size=1, max_size=MOST_CULPRITS))
@settings(max_examples=200, deadline=None)
def test_all_that_break_it_are_found_and_nothing_else(scenario, breaking):
    service = Service(scenario, lambda lines: not lines & {f"{name}=yes" for name in breaking})
    assert blamed(service) == breaking
    assert len(service.candidates) <= len(breaking) * (9 + 3)


@given(st.sets(st.sampled_from(DIRECTIVES), min_size=2, max_size=2))
@settings(max_examples=100, deadline=None)
def test_of_two_that_break_it_together_one_is_enough(scenario, breaking):
    service = Service(scenario, lambda lines: not {f"{name}=yes" for name in breaking} <= lines)
    assert len(blamed(service) & breaking) == len(blamed(service)) == 1


def test_what_the_failure_points_to_is_tried_first(scenario):
    service = Service(scenario, lambda lines: "D09=yes" not in lines)
    assert blamed(service) == {"D09"}
    assert len(service.candidates) == 1 + 3


def test_a_line_set_back_is_as_it_was_before_anything_was_tightened(scenario):
    service = Service(scenario, lambda lines: "D00=yes" not in lines)
    assert blamed(service) == {"D00"}
    assert "D00=no" in service.candidates[-1]


def test_a_limit_is_known_by_its_trace(scenario):
    drop_in = f"{ACCEPTED}MemoryMax=9M\nMemorySwapMax=0\nTasksMax=7\n"
    for name, told in (("MemoryMax", "oom-kill:constraint="), ("TasksMax", "3 fork(s) rejected")):
        service = Service(scenario, lambda lines, name=name: not any(line.startswith(f"{name}=") for line in lines))
        assert blamed(service, Tries(failed=3, reason=told), drop_in) == {name}
        assert len(service.candidates) == 1 + 3
        assert ("MemorySwapMax=0" in service.candidates[-1]) == (name != "MemoryMax")


def test_labels_of_what_was_set_back_are_not_claimed(scenario):
    asked: list[Request] = []
    service = Service(scenario, lambda lines: "D04=yes" not in lines)
    judged = service.judged
    service.judged = lambda requests, baseline: asked.extend(requests) or judged(requests, baseline)
    recheck(service).culprits(Tries(failed=3, suspects=("D04 -item",)))
    assert {request.tightenings for request in asked} == {("D01=yes",)}


def test_a_service_that_fails_for_another_reason_blames_nobody(scenario):
    assert blamed(Service(scenario, lambda lines: False)) == set()


def test_passing_sometimes_is_tried_twice_as_often(scenario):
    outcomes = iter([True, False, True, True, True, True])
    tries = recheck(Service(scenario, lambda lines: next(outcomes))).as_accepted()
    assert (tries.passed, tries.failed, tries.works) == (5, 1, True)


@pytest.mark.parametrize("passes", [True, False])
def test_a_lost_machine_is_no_try(scenario, passes):
    tries = recheck(Service(scenario, lambda lines: passes, lost=frozenset({1, 2}))).as_accepted()
    assert (tries.passed, tries.failed) == ((3, 0) if passes else (0, 3))
    assert (tries.works, tries.broken) == (passes, not passes)


def test_machines_that_are_always_lost_say_nothing(scenario):
    service = Service(scenario, lambda lines: True, lost=frozenset(range(100)))
    assert not recheck(service).as_accepted().clear
    assert len(service.candidates) == 6


@pytest.mark.parametrize("lost", range(1, 8))
def test_a_machine_lost_on_the_way_blames_nobody_else(scenario, lost):
    service = Service(scenario, lambda lines: "D17=yes" not in lines, lost=frozenset({lost}))
    assert blamed(service) == {"D17"}


@pytest.mark.parametrize("passes", [True, False])
def test_what_a_deadline_cut_off_says_nothing(scenario, passes):
    service = Service(scenario, lambda lines: passes)
    made = recheck(service)
    made.stopped = lambda: len(service.candidates) >= 2
    tries = made.as_accepted()
    assert tries.count == 2
    assert not tries.clear


def test_a_service_that_fails_by_itself_is_tried_until_it_is_clear(scenario):
    chance = random.Random(5)
    for breaks in (False, True):
        made = recheck(Service(scenario, lambda lines, breaks=breaks: not breaks and chance.random() > 0.25))
        made.rate = 0.25
        tries = made.as_accepted()
        assert (tries.works, tries.broken) == (not breaks, breaks)
        assert tries.count <= 20


def test_who_is_to_blame_is_found_beside_other_failures(scenario):
    chance = random.Random(5)
    made = recheck(Service(scenario, lambda lines: "D17=yes" not in lines and chance.random() > 0.25))
    made.rate = 0.25
    assert {item.directive for item in made.culprits(FAILED)} == {"D17"}


def test_when_stopped_nothing_more_is_tried(scenario):
    service = Service(scenario, lambda lines: False)
    made = recheck(service)
    made.stopped = lambda: len(service.candidates) >= 2
    assert made.as_accepted() == Tries(failed=2, reason="it broke", trial="0009")
    assert not made.culprits(FAILED)


@pytest.mark.parametrize(
    ("rendered", "counts"),
    [
        ({"D01=yes"}, False),  # a line that the accepted drop-in has
        ({"D01=yes", "New=yes"}, True),
    ],
)
def test_what_is_in_effect_already_is_not_gained(scenario, rendered, counts):
    service = Service(scenario, lambda lines: True)

    def render(steps):
        gained = any(step.directive == "New" for step in steps)
        return "[Service]\n" + "".join(f"{line}\n" for line in (rendered if gained else {"D01=yes"}))

    accepted = "[Service]\nD01=yes\n"
    made = Recheck(service, SimpleNamespace(drop_in=accepted, labels=("D01=yes",), without_limits=accepted))
    made.baseline = object()
    gained, tries = made.gained(["New=yes"], [], render)
    assert gained == (("New=yes",) if counts else ())
    assert tries.passed == (3 if counts else 0)


def test_a_place_that_is_used_no_longer_is_gained_by_closing_it(scenario):
    """Tonight's search does not know the place, so nothing it renders leaves it open."""
    service = Service(scenario, lambda lines: "ReadWritePaths=/srv" not in lines)
    accepted = "[Service]\nD01=yes\nReadWritePaths=/srv\n"
    made = Recheck(service, SimpleNamespace(drop_in=accepted, labels=("D01=yes",), without_limits=accepted))
    made.baseline = object()
    gained, tries = made.gained(
        [], ["ReadWritePaths -/srv", "ExecPaths -/bin/sh"], lambda steps: "[Service]\nD01=yes\n"
    )
    assert gained == ("ReadWritePaths -/srv",)
    assert tries.works
