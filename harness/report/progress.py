"""Progress on standard error: one living line on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from harness.observation import Observation
from harness.report.plain import plain
from harness.report.summary import console
from harness.search.result import Progress as Event

PHASES = {
    "inspect": "looking at the unit",
    "canaries": "canaries: what is enforced here",
    "baseline": "baseline",
    "search": "search",
    "confirm": "confirming the whole",
    "reliability": "how often it fails by itself",
    "measure": "limits: measuring without any",
    "cliff": "limits: looking for the cliff",
    "knee": "limits: looking for the knee",
    "quota": "limits: processor time",
    "confirm-limits": "limits: confirming all together",
    "accepted": "what was accepted, as it stands",
    "without": "what is to blame",
    "tighter": "what more could be tightened",
    "backtrack": "a pass was luck: going back",
}


class Reporter:
    """Hears of phases and trials; shows the phase, trials done and expected, best exposure and time left."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._live = self._console.is_terminal
        self._phase = ""
        self._trials = 0
        self._remaining = 0.0
        self._best: float | None = None
        self._began = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        if self._live:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[rest]}"))
            self._bar = Progress(*columns, TimeElapsedColumn(), console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None, rest="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def phase(self, name: str, event: Event | None) -> None:
        """A phase began, or the search finished a batch."""
        changed = name != self._phase
        self._phase = name
        if event is not None:
            self._remaining = event.expected_remaining
        if self._bar is not None:
            self._refresh()
        elif changed:
            self.note(PHASES.get(name, name))

    def observation(self, observation: Observation) -> None:
        """A trial ended."""
        self._trials += 1
        self._remaining = max(0.0, self._remaining - 1)
        if observation.exposure is not None and all(step.ok for step in observation.steps):
            self._best = min(observation.exposure, self._best if self._best is not None else 10.0)
        if self._bar is not None:
            self._refresh()
            return
        failed = next((step.name for step in observation.steps if not step.ok), observation.start_problem)
        what = observation.lost or (f"stopped at: {failed}" if failed else "all steps passed")
        self.note(f"trial {observation.trial_id} ({observation.purpose}): {what}{self._rest()}")

    def note(self, text: str) -> None:
        """A line of its own."""
        self._console.print(plain(text), soft_wrap=True)

    def aside(self, print_: Callable[[], None]) -> None:
        """Let something else print, and begin counting anew: a next run follows."""
        if self._bar is not None:
            self._bar.stop()
        print_()
        self._trials, self._remaining, self._best, self._phase = 0, 0.0, None, ""
        self._began = time.monotonic()
        if self._bar is not None:
            self._bar.start()

    def _rest(self) -> str:
        best = f", best exposure {self._best:.1f}" if self._best is not None else ""
        if self._remaining < 1 or self._trials == 0:
            return best
        left_s = self._remaining * (time.monotonic() - self._began) / self._trials
        return f"{best}, about {self._remaining:.0f} more, {left_s:.0f} s left"

    def _refresh(self) -> None:
        assert self._bar is not None
        total = self._trials + self._remaining if self._remaining else None
        self._bar.update(
            self._task,
            description=PHASES.get(self._phase, self._phase),
            completed=self._trials,
            total=total,
            rest=f"{self._trials} trials{self._rest()}",
        )
