"""Watching a unit from outside its machine: its cgroup's files read 25 times a second, in a thread of its own.

File names: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of Linux 6.x. On cgroup v1 the kernel keeps no figures
for stacks, page tables and the two kinds of slab apart; `memory.kmem.usage_in_bytes` is all of them together, slab that
could be reclaimed included. The unit's cgroup comes and goes with every start, so files are opened again when they
vanish.
"""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.machine import host
from harness.machine.boot import Machine
from harness.observation import Counters, Sampling
from harness.samples import Row

INTERVAL_S = 0.04
# Looking through /proc costs more, the more processes and descriptors there are: it may take this share of the time.
SCAN_SHARE = 0.01
SCAN_INTERVAL_S = 0.2
HOST_INTERVAL_S = 0.2
NICE = -10
READ_BYTES = 8192
# memory.stat of cgroup v2: kernel memory that reclaim cannot get back.
KERNEL_V2 = (b"kernel_stack", b"pagetables", b"sec_pagetables", b"percpu", b"slab_unreclaimable", b"sock")


class _Files:
    """Files of one cgroup in all hierarchies, kept open; closed together when the cgroup is gone."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = dict(paths)
        self._open: dict[str, int] = {}

    def v1(self, controller: str) -> bool:
        """Whether a v1 hierarchy has this controller."""
        return self._directory(controller)[1] == 1

    def _directory(self, controller: str) -> tuple[Path | None, int]:
        for key, path in self._paths.items():
            if controller and controller in key.split(","):
                return path, 1
        return self._paths.get(""), 2

    def read(self, controller: str, v1_name: str, v2_name: str) -> bytes | None:
        """Content of a controller's file, by its name in either version; None while there is none."""
        directory, version = self._directory(controller)
        name = v1_name if version == 1 else v2_name
        if directory is None or not name:
            return None
        key = f"{controller}/{name}"
        try:
            if key not in self._open:
                self._open[key] = os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._open[key], READ_BYTES, 0)
        except FileNotFoundError:
            return None
        except OSError:
            self.close()  # ENODEV: the cgroup was removed; a new one may have the same path
            return None

    def close(self) -> None:
        """Close them all."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()


class Sampler:
    """Samples one unit of a machine until it is left; `rows` are what it saw, `sampling` how well it could see."""

    def __init__(self, machine: Machine, control_group: str, *, waited_s: float = 0.0) -> None:
        self.rows: list[Row] = []
        self.now: tuple[str, str] = ("boot", "")
        self.sampling: Sampling | None = None
        self._machine = machine
        self._files = _Files(machine.unit_cgroups(control_group))
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
        times_s = [float(row["time_s"] or 0.0) for row in self.rows]
        gaps_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
        return Sampling(
            samples=len(self.rows),
            longest_gap_s=max(gaps_s, default=ended.time_s - self._began.time_s),
            cpu_s=self._cpu_s,
            duration_s=ended.time_s - self._began.time_s,
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
        tasks = _number(self._files.read("pids", "pids.current", "pids.current"))
        if tasks is not None and not self._there:
            self._incarnation += 1
        self._there = tasks is not None
        row["incarnation"] = self._incarnation
        if self._there:
            row["tasks"] = tasks
            self._memory(row)
            self._cpu(row)
            self._events(row)
            if now_s >= self._next_scan_s:
                row["fd_highest"] = self._highest_descriptor()
                took_s = time.monotonic() - now_s
                self._next_scan_s = now_s + max(SCAN_INTERVAL_S, took_s / SCAN_SHARE)
        if now_s >= self._next_host_s:
            row["host_busy_usec"] = host.busy_usec()
            row["own_busy_usec"] = self._own_usec()
            self._next_host_s = now_s + HOST_INTERVAL_S
        self.rows.append(row)

    def _memory(self, row: Row) -> None:
        row["memory_usage_bytes"] = _number(self._files.read("memory", "memory.usage_in_bytes", "memory.current"))
        stat = _fields(self._files.read("memory", "memory.stat", "memory.stat"))
        if not stat:
            return
        prefix = b"total_" if self._files.v1("memory") else b""
        anon = stat.get(b"total_rss" if prefix else b"anon", 0)
        shmem = stat.get(prefix + b"shmem", 0)
        file = stat.get(b"total_cache" if prefix else b"file", 0) - shmem
        evictable = stat.get(prefix + b"inactive_anon", 0) + stat.get(prefix + b"active_anon", 0)
        # Locked anonymous and shared memory is on the unevictable list too, and must not be counted twice.
        locked_anon = max(0, anon + shmem - evictable)
        row["memory_anon_bytes"], row["memory_shmem_bytes"], row["memory_file_bytes"] = anon, shmem, max(0, file)
        row["memory_locked_file_bytes"] = min(file, max(0, stat.get(prefix + b"unevictable", 0) - locked_anon))
        if prefix:
            row["memory_kernel_bytes"] = _number(self._files.read("memory", "memory.kmem.usage_in_bytes", ""))
        else:
            row["memory_kernel_bytes"] = sum(stat.get(name, 0) for name in KERNEL_V2)

    def _cpu(self, row: Row) -> None:
        stat = _fields(self._files.read("cpu", "cpu.stat", "cpu.stat"))
        row["cpu_periods"], row["cpu_throttled_periods"] = stat.get(b"nr_periods"), stat.get(b"nr_throttled")
        nanoseconds = stat.get(b"throttled_time")
        row["cpu_throttled_usec"] = stat.get(b"throttled_usec") if nanoseconds is None else nanoseconds // 1000
        # The v2 tree counts usage without any controller, beside v1 controllers too.
        unified = _fields(self._files.read("", "", "cpu.stat")).get(b"usage_usec")
        accounted = _number(self._files.read("cpuacct", "cpuacct.usage", ""))
        row["cpu_usage_usec"] = unified if accounted is None else accounted // 1000

    def _events(self, row: Row) -> None:
        oom = _fields(self._files.read("memory", "memory.oom_control", "memory.events"))
        row["oom_kills"] = oom.get(b"oom_kill")
        row["forks_rejected"] = _fields(self._files.read("pids", "pids.events", "pids.events")).get(b"max")
        row["cpu_pressure_usec"] = host.total_of(self._files.read("", "", "cpu.pressure") or b"")
        row["memory_pressure_usec"] = host.total_of(self._files.read("", "", "memory.pressure") or b"")

    def _highest_descriptor(self) -> int | None:
        listed = self._files.read("pids", "cgroup.procs", "cgroup.procs")
        highest = None
        for pid in (listed or b"").split():
            try:
                numbers = [int(name) for name in os.listdir(b"/proc/" + pid + b"/fd")]  # noqa: PTH208 - a tenth of the time
            except OSError:
                continue
            highest = max(numbers, default=-1) if highest is None else max(highest, max(numbers, default=-1))
        return highest


def control_group(slice_name: str, unit: str) -> str:
    """Where systemd puts a unit's cgroup: `a-b.slice` lies in `a.slice` (systemd.slice(5))."""
    words = slice_name.removesuffix(".slice").split("-")
    slices = ["-".join(words[:number]) + ".slice" for number in range(1, len(words) + 1)]
    return "/" + "/".join([*(slices if slice_name != "-.slice" else ()), unit])


def _number(content: bytes | None) -> int | None:
    text = (content or b"").strip()
    return int(text) if text.isdigit() else None


def _fields(content: bytes | None) -> dict[bytes, int]:
    words = (content or b"").split()
    return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=False) if value.isdigit()}


def _swap_bytes() -> int:
    lines = Path("/proc/swaps").read_text().splitlines()[1:]
    return sum(int(line.split()[2]) * 1024 for line in lines)
