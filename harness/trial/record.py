"""What a trial collects on its way, and what is read from the machine at its end."""

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from harness import samples
from harness.errors import MachineError
from harness.judge.novelty import shape, template
from harness.machine import processes
from harness.machine.boot import Machine
from harness.machine.kernel import KernelLog
from harness.machine.overlay import Overlay
from harness.machine.sampler import Sampler
from harness.machine.service import Service, journal_lines, shortened
from harness.observation import Counters, JournalLine, Observation, Process, StepResult
from harness.unit.dropin import FILE_NAME

# Of templates: a start that says less or more of them must not push others in or out.
KEPT_LINES = 2000
KEPT_FILE_LINES = 2000
LOG_BYTES = 256 * 1024
KEPT_CHARACTERS = 4 * 1024 * 1024


class StopTrial(Exception):
    """The trial has seen enough: a step failed. Carries nothing; the record holds what happened."""


class Record:
    """What a trial collects on its way; becomes an observation at the end."""

    def __init__(self, observation: Observation) -> None:
        self.observation = observation
        self.steps: list[StepResult] = []
        self.processes: dict[tuple[int, int, int, int], Process] = {}
        self.host_pids: set[int] = set()
        self.sockets: set[str] = set()
        self.cgroup_ids: set[int] = set()
        self.counters = Counters()
        self.sampler: Sampler | None = None

    def update(self, **values: object) -> None:
        """Set fields of the observation."""
        self.observation = replace(self.observation, **values)  # type: ignore[arg-type]

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long the block takes, however it ends, as `durations_s[name]`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.observation.durations_s[name] = time.monotonic() - began

    def at(self, part: str, step: str) -> None:
        """Say what the trial does from now on, for the samples."""
        if self.sampler is not None:
            self.sampler.now = part, step

    def step(self, result: StepResult) -> None:
        """Keep a step's result; a failed one ends the workload."""
        self.steps.append(result)
        if not result.ok:
            raise StopTrial

    def see(self, service: Service, *, at: str) -> None:
        """Note the unit's processes and sockets now."""
        pids = service.pids()
        self.host_pids.update(pids)
        self.cgroup_ids |= service.cgroup_ids()
        for process in processes.snapshot(service.machine.leader, pids, seen_at=at):
            key = process.pid, process.uid, process.gid, process.capabilities
            before = self.processes.get(key)
            if before is not None:
                peak_bytes = process.memory_peak_bytes or before.memory_peak_bytes
                process = replace(before, sightings=before.sightings + 1, memory_peak_bytes=peak_bytes)
            self.processes[key] = process
        self.sockets.update(processes.sockets(service.machine.leader, pids))

    def collect(self, unit: str, *, machine: Machine, kernel: KernelLog) -> "Raw":
        """Read journal, log files, kernel lines and written paths, while the machine is still there."""
        pids = frozenset(process.pid for process in self.processes.values())
        records = Service(machine, unit).journal()
        changed = machine.overlay.changed()
        lines = _distinct(journal_lines(records, unit, pids), most=KEPT_LINES) + _log_files(machine.overlay, changed)
        kernel_lines = kernel.lines(machine.name, self.host_pids)
        kept = tuple(kernel_lines[-KEPT_LINES:])
        self.update(journal=tuple(lines), kernel=kept, written=readable(changed))
        return Raw(tuple(records), tuple(kernel_lines))

    def write_samples(self, folder: Path) -> None:
        """Keep the samples, if any were taken. Raises MachineError when the disk does not take them."""
        if self.sampler is None:
            return
        try:
            samples.write(folder / samples.FILE_NAME, self.sampler.rows)
        except OSError as error:
            raise MachineError(f"cannot keep the samples in {folder}: {error}") from error

    def finished(self) -> Observation:
        """The observation with all that was collected."""
        if self.sampler is not None:
            seen = self.sampler.counters()
            self.counters = replace(
                self.counters,
                oom_kills=_larger(self.counters.oom_kills, seen.oom_kills),
                forks_rejected=_larger(self.counters.forks_rejected, seen.forks_rejected),
            )
            self.update(sampling=self.sampler.sampling)
        self.update(
            steps=tuple(self.steps),
            processes=tuple(self.processes.values()),
            listening=tuple(sorted(self.sockets)),
            counters=self.counters,
        )
        return self.observation


@dataclass(frozen=True)
class Raw:
    """Journal records and kernel lines in full, as kept in a trial's folder."""

    journal: tuple[dict[str, object], ...]
    kernel: tuple[str, ...]

    def write(self, folder: Path, drop_in: str) -> None:
        """Keep them beside the drop-in that was tried. Raises MachineError when the disk does not take them."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / FILE_NAME).write_text(drop_in, encoding="utf-8")
            _write_lines(folder / "journal.jsonl", (json.dumps(item) for item in self.journal))
            _write_lines(folder / "kernel.txt", self.kernel)
        except OSError as error:
            raise MachineError(f"cannot keep what was seen in {folder}: {error}") from error


def _larger(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return max(known) if known else None


def _distinct(lines: Iterable[JournalLine], *, most: int) -> list[JournalLine]:
    """One line for each template, the last `most` of them, and all of the manager's.

    A judgement compares templates; a chatty service must push out neither rare lines nor why it failed.
    """
    kept: dict[tuple[bool, str], JournalLine] = {}
    known: set[tuple[bool, str]] = set()
    manager = []
    for line in lines:
        if line.from_manager:
            manager.append(line)
        alike = line.from_manager, shape(line.message)
        if alike not in known:
            known.add(alike)
            kept.setdefault((line.from_manager, template(line.message)), line)
    own = [line for (from_manager, _), line in kept.items() if not from_manager]
    return manager[-most:] + own[-most:]


def readable(paths: Iterable[str]) -> tuple[str, ...]:
    """Paths as text: names may be any bytes, and no drop-in or page can hold those that are not UTF-8."""
    return tuple(os.fsencode(path).decode("utf-8", "replace") for path in paths)


def _log_files(overlay: Overlay, written: Iterable[str]) -> list[JournalLine]:
    """What was appended to log files: many services log there and not to the journal.

    What holds a NUL is no text: /var/log/wtmp has records, whose bytes would read as a line that is new each time.
    """
    lines = []
    logs = f"/{overlay.resolve('/var/log')}/"  # a link where logs have a disk of their own
    for path in written:
        added = overlay.added_text(path, most_bytes=LOG_BYTES) if path.startswith(logs) else ""
        texts = added.splitlines() if "\0" not in added else []
        found = [
            JournalLine(priority=6, identifier=name, pid=None, message=shortened(text), from_manager=False)
            for name in readable([path])
            for text in texts
        ]
        lines += _distinct(found, most=KEPT_FILE_LINES)
    return lines


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write the beginning and the end of many lines: a service may log for ever, and a night has many trials."""
    with path.open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(line + "\n" for line in bounded(list(lines)))


def bounded(lines: list[str], *, most: int = KEPT_CHARACTERS) -> list[str]:
    """The lines without the middle ones, so that what is left has at most about `most` characters."""
    if sum(map(len, lines)) <= most:
        return lines
    return [*_first(lines, most // 2), *reversed(_first(lines[::-1], most // 2))]


def _first(lines: list[str], most: int) -> list[str]:
    ends = accumulate(map(len, lines))
    return [line for line, end in zip(lines, ends, strict=True) if end <= most]
