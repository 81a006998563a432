"""What one trial says about its candidate: the only thing the search ever learns."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """The three ways a trial can end."""

    PASS = "pass"
    FAIL = "fail"
    UNRESOLVED = "unresolved"
    """The machine was lost or could not be had: says nothing about the candidate."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one trial.

    `reason` is one short line for people and `detail` what stands behind it. `suspects` are names of
    directives (or labels of single tightenings) that a denial points to: a hint for the order of the search,
    never proof. `only_slow` marks a failure in which everything worked and a load step took too long, `glimpsed` one
    that rests on a single look at a process, `missed` is all that stayed away where that is the failure. All three are
    tried again before they count.
    `trial_id` finds the raw observation; empty where no trial was made.
    """

    outcome: Outcome
    reason: str = ""
    detail: str = ""
    suspects: tuple[str, ...] = ()
    trial_id: str = ""
    only_slow: bool = False
    glimpsed: bool = False
    missed: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """The service worked; neither FAIL nor UNRESOLVED."""
        return self.outcome is Outcome.PASS

    @property
    def failed(self) -> bool:
        """The service did not work; a lost machine is not a failure."""
        return self.outcome is Outcome.FAIL


def together(verdicts: Iterable[Verdict]) -> Outcome:
    """What runs say of which every one has to pass: a failure goes before a lost machine."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return next((each for each in (Outcome.FAIL, Outcome.UNRESOLVED) if each in outcomes), Outcome.PASS)
