"""A scenario's checks on the machine that the harness is called on, as a trial runs them in a machine of its own."""

import os
import time
from pathlib import Path

from harness.errors import RolledBackError
from harness.machine import shell
from harness.scenario import INSIDE, Check, Scenario, StepKind
from harness.trial import workload

FIRST_POLL_S = 0.05
LONGEST_POLL_S = 0.5


class Checks:
    """The ready check and the functional steps of a scenario, against the running unit."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._env = {**workload.environment(seed=scenario.seed, unit=scenario.unit), "HARNESS_DIR": str(self._folder)}

    @property
    def _folder(self) -> Path:
        return self.scenario.folder.resolve()

    @property
    def steps(self) -> list[Check]:
        """Functional steps; load is none of a deployed service's business."""
        return [step for step in self.scenario.steps if step.kind is StepKind.FUNCTIONAL]

    def longest_s(self, *, with_steps: bool) -> float:
        """The longest time that these checks may take."""
        steps = sum(step.timeout_s * getattr(step, "repeat", 1) for step in self.steps) if with_steps else 0.0
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
            for _ in range(getattr(step, "repeat", 1)):
                if problem := self._problem(step, step.timeout_s):
                    raise RolledBackError(f"step {getattr(step, 'name', '')}: {problem}")

    def _problem(self, check: Check, timeout_s: float) -> str:
        where = self._folder if self._folder.is_dir() else Path("/")
        command = ["sh", "-c", f"cd {shell_word(where)}\n{check.run.replace(INSIDE, shell_word(where))}"]
        as_user = ["runuser", "-u", check.user, "--"] if check.user is not None else []
        clean = ["env", "-i", *(f"{key}={value}" for key, value in self._env.items())]
        done = shell.run([*clean, *as_user, *command], timeout_s=timeout_s)
        problem = workload.unmet(check, done)
        said = done.error_text.splitlines()[-1:] if problem else []
        return problem + (f" ({said[0]})" if said else "")


def shell_word(path: Path) -> str:
    """A path as one word of a shell command."""
    text = os.fspath(path)
    return "'" + text.replace("'", "'\\''") + "'" if not text.replace("/", "").replace("-", "").isalnum() else text
