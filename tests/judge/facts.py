"""Made-up facts to judge."""

from typing import Any

from harness.judge.baseline import Baseline
from harness.judge.rules import judge
from harness.judge.verdict import Verdict
from harness.observation import Counters, JournalLine, Observation, Process, Stage, StepResult, UnitState
from harness.scenario import Scenario
from harness.unit import catalogue

SCENARIO = Scenario.model_validate({"unit": "tiny.service", "steps": [{"name": "it", "run": "true"}]})
ALL = (1 << 41) - 1
CAP_SETUID = 1 << 7


def observation(**facts: Any) -> Observation:
    """A passing observation, but for `facts`."""
    good: dict[str, Any] = {
        "reached": Stage.DONE,
        "steps": (step("it"),),
        "at_work": UnitState("active", "running", "success", restarts=0),
        "after_stop": UnitState("inactive", "dead", "success"),
        "processes": (process("tiny"),),
        "counters": Counters(memory_peak_bytes=1, oom_kills=0, forks_rejected=0),
        "durations_s": {"start": 0.1},
    }
    return Observation("0007", "candidate", 1, 0, **{**good, **facts})


def step(name: str, problem: str = "", **more: Any) -> StepResult:
    values: dict[str, Any] = {"part": "steps", "kind": "functional", "status": 0, "duration_s": 1.0, **more}
    return StepResult(name=name, problem=problem, **values)


def process(comm: str, uid: int = 0, gid: int = 0, capabilities: int = ALL, pid: int = 40, **more: Any) -> Process:
    return Process(pid=pid, comm=comm, uid=uid, gid=gid, capabilities=capabilities, seen_at="ready", **more)


def line(message: str, priority: int = 6, *, from_manager: bool = False) -> JournalLine:
    return JournalLine(priority, "tiny", 40, message, from_manager)


def baseline(*observations: Observation) -> Baseline:
    return Baseline.of(observations or (observation(),))


def verdict(seen: Observation, before: Baseline | None = None, scenario: Scenario = SCENARIO) -> Verdict:
    return judge(scenario, seen, catalogue=catalogue.load(), baseline=before)
