"""How busy the host is with other work: a busy machine says less of a service, so that runs on it are censored.

Source: proc_stat(5), `cpu` line; Documentation/accounting/psi.rst of Linux.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# With less than this share of all processors in use, the host counts as quiet.
QUIET_SHARE = 0.05
LOOK_S = 0.15


@dataclass(frozen=True)
class Load:
    """The host's counters at one moment: time now, processor time used by all, time some task waited for a processor.

    `pressure_usec` is None on a kernel without pressure stall information.
    """

    time_s: float
    busy_usec: int
    pressure_usec: int | None

    @classmethod
    def now(cls) -> Self:
        """Read them."""
        return cls(time.monotonic(), busy_usec(), pressure_usec(Path("/proc/pressure/cpu")))

    def share_since(self, before: Self, *, own_usec: int = 0) -> float:
        """Share of all processors (0 to 1) that other work took since `before`, when ours took `own_usec`."""
        available_usec = (self.time_s - before.time_s) * 1e6 * processors()
        foreign_usec = self.busy_usec - before.busy_usec - own_usec
        return min(1.0, max(0.0, foreign_usec / available_usec)) if available_usec > 0 else 0.0

    def pressure_since(self, before: Self) -> float | None:
        """Share of the time since `before` in which some task of the host waited for a processor."""
        if self.pressure_usec is None or before.pressure_usec is None or self.time_s <= before.time_s:
            return None
        return (self.pressure_usec - before.pressure_usec) / 1e6 / (self.time_s - before.time_s)


def crowding() -> float:
    """How many tasks want each processor, now or over the last minute (proc_loadavg(5)); at least 1."""
    words = Path("/proc/loadavg").read_text().split()
    return max(1.0, float(words[0]) / processors(), int(words[3].partition("/")[0]) / processors())


def processors() -> int:
    """Processors of the host that are online."""
    return os.cpu_count() or 1


def busy_usec() -> int:
    """Processor time used by everything on the host since boot, time stolen by a hypervisor included."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(word) for word in words)
    ticks = user + nice + system + irq + softirq + steal
    return ticks * 1_000_000 // os.sysconf("SC_CLK_TCK")


def pressure_usec(path: Path) -> int | None:
    """`total` of the `some` line of a pressure file; None where there is none."""
    try:
        first = path.read_text().split("\n", 1)[0]
    except OSError:
        return None
    return total_of(first.encode())


def total_of(line: bytes) -> int | None:
    """The number after `total=` in a line of a pressure file."""
    _, _, number = line.partition(b"total=")
    digits = number.split(b"\n", 1)[0].strip()
    return int(digits) if digits.isdigit() else None


def await_quiet(timeout_s: float) -> float:
    """Wait until other work leaves the processors alone, at most `timeout_s`. Returns the seconds waited.

    Nothing of this trial may run yet: all that is used meanwhile counts as other work.
    """
    began = time.monotonic()
    while True:
        before = Load.now()
        time.sleep(LOOK_S)
        waited_s = time.monotonic() - began
        if Load.now().share_since(before) <= QUIET_SHARE or waited_s >= timeout_s:
            return waited_s
