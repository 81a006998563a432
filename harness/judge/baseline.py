"""What the service is like before anything is tightened: the measure of every later trial."""

import functools
import operator
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from harness.judge.novelty import is_trouble, template, templates
from harness.observation import JournalLine, Observation, Process
from harness.scenario import Scenario

Identity = tuple[str, int, int]
PATIENCE_FACTOR = 6.0
PATIENCE_FLOOR_S = 2.0
LASTING_SIGHTINGS = 3
# net.ipv4.ip_local_port_range as kernels have it.
FIRST_EPHEMERAL_PORT = 32768
_KILLED = re.compile(r"(.*) was ended by signal 31 for the system call (\w+)")
MOVING = ("/tmp/", "/var/tmp/", "/run/", "/dev/", "/etc/machine-id")


@dataclass(frozen=True)
class Baseline:
    """Facts of the passing baseline runs.

    `said` are the templates of lines that every run logged and that warn of nothing, each with one of its lines,
    `listens` the ports that the unit listened on in every run, `kept_files` those of paths that every run wrote,
    `made_before` directories that were made in every run before the unit was started, `speakers` the names under
    which every run logged anything, `lasting` the programs that every run had a lasting process of. `identities`
    are (comm, uid, gid) seen in every run, with how often in that which saw it least; `privileges` the capabilities
    ever held by each, `killed` (program, system call) of processes that a filter ended. `slowest_s` is the longest
    duration of each step, `most_cpu_s` the most processor time the unit used in it. `stops` are the (active state,
    result) pairs after the stop. `by_chance` is what was missed once (in the words of a verdict) and turned out to
    stay away by chance.
    """

    templates: frozenset[str]
    said: Mapping[str, str]
    listens: frozenset[str]
    speakers: frozenset[str]
    kept_files: frozenset[str]
    lasting: frozenset[str]
    slowest_s: Mapping[str, float]
    most_cpu_s: Mapping[str, float]
    identities: Mapping[Identity, int]
    privileges: Mapping[Identity, int]
    states: frozenset[str]
    stops: frozenset[tuple[str, str]]
    sockets: frozenset[str]
    written: frozenset[str]
    made_before: frozenset[str]
    killed: frozenset[tuple[str, str]] = frozenset()
    by_chance: frozenset[str] = frozenset()

    @classmethod
    def of(cls, observations: Sequence[Observation]) -> Self:
        """Take the facts out of at least one passing observation.

        Times of a traced one count only for steps that no other has.
        """
        plain = [item for item in observations if item.seen is None]
        slowest, most_cpu = (
            every | untraced for every, untraced in zip(_most(observations), _most(plain), strict=True)
        )
        privileges: dict[Identity, int] = {}
        for process in _processes(observations):
            privileges[identity(process)] = privileges.get(identity(process), 0) | process.capabilities
        return cls(
            templates=frozenset().union(*(templates(item.journal) for item in observations)),
            said=_said_by_all([_own(item.journal) for item in observations]),
            listens=_listens(observations),
            speakers=frozenset.intersection(*(speakers(item.journal) for item in observations)),
            kept_files=frozenset.intersection(*(file_templates(item.written) for item in observations)),
            lasting=frozenset.intersection(*(_lasting(item.processes) for item in observations)),
            slowest_s=slowest,
            most_cpu_s=most_cpu,
            identities=_in_every_run([_identities(item.processes) for item in observations]),
            privileges=privileges,
            states=frozenset(item.at_work.active_state for item in observations),
            stops=frozenset((item.after_stop.active_state, item.after_stop.result) for item in observations),
            sockets=frozenset().union(*(item.listening for item in observations)),
            written=frozenset().union(*(item.written for item in observations)),
            killed=frozenset().union(*(killed(item.kernel) for item in observations)),
            made_before=frozenset.intersection(*(frozenset(item.made_before) for item in observations)),
        )

    def slowed_by(self, observation: Observation) -> Self:
        """The same, with the times of one more passing run where they are longer."""
        slowest, most_cpu = _most([observation])
        return replace(
            self,
            slowest_s={name: max(most, slowest.get(name, 0.0)) for name, most in self.slowest_s.items()},
            most_cpu_s={name: max(most, most_cpu.get(name, 0.0)) for name, most in self.most_cpu_s.items()},
        )

    def patience_s(self, scenario: Scenario) -> dict[str, float]:
        """Time limits by step name: ample against what the baseline needed, so that a hang is found out soon."""
        factor = max(PATIENCE_FACTOR, 2 * scenario.slowdown_max)
        return {name: max(PATIENCE_FLOOR_S, factor * slowest) for name, slowest in self.slowest_s.items()}


def _most(observations: Iterable[Observation]) -> tuple[dict[str, float], dict[str, float]]:
    """The longest duration of each step, and the most processor time in it."""
    slowest: dict[str, float] = {}
    most_cpu: dict[str, float] = {}
    for observation in observations:
        for step in observation.steps:
            slowest[step.name] = max(slowest.get(step.name, 0.0), step.duration_s)
            most_cpu[step.name] = max(most_cpu.get(step.name, 0.0), step.service_cpu_s or 0.0)
        for part in ("start", "stop"):
            slowest[part] = max(slowest.get(part, 0.0), observation.durations_s.get(part, 0.0))
    return slowest, most_cpu


def identity(process: Process) -> Identity:
    """What a process is known by from run to run: its name and whom it runs as."""
    return process.comm, process.uid, process.gid


def file_templates(paths: Iterable[str]) -> frozenset[str]:
    """Paths with random parts masked; what lies in private places may move under a candidate, and is left out."""
    return frozenset(template(path) for path in paths if not path.startswith(MOVING))


def inet(sockets: Iterable[str]) -> frozenset[str]:
    """Of sockets such as `tcp 0.0.0.0:80` those of the internet that have a port."""
    return frozenset(
        socket for socket in sockets if socket.startswith(("tcp ", "udp ")) and int(socket.rpartition(":")[2] or 0) > 0
    )


def ports(sockets: Iterable[str]) -> frozenset[str]:
    """Of sockets such as `tcp 0.0.0.0:80` those of the internet whose port the kernel has not given out by itself."""
    return frozenset(socket for socket in inet(sockets) if int(socket.rpartition(":")[2]) < FIRST_EPHEMERAL_PORT)


def _listens(observations: Sequence[Observation]) -> frozenset[str]:
    """What every run listened on; a port as the kernel gives them out is the unit's own if it is the same each time."""
    of_one = inet if len(observations) > 1 else ports
    return frozenset.intersection(*(of_one(item.listening) for item in observations))


def killed(kernel: Iterable[str]) -> frozenset[tuple[str, str]]:
    """(program, system call) of each process that a filter ended; workers that are numbered are one program."""
    return frozenset((template(m[1]), m[2]) for line in kernel if (m := _KILLED.match(line)))


def _said_by_all(runs: Sequence[Sequence[JournalLine]]) -> dict[str, str]:
    by_all = frozenset.intersection(*(templates(lines) for lines in runs))
    return {shape: line.message for line in runs[0] if (shape := template(line.message)) in by_all}


def speakers(lines: Iterable[JournalLine]) -> frozenset[str]:
    """The names (SYSLOG_IDENTIFIER=) under which the service itself logged."""
    return frozenset(line.identifier for line in lines if not line.from_manager)


def _own(lines: Iterable[JournalLine]) -> list[JournalLine]:
    return [line for line in lines if not line.from_manager and not is_trouble(line)]


def _lasting(processes: Iterable[Process]) -> frozenset[str]:
    """Programs seen at several steps: a child that lives for moments is seen by chance."""
    return frozenset(process.comm for process in processes if process.sightings >= LASTING_SIGHTINGS)


def _processes(observations: Iterable[Observation]) -> Iterable[Process]:
    return (process for observation in observations for process in observation.processes)


def _identities(processes: Iterable[Process]) -> Counter[Identity]:
    found: Counter[Identity] = Counter()
    for process in processes:
        found[identity(process)] += process.sightings
    return found


def _in_every_run(runs: Sequence[Counter[Identity]]) -> dict[Identity, int]:
    return dict(functools.reduce(operator.and_, runs))  # the smaller count of each
