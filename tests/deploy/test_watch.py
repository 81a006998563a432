"""`harness watch` names the line that refused, where a line did, and a relaxation that helps; else it names none."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.deploy.look import look
from harness.deploy.manager import Manager
from harness.judge.watching import Report
from harness.machine.boot import Machine, MachineSpec
from harness.machine.family import Family
from harness.machine.kernel import KernelLog
from tests.deploy.provoked import FILES, PROVOKED, SET_UP, Provoked

pytestmark = [pytest.mark.boots, pytest.mark.timeout(1200)]
ALL = os.environ.get("PROVOKED") == "all"
CHOSEN = [item for item in PROVOKED if ALL or not item.thorough]
RIGHT_AT_LEAST = 0.9
LIMITS = frozenset({"MemoryMax", "TasksMax", "CPUQuota", "LimitNOFILE", "LimitFSIZE", "LimitNPROC", "LimitMEMLOCK"})


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    files = {path: (text.encode(), 0o644, (0, 0)) for path, text in FILES.items()}
    files["/srv/do.py"] = (Path(__file__).with_name("do.py").read_bytes(), 0o644, (0, 0))
    files |= {f"/etc/systemd/system/{item.unit}": (item.text().encode(), 0o644, (0, 0)) for item in PROVOKED}
    with Machine(MachineSpec(files=files, addresses=("10.9.8.1/24",))) as one:
        one.run(["sh", "-c", SET_UP])
        yield one


def provoke(machine: Machine, items: list[Provoked], until) -> dict[str, Report]:
    """Run the services, and look at each."""
    with Family(machine.pids()) as family, KernelLog() as log:
        machine.run(["systemctl", "start", *(item.unit for item in items)], timeout_s=200.0)

        def ended() -> bool:
            names = [item.unit for item in items if item.name != "processor"]
            states = machine.run(["systemctl", "show", "-p", "ActiveState", "--value", *names]).text.split()
            return {"active", "activating", "deactivating"}.isdisjoint(states)

        until(ended, within_s=100.0)
        lines = log.lines(machine.name, family.pids)
    alone = len(items) == 1

    def kernel(item: Provoked) -> list[str]:
        return [line for line in lines if item.unit in line or alone]

    return {
        item.name: look(Manager(item.unit, machine.run), since="-1h", kernel=lambda item=item: kernel(item))
        for item in items
    }


def named(report: Report) -> str:
    """The directive named first, "" for none."""
    return next((cause.directive for finding in report.findings for cause in finding.causes), "")


@pytest.fixture(scope="module")
def reports(machine, until) -> dict[str, Report]:
    found = provoke(machine, [item for item in CHOSEN if not item.kernel], until)
    for item in CHOSEN:
        if item.kernel:
            found |= provoke(machine, [item], until)
    return found


def test_names_the_right_line_first_or_says_that_it_does_not_know(reports):
    wrong = {item.name: named(reports[item.name]) for item in CHOSEN if named(reports[item.name]) != item.directive}
    guessed = {name: directive for name, directive in wrong.items() if directive}
    print(f"{len(CHOSEN)} provoked, not right: {wrong}")
    for name in wrong:
        print(name, reports[name])
    assert len(wrong) <= (1 - RIGHT_AT_LEAST) * len(CHOSEN)
    assert guessed == {}


def test_the_relaxation_helps(machine, reports, until):
    """With the lines that it names, the same thing is not refused any more; of a limit nobody knows how much helps."""
    again = []
    for item in CHOSEN:
        if item.directive in LIMITS:
            continue
        lines = [
            line for finding in reports[item.name].findings for cause in finding.causes for line in cause.relaxation
        ]
        if lines and named(reports[item.name]) == item.directive:
            text = "[Service]\n" + "".join(f"{line}\n" for line in lines)
            path = machine.path(f"/run/systemd/system/{item.unit}.d/relaxed.conf")
            path.parent.mkdir(parents=True)
            path.write_text(text)
            again.append((item, lines))
    forget = "journalctl --rotate; journalctl --vacuum-time=1us; systemctl daemon-reload; systemctl reset-failed"
    machine.run(["sh", "-c", forget])
    found = provoke(machine, [item for item, _ in again if not item.kernel], until)
    for item, _ in again:
        if item.kernel:
            found |= provoke(machine, [item], until)
    still = [(item.name, lines, found[item.name]) for item, lines in again if named(found[item.name])]
    for told in still:
        print(*told)
    print(f"{len(again)} relaxed, still refused: {[name for name, *_ in still]}")
    assert still == []
