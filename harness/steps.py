"""What a scenario asks of a service: checks, steps, life-cycle actions, and how limits are fitted.

The tables of a scenario file that are about behaviour; `scenario.py` has the rest and reads the file.
"""

import re
from enum import Enum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class StepKind(Enum):
    """A functional step must work; a load step must also keep its speed."""

    FUNCTIONAL = "functional"
    LOAD = "load"


class Table(BaseModel):
    """A table of the scenario file: no unknown keys, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


class Check(Table):
    """A command line that runs inside the machine, and what is expected of it."""

    run: str = Field(min_length=1, description="Command line for /bin/sh, run inside the machine beside the service")
    status: int = Field(0, ge=0, le=255, description="Expected exit status")
    stdout_contains: str | None = Field(None, description="Text that standard output must contain")
    stdout_matches: Pattern | None = Field(None, description="Regular expression that must match in standard output")
    timeout_s: Seconds = Field(10.0, description="Seconds after which it counts as failed")
    user: str | None = Field(None, description="User inside the machine that runs it (default root)")


class Ready(Check):
    """How to know that the service is ready: `run` is repeated until it does what is expected or time is over."""

    run: str = Field("true", min_length=1, description="Command line that succeeds once the service is ready")


class Step(Check):
    """One thing the service is asked to do."""

    name: str = Field(min_length=1, max_length=60, description="Short name, unique in the scenario")
    kind: StepKind = Field(StepKind.FUNCTIONAL, description="functional, or load (its speed is judged too)")
    parser: Literal["wrk", "ab", "redis-benchmark", "pgbench", "hey", "dnsperf", "json"] | None = Field(
        None, description="For a load step: whose output says its throughput and latencies"
    )
    repeat: int = Field(1, ge=1, le=1000, description="How often it runs, one after the other")

    @model_validator(mode="after")
    def _measured(self) -> Self:
        if self.parser is not None and self.kind is not StepKind.LOAD:
            raise ValueError("`parser` goes with kind = 'load', and only with it")
        return self


class LifeCycle(Check):
    """One life-cycle action: reload, restart, a signal to the main process, or a command between them."""

    name: str = Field(min_length=1, max_length=60, description="Short name, unique in the scenario")
    do: Literal["reload", "restart", "signal", "run"] = Field("run", description="What is done")
    signal: str | None = Field(None, pattern=r"^SIG[A-Z0-9+-]+$", description="For do = 'signal', such as SIGUSR1")
    run: str = Field("", description="For do = 'run': the command line")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.do == "signal") != (self.signal is not None):
            raise ValueError("`signal` goes with do = 'signal', and only with it")
        if (self.do == "run") != bool(self.run):
            raise ValueError("`run` goes with do = 'run', and only with it")
        idle = sorted(self.model_fields_set - {"name", "do", "signal", "run", "timeout_s"})
        if self.do != "run" and idle:
            raise ValueError(f"{', '.join(idle)}: only with do = 'run'; a {self.do} has no output or status of its own")
        return self


class Flaky(Table):
    """What may be concluded about a service that fails at times by itself."""

    failure_rate_max: float = Field(0.3, ge=0, le=0.5, description="How often it may fail with nothing tightened")
    false_refusal: float = Field(0.01, ge=0.0001, le=0.2, description="Chance to refuse a candidate that works")
    false_acceptance: float = Field(0.01, ge=0.0001, le=0.2, description="Chance to accept one that does not")


# Trials for limits beside those that measure and confirm: with fewer no cliff is found.
LEAST_SEARCH = 10


class Limits(Table):
    """How limits are fitted, after the directives."""

    runs: int = Field(10, ge=5, le=100, description="Runs without limits that a bound is fitted to")
    confirm_runs: int = Field(14, ge=1, le=300, description="Clean runs at all limits together")
    max_trials: int = Field(45, ge=10, le=1000, description="Trials for limits in all")
    slowdown_max: float = Field(1.1, ge=1.0, le=100, description="Allowed slowdown of load steps at the limits")
    stalls: bool = Field(False, description="Whether the service may stand still for most of a second (CPU quota)")
    dedicated_user: bool = Field(False, description="Whether no other unit runs as its User= (LimitNPROC=)")
    memory_high: bool = Field(False, description="Whether to be slowed down before being killed (cgroup v2 only)")
    own: Literal["respect", "ignore"] = Field("respect", description="The unit's own limits as upper bounds, or not")

    def too_few(self) -> str:
        """Why `max_trials` leaves none to find a limit with; "" where it does not."""
        least = self.runs + self.confirm_runs + LEAST_SEARCH
        if self.max_trials >= least:
            return ""
        return (
            f"max_trials = {self.max_trials} is too few for runs = {self.runs} and confirm_runs = "
            f"{self.confirm_runs}: at least {least}, better {least + LEAST_SEARCH}"
        )
