"""`harness watch`: what a deployed unit was denied, once or as it happens."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.deploy.look import Kernel, look
from harness.deploy.manager import Manager
from harness.errors import HarnessError
from harness.judge.novelty import template
from harness.judge.watching import Report
from harness.scenario import Scenario, load

EVERY_S = 5.0


def once(unit: str, since: str, *, kernel: Kernel | None = None) -> Report:
    """What happened since."""
    return look(Manager(unit), since=since, kernel=kernel)


def follow(unit: str, *, every_s: float = EVERY_S, stopped: Callable[[], bool] = lambda: False) -> Iterator[Report]:
    """A report each time that there is something new, from now on, until `stopped` says so or Ctrl-C comes."""
    manager = Manager(unit)
    since, known, near = time.time(), set[str](), set[str]()
    while not stopped():
        # A second twice rather than a line never: what was told is not told again.
        began = time.time()
        report = look(manager, since=f"@{since - 1:.6f}", known=known)
        since = began
        new = tuple(text for text in report.near if template(text) not in near)
        if report.findings or new:
            yield Report(report.findings, new)
        known |= {template(item.evidence) for item in report.findings}
        near |= {template(text) for text in new}
        time.sleep(every_s)


def scenario_of(unit: str, folder: Path = Path("scenarios")) -> Scenario | None:
    """The first scenario in `folder` that is about the unit."""
    for path in sorted(folder.glob("*.toml")):
        try:
            scenario = load(path)
        except HarnessError:
            continue
        if scenario.unit == unit:
            return scenario
    return None
