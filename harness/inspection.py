"""What is asked of a machine once, before any trial: the unit as it is, its systemd, and what changes by itself."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Inspection:
    """Facts about the root tree's systemd and unit; kept in `run.json`, so that thinking again needs no machine.

    `unit_text` is what `systemctl cat` shows, `written` what changes above the root tree without the service,
    `syscall_groups` the groups of system calls that the systemd inside knows, each with all its calls. `packages` are
    the versions of those the scenario names, `installed` of all; `exposure` is systemd's of the unit as it is, None
    where it was not measured. `withheld` are capabilities that no machine of the run has.
    """

    unit_text: str
    systemd_version: int
    systemd: str
    kernel: str
    cgroups: str
    written: tuple[str, ...]
    packages: dict[str, str]
    syscall_groups: dict[str, list[str]]
    installed: dict[str, str] = field(default_factory=dict)
    exposure: float | None = None
    withheld: tuple[str, ...] = ()

    def to_facts(self) -> dict[str, Any]:
        """As plain data for `run.json`."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Self:
        """The inverse of `to_facts`."""
        return cls(**{**facts, **{name: tuple(facts.get(name, ())) for name in ("written", "withheld")}})
