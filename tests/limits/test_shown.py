"""What people and drop-ins get to see of the limits of a simulated service."""

from dataclasses import replace

from rich.console import Console

from harness.limits.advice import drop_in_lines, to_json
from harness.limits.found import Settings
from harness.limits.walk import walk
from harness.report.limits import show, show_data
from harness.unit.unitfile import parse
from tests.limits.test_walk import Service


def test_the_terminal_has_every_limit_with_what_it_rests_on():
    found = walk(Settings(), Service())
    out = Console(record=True, width=200, file=None, quiet=False)
    with out.capture() as captured:
        show_data(found, out)
        show(found, out)
    text = captured.get()
    for said in ("MemoryMax=", "CPUQuota=", "TasksMax=13", "LimitNOFILE=36", "cliff: 12 is enough, 11 is too little"):
        assert said in text
    assert "14 clean runs at these limits: with 95 % confidence fewer than 20% of runs fail" in text
    assert "10 runs, largest 12: with 95 % confidence at least 74% of all runs stay below it" in text


def test_the_drop_in_has_each_limit_once_under_its_reasons():
    found = walk(Settings(), Service())
    unit = parse("[Service]\n" + "\n".join(drop_in_lines(found)) + "\n")
    for name, value in found.limits.settings():
        assert unit.lines("Service", name) == (value,)


def test_the_data_say_the_same():
    found = walk(Settings(), Service(busy_until=2))
    data = to_json(found)
    assert data["state"] == "confirmed"
    assert [item["directive"] for item in data["limits"]] == ["MemoryMax", "CPUQuota", "TasksMax", "LimitNOFILE"]
    assert data["limits"][0]["number"] == found.limits.memory_bytes
    assert data["limits"][0]["fitted_to"]["censored"] == 2
    assert data["limits"][0]["margin"] == round(found.limits.memory_bytes / found.memory_cliff.worked - 1, 3)
    assert 0.05 <= data["limits"][0]["margin"] <= 0.25
    assert set(data["runs"]["censored"]) == {"0001", "0002"}


def test_what_a_trial_says_cannot_take_over_the_terminal():
    found = walk(Settings(), Service())
    hostile = "\x1b]0;title\x07\x1b[2J\x9b31m[bold]it\nfailed\r"
    run = replace(found.measured[0], reason=hostile)
    out = Console(width=200, force_terminal=True, color_system=None)
    with out.capture() as captured:
        show(replace(found, refused={"MemoryMax": run}, notes=(hostile,)), out)
    told = [line for line in captured.get().splitlines() if "[bold]it" in line]
    assert len(told) == 2
    assert all("failed" in line and line.isprintable() for line in told)
