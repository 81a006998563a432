"""Watching a unit from outside its machine: its cgroup's files read 25 times a second, in a thread of its own."""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.machine import host
from harness.machine.boot import Machine
from harness.machine.counters import UnitFiles
from harness.machine.processes import is_systemds
from harness.observation import Counters, Sampling
from harness.samples import Row

INTERVAL_S = 0.04
# Looking through /proc costs more, the more processes and descriptors there are: it may take this share of the time.
SCAN_SHARE = 0.01
SCAN_INTERVAL_S = 0.2
HOST_INTERVAL_S = 0.2
NICE = -10


class Sampler:
    """Samples one unit of a machine until it is left; `rows` are what it saw, `sampling` how well it could see."""

    def __init__(self, machine: Machine, control_group: str, *, waited_s: float = 0.0) -> None:
        self.rows: list[Row] = []
        self.now: tuple[str, str] = ("boot", "")
        self.sampling: Sampling | None = None
        self._machine = machine
        self._files = UnitFiles(machine.unit_cgroups(control_group))
        self._waited_s = waited_s
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._incarnation = 0
        self._there = False
        self._next_scan_s = 0.0
        self._next_host_s = 0.0
        self._cpu_s = 0.0

    def __enter__(self) -> Self:
        self._began = host.Load.now()
        self._own_before_usec = self._own_usec()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        self._thread.join()
        self._files.close()
        self.sampling = self._summary()

    def counters(self) -> Counters:
        """OOM kills and rejected forks as last seen of each incarnation: a cgroup that is gone cannot be asked."""
        return Counters(oom_kills=self._summed("oom_kills"), forks_rejected=self._summed("forks_rejected"))

    def _summed(self, column: str) -> int | None:
        highest: dict[object, int] = {}
        for row in self.rows:
            value = row.get(column)
            if isinstance(value, int):
                highest[row["incarnation"]] = max(value, highest.get(row["incarnation"], 0))
        return sum(highest.values()) if highest else None

    def _summary(self) -> Sampling:
        ended = host.Load.now()
        duration_s = ended.time_s - self._began.time_s
        times_s = [0.0, *(float(row["time_s"] or 0.0) for row in self.rows), duration_s]
        gaps_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
        return Sampling(
            samples=len(self.rows),
            longest_gap_s=max(gaps_s),
            cpu_s=self._cpu_s,
            duration_s=duration_s,
            waited_s=self._waited_s,
            processors=host.processors(),
            other_work_share=ended.share_since(self._began, own_usec=self._own_usec() - self._own_before_usec),
            cpu_pressure_share=ended.pressure_since(self._began),
            swap_bytes=_swap_bytes(),
        )

    def _own_usec(self) -> int:
        return self._machine.cpu_usage_usec() + int(time.process_time() * 1e6)

    def _follow(self) -> None:
        with contextlib.suppress(OSError):  # without CAP_SYS_NICE there will be more gaps, and they are recorded
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        due_s = time.monotonic()
        while not self._ends.is_set():
            self._take()
            due_s = max(due_s + INTERVAL_S, time.monotonic())
            self._ends.wait(due_s - time.monotonic())
        self._cpu_s = time.thread_time()

    def _take(self) -> None:
        now_s = time.monotonic()
        part, step = self.now
        row: Row = {"time_s": now_s - self._began.time_s, "part": part, "step": step}
        tasks = self._files.tasks()
        if tasks is not None and not self._there:
            self._incarnation += 1
        self._there = tasks is not None
        row["incarnation"] = self._incarnation
        if self._there:
            row["tasks"] = tasks
            row |= self._files.row()
            if now_s >= self._next_scan_s:
                row["fd_highest"] = highest_descriptor(self._files.pids())
                took_s = time.monotonic() - now_s
                self._next_scan_s = now_s + max(SCAN_INTERVAL_S, took_s / SCAN_SHARE)
        if now_s >= self._next_host_s:
            row["host_busy_usec"] = host.busy_usec()
            row["own_busy_usec"] = self._own_usec()
            self._next_host_s = now_s + HOST_INTERVAL_S
        self.rows.append(row)


def highest_descriptor(pids: Iterable[int]) -> int | None:
    """The highest number of a descriptor that one of the processes has open, -1 where none has; None without any."""
    highest = None
    for pid in pids:
        try:
            numbers = [int(name) for name in os.listdir(f"/proc/{pid}/fd")]  # noqa: PTH208 - a tenth of the time
        except OSError:
            continue
        most = max(numbers, default=-1)
        if (highest is None or most > highest) and not _managers(pid):
            highest = most
    return highest


def _managers(pid: int) -> bool:
    """Whether its descriptors may be those of the manager, which starts the service with its own still open."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace")  # cut at 15 bytes, perhaps within a letter
    except OSError:
        return True  # gone: nothing tells whose descriptors they were
    return is_systemds(name.rstrip("\n"))


def control_group(slice_name: str, unit: str) -> str:
    """Where systemd puts a unit's cgroup: `a-b.slice` lies in `a.slice` (systemd.slice(5))."""
    words = slice_name.removesuffix(".slice").split("-")
    slices = ["-".join(words[:number]) + ".slice" for number in range(1, len(words) + 1)]
    return "/" + "/".join([*(slices if slice_name != "-.slice" else ()), unit])


def _swap_bytes() -> int:
    lines = Path("/proc/swaps").read_text().splitlines()[1:]
    return sum(int(line.split()[2]) * 1024 for line in lines)
