"""The service with nothing tightened, and what its chance means for a search, on made-up observations."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest

from harness.attempts import OBSERVE, Request
from harness.bare import MEASURING_RUNS, TRACED_AGAIN, Bare
from harness.errors import MachineError
from harness.inspection import Inspection
from harness.judge.novelty import template
from harness.observation import Observation, Seen, UnitState
from harness.tune import Only, Walk
from harness.unit import catalogue
from harness.unit.unitfile import parse_cat
from tests.judge.facts import SCENARIO, line, observation, step
from tests.report import sample

SEEN = Seen(("read",), (), ("AF_INET",), (), ("/etc/x",), (), (), (), False)
STORM = line("warning: cache miss storm", 4)
FIRST = 1 + SCENARIO.baseline_runs
BREAKING = {
    "PrivateNetwork=yes",
    "IPAddressDeny=any",
    "RestrictAddressFamilies -AF_INET",
    "MemoryDenyWriteExecute=yes",
    "ProtectHome=tmpfs",
}


class Trials:
    """Stands for trials on machines: `make` says of each, by its number from 1, what is seen."""

    def __init__(self, make: Callable[[int, Request], Observation]) -> None:
        self.make = make
        self.asked: list[Request] = []
        self.patience_s: dict[str, float] = {}

    @property
    def trials(self) -> int:
        return len(self.asked)

    def run(self, requests: Sequence[Request]) -> list[Observation]:
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Observation:
        self.asked.append(request)
        made = self.make(self.trials, request)
        named = {"trial_id": f"{self.trials:04}", "purpose": request.purpose, "tightenings": request.tightenings}
        return replace(made, seen=SEEN if request.traced and not made.lost else None, **named)


def bare(trials: Trials) -> Bare:
    unit = parse_cat("[Service]\nExecStart=/bin/sh\n")
    return Bare(SCENARIO, trials, catalogue.load(), "[Service]\n", unit=unit, keep=lambda verdicts: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("lost", [0, 1, TRACED_AGAIN])
def test_a_traced_pass_whose_machine_was_lost_is_made_again(lost):
    """Without it the candidates would be others than when the run is gone on with."""
    traced: list[Request] = []

    def make(number: int, request: Request) -> Observation:
        traced.extend([request] if request.traced else [])
        return observation(lost="machine lost" if request.traced and len(traced) <= lost else "")

    trials = Trials(make)
    made = bare(trials)
    assert len(made.run()) == SCENARIO.baseline_runs
    assert made.seen == SEEN
    assert [request.purpose for request in trials.asked].count(OBSERVE) == 1 + lost


def test_a_traced_pass_that_is_always_lost_ends_some_time():
    trials = Trials(lambda number, request: observation(lost="machine lost" if request.traced else ""))
    made = bare(trials)
    assert len(made.run()) == SCENARIO.baseline_runs
    assert made.seen is None
    assert len(trials.asked) == SCENARIO.baseline_runs + 1 + TRACED_AGAIN
    with pytest.raises(MachineError):
        bare(Trials(lambda number, request: observation(lost="" if request.traced else "machine lost"))).run()


def test_what_is_said_at_times_with_nothing_tightened_is_chance():
    def make(number: int, request: Request) -> Observation:
        return observation(journal=(STORM,) if number > FIRST and number % 5 == 0 else ())

    made = bare(Trials(make))
    made.run()
    assert not made.reliability.flaky
    measured = made.measure()
    said = [number for number in range(FIRST + 1, MEASURING_RUNS + 2) if number % 5 == 0]
    assert (measured.runs, measured.failures, measured.novel) == (MEASURING_RUNS, 0, len(said))
    assert measured.flaky
    assert made.templates == {template(STORM.message)}


def test_what_fails_at_times_and_is_not_known_then_is_a_failure():
    """Of a stop that is unclean at times nothing is learned: it fails candidates as often."""

    def make(number: int, request: Request) -> Observation:
        unclean = number > FIRST and number % 5 == 0
        return observation(after_stop=UnitState("failed", result="exit-code")) if unclean else observation()

    made = bare(Trials(make))
    made.run()
    measured = made.measure()
    assert measured.failures == len([number for number in range(FIRST + 1, MEASURING_RUNS + 2) if number % 5 == 0])
    assert measured.novel == 0


def test_what_every_run_says_is_no_chance():
    made = bare(Trials(lambda number, request: observation(journal=(STORM,))))
    made.run()
    assert not made.measure().flaky


# With these, too much was refused or nothing confirmed while warnings were no chance.
@pytest.mark.parametrize("seed", [14, 39, 41])
def test_a_service_that_warns_in_one_run_of_five_is_tuned_right(seed):
    chance = Random(seed)

    def make(number: int, request: Request) -> Observation:
        breaks = BREAKING.intersection(request.tightenings)
        warns = number > FIRST and chance.random() < 0.2
        it = step("it", "exit status 1" if breaks else "")
        return observation(steps=(it,), journal=(STORM,) if warns else (), processes=())

    inspection = Inspection.from_facts(sample.sample().facts["inspection"])
    answer = Walk(SCENARIO, inspection, Trials(make), 2, lambda paths: {}, only=Only.DIRECTIVES).run()  # type: ignore[arg-type]
    assert answer.state == "tight"
    assert {key.label for key in answer.result.refused} == BREAKING
