"""What the scenario asks of the limits, and what is known of them so far."""

from dataclasses import dataclass, field
from enum import Enum

from harness.errors import HarnessError
from harness.limits.cliff import Bracket
from harness.limits.fit import Sample
from harness.limits.growth import Growth
from harness.limits.limitset import NO_LIMITS, LimitSet
from harness.limits.run import Run


class Stopped(HarnessError):
    """The walk ends here: its budget is spent, or there is nothing to go on with."""


class CutOff(Stopped):
    """The user or the machine ended it, or a stored run holds no more: it can be gone on with."""


class State(Enum):
    """How far the limits got."""

    CONFIRMED = "confirmed"
    UNCONFIRMED = "unconfirmed"
    PARTIAL = "partial"
    NOT_ENOUGH_DATA = "not enough data"


@dataclass(frozen=True)
class Settings:
    """What the scenario says of its limits; `own` are the unit's own ones, upper bounds of all that is tried.

    `stalls` allows a quota over periods of a second, `dedicated_user` says that no other unit runs as its user,
    `memory_high` asks for MemoryHigh= and can be had on cgroup v2 only.
    """

    runs: int = 10
    confirm_runs: int = 14
    max_trials: int = 45
    slowdown_max: float = 1.10
    start_slowdown_max: float = 1.25
    stalls: bool = False
    dedicated_user: bool = False
    memory_high: bool = False
    leave_alone: frozenset[str] = frozenset()
    own: LimitSet = NO_LIMITS


@dataclass
class Found:
    """What is known of the limits so far: the runs, and what each limit was fitted to.

    `limits` are those to recommend, as they stand. `measured` ran without any, `tried` in search of a cliff or knee,
    `confirming` at the limits together. `eased` are limits that were the same but for a tighter quota, under which
    runs were clean: they would be at these. `refused` holds the run that speaks against a directive,
    `lifted` the lines that take away a limit of the unit's own beside those that were found.
    """

    limits: LimitSet = NO_LIMITS
    measured: list[Run] = field(default_factory=list)
    tried: list[Run] = field(default_factory=list)
    confirming: list[Run] = field(default_factory=list)
    eased: list[LimitSet] = field(default_factory=list)
    needed: Sample | None = None
    leak: Growth | None = None
    memory_cliff: Bracket | None = None
    knee: Bracket | None = None
    tasks: Sample | None = None
    tasks_cliff: Bracket | None = None
    window: Sample | None = None
    quota: Bracket | None = None
    files: Sample | None = None
    refused: dict[str, Run] = field(default_factory=dict)
    lifted: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    slowdown: tuple[float, str] = (1.0, "")
    state: State = State.PARTIAL
    stop: str = ""

    @property
    def trials(self) -> int:
        """Trials made for limits."""
        return len(self.measured) + len(self.tried) + len(self.confirming)

    @property
    def at_limits(self) -> list[Run]:
        """Confirming runs at the limits as they are now, or at a quota that was eased."""
        quota = self.limits.quota_percent
        eased = [limits for limits in self.eased if limits.with_(quota_percent=quota) == self.limits]
        return [run for run in self.confirming if run.limits in (self.limits, *eased)]

    @property
    def at_quota(self) -> list[Run]:
        """Those of them with the quota as it is now."""
        return [run for run in self.confirming if run.limits == self.limits]

    @property
    def clean(self) -> int:
        """How many of those were without failure."""
        return sum(run.passed for run in self.at_limits)

    @property
    def failed(self) -> int:
        """How many of those failed in a way that no counter connects with a limit."""
        return len(self.at_limits) - self.clean

    def note(self, text: str) -> None:
        """Say something about the limits once."""
        if text not in self.notes:
            self.notes.append(text)
