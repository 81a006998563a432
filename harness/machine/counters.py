"""Files of cgroups, on cgroup v1 (hybrid) and v2: the only place that knows what they are called.

File names: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of Linux 6.x. On cgroup v1 the kernel keeps no figures
for stacks, page tables and the two kinds of slab apart; `memory.kmem.usage_in_bytes` is all of them together, slab that
could be reclaimed included. A cgroup comes and goes with every start of its unit, so files are opened again when they
vanish.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.machine import host
from harness.observation import Counters
from harness.samples import Row

READ_BYTES = 8192
# memory.stat of cgroup v2: kernel memory that reclaim cannot get back.
KERNEL_V2 = (b"kernel_stack", b"pagetables", b"sec_pagetables", b"percpu", b"slab_unreclaimable", b"sock")


class UnitFiles:
    """Files of one cgroup in all hierarchies, kept open; closed together when the cgroup is gone."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = dict(paths)
        self._open: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close them all."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def tasks(self) -> int | None:
        """Tasks now; None while there is no cgroup."""
        return self._number("pids", "pids.current", "pids.current")

    def pids(self) -> list[int]:
        """Processes in the cgroup and those below it, as a delegated one has, as host process ids."""
        directory, _ = self._directory("pids")
        return [] if directory is None else pids_below(directory)

    def cpu_usage_usec(self) -> int | None:
        """Processor time used so far."""
        # The v2 tree counts it without any controller, beside v1 controllers too. In a v1 tree the unit has a cgroup
        # only with CPUAccounting=yes.
        unified = self._fields("", "", "cpu.stat").get(b"usage_usec")
        if unified is not None:
            return unified
        nanoseconds = self._number("cpuacct", "cpuacct.usage", "")
        return None if nanoseconds is None else nanoseconds // 1000

    def oom_kills(self) -> int | None:
        """Processes of the cgroup that the kernel killed for want of memory."""
        return self._fields("memory", "memory.oom_control", "memory.events").get(b"oom_kill")

    def forks_rejected(self) -> int | None:
        """Forks refused for the limit of tasks."""
        return self._fields("pids", "pids.events", "pids.events").get(b"max")

    def peaks(self) -> Counters:
        """What the kernel counted since the cgroup was made; a field is None where this kernel does not keep it."""
        return Counters(
            memory_peak_bytes=self._number("memory", "memory.max_usage_in_bytes", "memory.peak"),
            tasks_peak=self._number("pids", "pids.peak", "pids.peak"),
            oom_kills=self.oom_kills(),
            forks_rejected=self.forks_rejected(),
            cpu_usage_usec=self.cpu_usage_usec(),
            cpu_throttled_periods=self._fields("cpu", "cpu.stat", "cpu.stat").get(b"nr_throttled"),
        )

    def row(self) -> Row:
        """What is used now, as columns of `harness.samples`."""
        return {**self._memory(), **self._cpu(), **self._events()}

    def _memory(self) -> Row:
        row: Row = {"memory_usage_bytes": self._number("memory", "memory.usage_in_bytes", "memory.current")}
        stat = self._fields("memory", "memory.stat", "memory.stat")
        if not stat:
            return row
        hierarchical = self._directory("memory")[1] == 1
        prefix = b"total_" if hierarchical else b""
        anon = stat.get(b"total_rss" if hierarchical else b"anon", 0)
        shmem = stat.get(prefix + b"shmem", 0)
        file = stat.get(b"total_cache" if hierarchical else b"file", 0) - shmem
        evictable = stat.get(prefix + b"inactive_anon", 0) + stat.get(prefix + b"active_anon", 0)
        # Locked anonymous and shared memory is on the unevictable list too, and must not be counted twice.
        locked_anon = max(0, anon + shmem - evictable)
        row["memory_anon_bytes"], row["memory_shmem_bytes"], row["memory_file_bytes"] = anon, shmem, max(0, file)
        row["memory_locked_file_bytes"] = min(file, max(0, stat.get(prefix + b"unevictable", 0) - locked_anon))
        if hierarchical:
            row["memory_kernel_bytes"] = self._number("memory", "memory.kmem.usage_in_bytes", "")
        else:
            row["memory_kernel_bytes"] = sum(stat.get(name, 0) for name in KERNEL_V2)
        return row

    def _cpu(self) -> Row:
        stat = self._fields("cpu", "cpu.stat", "cpu.stat")
        nanoseconds = stat.get(b"throttled_time")
        return {
            "cpu_periods": stat.get(b"nr_periods"),
            "cpu_throttled_periods": stat.get(b"nr_throttled"),
            "cpu_throttled_usec": stat.get(b"throttled_usec") if nanoseconds is None else nanoseconds // 1000,
            "cpu_usage_usec": self.cpu_usage_usec(),
        }

    def _events(self) -> Row:
        return {
            "oom_kills": self.oom_kills(),
            "forks_rejected": self.forks_rejected(),
            "cpu_pressure_usec": host.total_of(self._read("", "", "cpu.pressure") or b""),
            "memory_pressure_usec": host.total_of(self._read("", "", "memory.pressure") or b""),
        }

    def _directory(self, controller: str) -> tuple[Path | None, int]:
        for key, path in self._paths.items():
            if controller and controller in key.split(","):
                return path, 1
        return self._paths.get(""), 2

    def _read(self, controller: str, v1_name: str, v2_name: str) -> bytes | None:
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

    def _number(self, controller: str, v1_name: str, v2_name: str) -> int | None:
        text = (self._read(controller, v1_name, v2_name) or b"").strip()
        return int(text) if text.isdigit() else None

    def _fields(self, controller: str, v1_name: str, v2_name: str) -> dict[bytes, int]:
        words = (self._read(controller, v1_name, v2_name) or b"").split()
        return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=False) if value.isdigit()}


def pids_below(path: Path) -> list[int]:
    """Processes in the cgroup `path` and those below it; empty when it is gone.

    One of another PID namespace is listed as 0 there (v2), which kill(2) would take for the caller's own group.
    """
    pids = []
    for directory in directories(path):
        try:
            pids += [int(word) for word in (directory / "cgroup.procs").read_text().split() if word != "0"]
        except OSError:
            continue  # removed between listing and reading
    return pids


def directories(path: Path) -> Iterator[Path]:
    """The cgroup `path` and those below it, the innermost first."""
    for directory, _, _ in os.walk(path, topdown=False):
        yield Path(directory)
