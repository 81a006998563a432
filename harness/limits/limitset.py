"""A set of limits as one candidate has it, and as lines of a drop-in."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from harness.unit.quantity import parse_count, parse_percent, parse_size, size_text
from harness.unit.unitfile import UnitFile

PERIOD_S = 0.1
# So that the counters are there to be read, and nothing is hidden in swap. On cgroup v1 systemd has no MemorySwapMax=.
ACCOUNTING = ("MemoryAccounting=yes", "CPUAccounting=yes", "TasksAccounting=yes", "MemorySwapMax=0")
DIRECTIVES = {
    "MemoryHigh": "memory_high_bytes",
    "MemoryMax": "memory_bytes",
    "CPUQuota": "quota_percent",
    "TasksMax": "tasks",
    "LimitNOFILE": "files",
    "LimitNPROC": "processes",
}


@dataclass(frozen=True)
class LimitSet:
    """Limits that a candidate sets; None is no limit.

    Above `memory_high_bytes` the unit is slowed down and its page cache taken, above `memory_bytes` it is killed.
    `quota_percent` is of one processor, over periods of `period_s`. `files` is the highest descriptor number plus one,
    `processes` counts those of the unit's user.
    """

    memory_bytes: int | None = None
    quota_percent: int | None = None
    period_s: float = PERIOD_S
    tasks: int | None = None
    files: int | None = None
    processes: int | None = None
    memory_high_bytes: int | None = None

    def with_(self, **values: Any) -> Self:
        """The same with some limits changed."""
        return replace(self, **values)

    def no_looser_than(self, other: Self) -> Self:
        """What is set here, limit by limit at most as loose as in `other`; what is not set stays so."""
        both = self.together_with(other)
        unset: dict[str, Any] = {item.name: None for item in fields(self) if getattr(self, item.name) is None}
        return replace(both, **unset)

    def together_with(self, other: Self) -> Self:
        """All limits of both, the tighter one where both have it."""
        tighter: dict[str, Any] = {}
        for item in fields(self):
            pair = [v for v in (getattr(self, item.name), getattr(other, item.name)) if v is not None]
            if item.name != "period_s":
                tighter[item.name] = min(pair) if pair else None
        return replace(self, **tighter)

    def settings(self) -> list[tuple[str, str]]:
        """(directive, value) of each limit that is set, as systemd writes it."""
        sizes = (("MemoryHigh", self.memory_high_bytes), ("MemoryMax", self.memory_bytes))
        found = [(name, size_text(value)) for name, value in sizes if value is not None]
        if self.quota_percent is not None:
            found.append(("CPUQuota", f"{self.quota_percent}%"))
            if self.period_s != PERIOD_S:
                found.append(("CPUQuotaPeriodSec", f"{self.period_s:g}s"))
        counts = (("TasksMax", self.tasks), ("LimitNOFILE", self.files), ("LimitNPROC", self.processes))
        return found + [(name, str(value)) for name, value in counts if value is not None]

    def lifting(self, unit: UnitFile) -> list[str]:
        """Lines that take away the limits of `unit` that are not set here, so that demand can be seen."""
        own = {key for key in (*DIRECTIVES, "MemoryLimit") if unit.values("Service", key)}
        ours = {name for name, _ in self.settings()}
        lines = [f"{key}=infinity" for key in ("MemoryMax", "MemoryHigh", "MemoryLimit") if key in own - ours]
        lines += ["CPUQuota="] if "CPUQuota" in own - ours else []
        if "CPUQuota" in ours and "CPUQuotaPeriodSec" not in ours and unit.values("Service", "CPUQuotaPeriodSec"):
            lines.append(f"CPUQuotaPeriodSec={PERIOD_S * 1000:g}ms")
        # systemd's own default is a share of what the host can take, and would cap a pool of workers without a word.
        return lines + (["TasksMax=infinity"] if "TasksMax" not in ours else [])

    def lines(self, unit: UnitFile) -> list[str]:
        """All lines of the [Service] section of a trial under these limits."""
        return [*ACCOUNTING, *self.lifting(unit), *(f"{name}={value}" for name, value in self.settings())]

    def drop_in(self, base: str, unit: UnitFile) -> str:
        """The drop-in `base`, whose last section is [Service], with these limits."""
        return base + "".join(f"{line}\n" for line in self.lines(unit))


NO_LIMITS = LimitSet()


def existing(unit: UnitFile) -> tuple[LimitSet, tuple[str, ...]]:
    """The unit's own limits, and what of them could not be understood: a share depends on the host."""
    unclear: list[str] = []

    def last(key: str, parse: Any) -> Any:
        values: Sequence[str] = unit.values("Service", key)
        try:
            if values and key != "CPUQuota" and values[-1].endswith("%"):
                raise ValueError("a share of the host's")
            return parse(values[-1]) if values else None
        except ValueError:
            unclear.append(f"{key}={values[-1]}")
            return None

    sizes = [last(key, parse_size) for key in ("MemoryMax", "MemoryLimit")]
    quota = last("CPUQuota", parse_percent)
    found = LimitSet(
        memory_bytes=next((size for size in sizes if size is not None), None),
        quota_percent=None if quota is None else max(1, int(quota)),
        tasks=last("TasksMax", parse_count),
        files=last("LimitNOFILE", lambda text: parse_count(text.split(":")[-1])),
        processes=last("LimitNPROC", lambda text: parse_count(text.split(":")[-1])),
        memory_high_bytes=last("MemoryHigh", parse_size),
    )
    return found, tuple(unclear)
