"""The one error family: what happened, to what, and what to do next.

Library functions raise these; only the command line prints them and turns them into an exit status.
A service that fails under a candidate is a verdict, never an exception.
"""

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit status of the command line (docs/design.md, section 6)."""

    DONE = 0
    NO_LONGER_WORKS = 1
    USAGE = 2
    BASELINE = 3
    MACHINE = 4
    BUDGET = 5


class HarnessError(Exception):
    """Something the user has to know: `message` says what happened to what, `hint` what to do next."""

    status = ExitStatus.USAGE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(HarnessError):
    """A wrong argument, or a tool, package or privilege that is missing."""


class ScenarioError(HarnessError):
    """The scenario file has mistakes; `message` lists every one with file and key."""


class UnitError(HarnessError):
    """The unit cannot be read, is unknown, or is not a service."""


class BaselineError(HarnessError):
    """The service does not pass its own scenario before anything is tightened."""

    status = ExitStatus.BASELINE


class MachineError(HarnessError):
    """A throwaway machine could not be had, or was lost."""

    status = ExitStatus.MACHINE


class RolledBackError(HarnessError):
    """A change of a deployed unit did not work here; `message` says what it is now."""

    status = ExitStatus.NO_LONGER_WORKS


class BudgetError(HarnessError):
    """The run was stopped by its budget or by the user; a partial result is written."""

    status = ExitStatus.BUDGET


class Interrupted(BudgetError):
    """The user stopped it: nothing that was to follow is begun."""
