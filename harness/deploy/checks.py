"""A scenario's checks on the machine that the harness is called on, as a trial runs them in a machine of its own."""

import secrets
import shlex
import time
from pathlib import Path

from harness.errors import RolledBackError
from harness.machine import shell
from harness.scenario import INSIDE, Check, Scenario, Step, StepKind
from harness.trial import workload

FIRST_POLL_S = 0.05
LONGEST_POLL_S = 0.5


class Checks:
    """The ready check and the functional steps of a scenario, against the running unit."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        # Drawn anew each time: here the data stay, and what is there from the last time must not do.
        seed = secrets.randbelow(2**31)
        self._env = {**workload.environment(seed=seed, unit=scenario.unit), "HARNESS_DIR": str(self._folder)}

    @property
    def _folder(self) -> Path:
        return self.scenario.folder.resolve()

    @property
    def steps(self) -> list[Step]:
        """Functional steps; load is none of a deployed service's business."""
        return [step for step in self.scenario.steps if step.kind is StepKind.FUNCTIONAL]

    def longest_s(self, *, with_steps: bool) -> float:
        """The longest time that these checks may take."""
        steps = sum(step.timeout_s * step.repeat for step in self.steps) if with_steps else 0.0
        return self.scenario.ready.timeout_s + steps

    def ready(self) -> None:
        """Wait until the unit is ready. Raises RolledBackError."""
        check = self.scenario.ready
        deadline, wait_s = time.monotonic() + check.timeout_s, FIRST_POLL_S
        while problem := self._problem(check, max(0.1, deadline - time.monotonic())):
            if time.monotonic() + wait_s > deadline:
                raise RolledBackError(f"it does not become ready: {problem}")
            time.sleep(wait_s)
            wait_s = min(1.5 * wait_s, LONGEST_POLL_S)

    def run_steps(self) -> None:
        """Run the functional steps. Raises RolledBackError at the first that fails."""
        for step in self.steps:
            for _ in range(step.repeat):
                if problem := self._problem(step, step.timeout_s):
                    raise RolledBackError(f"step {step.name}: {problem}")

    def _problem(self, check: Check, timeout_s: float) -> str:
        where = shlex.quote(str(self._folder if self._folder.is_dir() else "/"))
        command = ["sh", "-c", f"cd {where}\n{check.run.replace(INSIDE, where)}"]
        as_user = ["runuser", "-u", check.user, "--"] if check.user is not None else []
        clean = ["env", "-i", *(f"{key}={value}" for key, value in self._env.items())]
        done = shell.run([*clean, *as_user, *command], timeout_s=timeout_s)
        problem = workload.unmet(check, done)
        said = done.error_text.splitlines()[-1:] if problem else []
        return problem + (f" ({said[0]})" if said else "")
