"""What the service is like before anything is tightened: the measure of every later trial."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from harness.judge.novelty import templates
from harness.observation import Observation, Process
from harness.scenario import Scenario

Identity = tuple[str, int, int]
PATIENCE_FACTOR = 6.0
PATIENCE_FLOOR_S = 2.0


@dataclass(frozen=True)
class Baseline:
    """Facts of the passing baseline runs.

    `identities` are (comm, uid, gid) seen in every run; `privileges` the capabilities ever held by each identity;
    `slowest_s` the longest duration of each step and `most_cpu_s` the most processor time the unit used in it;
    `stops` the (active state, result) pairs after the stop.
    """

    templates: frozenset[str]
    slowest_s: Mapping[str, float]
    most_cpu_s: Mapping[str, float]
    identities: frozenset[Identity]
    privileges: Mapping[Identity, int]
    states: frozenset[str]
    stops: frozenset[tuple[str, str]]
    sockets: frozenset[str]
    written: frozenset[str]

    @classmethod
    def of(cls, observations: Sequence[Observation]) -> Self:
        """Take the facts out of at least one passing observation."""
        slowest: dict[str, float] = {}
        most_cpu: dict[str, float] = {}
        for observation in observations:
            for step in observation.steps:
                slowest[step.name] = max(slowest.get(step.name, 0.0), step.duration_s)
                most_cpu[step.name] = max(most_cpu.get(step.name, 0.0), step.service_cpu_s or 0.0)
            start_s = observation.durations_s.get("start", 0.0)
            slowest["start"] = max(slowest.get("start", 0.0), start_s)
        privileges: dict[Identity, int] = {}
        for process in _processes(observations):
            privileges[identity(process)] = privileges.get(identity(process), 0) | process.capabilities
        return cls(
            templates=frozenset().union(*(templates(item.journal) for item in observations)),
            slowest_s=slowest,
            most_cpu_s=most_cpu,
            identities=frozenset.intersection(*(_identities(item.processes) for item in observations)),
            privileges=privileges,
            states=frozenset(item.at_work.active_state for item in observations),
            stops=frozenset((item.after_stop.active_state, item.after_stop.result) for item in observations),
            sockets=frozenset().union(*(item.listening for item in observations)),
            written=frozenset().union(*(item.written for item in observations)),
        )

    def patience_s(self, scenario: Scenario) -> dict[str, float]:
        """Time limits by step name: ample against what the baseline needed, so that a hang is found out soon."""
        factor = max(PATIENCE_FACTOR, 2 * scenario.slowdown_max)
        return {name: max(PATIENCE_FLOOR_S, factor * slowest) for name, slowest in self.slowest_s.items()}


def identity(process: Process) -> Identity:
    """What a process is known by from run to run: its name and whom it runs as."""
    return process.comm, process.uid, process.gid


def _processes(observations: Iterable[Observation]) -> Iterable[Process]:
    return (process for observation in observations for process in observation.processes)


def _identities(processes: Iterable[Process]) -> frozenset[Identity]:
    return frozenset(identity(process) for process in processes)
