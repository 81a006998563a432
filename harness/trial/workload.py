"""Running a scenario's checks inside a machine and holding what they did against what is expected."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from harness.judge.load import parse
from harness.machine.boot import PATH_INSIDE, Machine
from harness.machine.shell import Output
from harness.observation import StepResult
from harness.scenario import INSIDE, Check

KEPT_CHARACTERS = 4000
FIRST_POLL_S = 0.02
LONGEST_POLL_S = 0.25


def environment(*, seed: int, unit: str) -> dict[str, str]:
    """What a step sees: a plain root environment, the trial's seed, and where the scenario's folder is."""
    return {
        "PATH": PATH_INSIDE,
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "HARNESS_SEED": str(seed),
        "HARNESS_UNIT": unit,
        "HARNESS_DIR": INSIDE,
        "HARNESS_WORKLOAD": "1",
    }


class Workload:
    """Runs checks in one machine with one environment."""

    def __init__(self, machine: Machine, env: Mapping[str, str]) -> None:
        self._machine = machine
        self.env = env

    def run(self, check: Check, *, name: str, part: str, kind: str = "functional", repeat: int = 1) -> StepResult:
        """Run a check `repeat` times, until it fails; the duration is that of all repeats."""
        began = time.monotonic()
        result = StepResult(name=name, part=part, kind=kind, problem="", status=None, duration_s=0.0)
        for number in range(repeat):
            done = self._machine.run_step(self._argv(check), timeout_s=check.timeout_s, env=self.env)
            problem = unmet(check, done)
            if problem and repeat > 1:
                problem = f"repeat {number + 1} of {repeat}: {problem}"
            parser = getattr(check, "parser", None)
            said = parse(parser, done.text) if parser is not None else None
            if parser is not None and said is None and not problem:
                problem = f"the output has no figures of {parser}"
            result = replace(
                result,
                load=said,
                problem=problem,
                status=done.status,
                stdout=_tail(done.text),
                stderr=_tail(done.error_text),
                timed_out=done.timed_out,
            )
            if problem:
                break
        return replace(result, duration_s=time.monotonic() - began)

    def poll(self, check: Check, *, name: str, part: str, given_up: Callable[[], bool] = lambda: False) -> StepResult:
        """Repeat a check until it does what is expected; fails with its last answer after `timeout_s`.

        It fails sooner when `given_up` says that there is nothing left to wait for, which is asked from time to time.
        """
        began = time.monotonic()
        wait_s = FIRST_POLL_S
        while True:
            remaining_s = check.timeout_s - (time.monotonic() - began)
            attempt = check.model_copy(update={"timeout_s": max(remaining_s, 0.1)})
            result = self.run(attempt, name=name, part=part)
            elapsed_s = time.monotonic() - began
            if result.timed_out:
                result = replace(result, problem=f"no end within {check.timeout_s:.3g} s")
            if result.ok or elapsed_s + wait_s >= check.timeout_s or not self._machine.is_alive():
                return replace(result, duration_s=elapsed_s)
            if wait_s >= LONGEST_POLL_S and given_up():
                return replace(result, duration_s=elapsed_s)
            time.sleep(wait_s)
            wait_s = min(wait_s * 1.5, LONGEST_POLL_S)

    def _argv(self, check: Check) -> list[str]:
        # A step must find the same world whatever the harness was started with.
        clean = ["env", "-i", *(f"{key}={value}" for key, value in self.env.items())]
        command = ["sh", "-c", f"cd {INSIDE} 2>/dev/null || cd /\n{check.run}"]
        if check.user is not None:
            return [*clean, "runuser", "-u", check.user, "--", *command]
        return [*clean, *command]


def unmet(check: Check, done: Output) -> str:
    """What `done` lacks of what `check` expects; empty when all is as expected."""
    if done.timed_out:
        return f"no end within {check.timeout_s:.3g} s"
    if done.status != check.status:
        if done.status < 0:
            return f"ended by signal {-done.status} (expected status {check.status})"
        missing = " (command not found)" if done.status == 127 else ""
        return f"exit status {done.status}{missing} (expected {check.status})"
    cut = "the last MiB of " if done.truncated else ""
    if check.stdout_contains is not None and check.stdout_contains not in done.text:
        return f"{check.stdout_contains!r} is not in {cut}the output"
    if check.stdout_matches is not None and not re.search(check.stdout_matches, done.text, re.MULTILINE):
        return f"{check.stdout_matches!r} does not match {cut}the output"
    return ""


def _tail(text: str) -> str:
    return text if len(text) <= KEPT_CHARACTERS else "…" + text[-KEPT_CHARACTERS:]
