"""The unit's own limits: what is read of them, what bounds a trial, and what is lifted so that demand can be seen."""

import pytest

from harness.limits.limitset import LimitSet, existing
from harness.unit.quantity import MIB
from harness.unit.unitfile import parse

OWN = parse(
    "[Service]\nExecStart=/bin/true\nMemoryMax=1G\nMemoryMax=512M\nMemoryHigh=400M\nCPUQuota=80%\nTasksMax=100\n"
    "LimitNOFILE=1024:4096\nLimitNPROC=50\n"
)


def test_the_units_own_limits():
    found, unclear = existing(OWN)
    assert unclear == ()
    assert found == LimitSet(
        memory_bytes=512 * MIB, quota_percent=80, tasks=100, files=4096, processes=50, memory_high_bytes=400 * MIB
    )


@pytest.mark.parametrize(
    "line", ["MemoryMax=10%", "TasksMax=33%", "MemoryHigh=much", "CPUQuota=a lot", "CPUQuota=infinity"]
)
def test_what_depends_on_the_host_or_is_no_limit_is_said(line):
    found, unclear = existing(parse(f"[Service]\n{line}\n"))
    assert found == LimitSet()
    assert unclear == (line,)


def test_no_limit_is_none():
    assert existing(parse("[Service]\nMemoryMax=infinity\nTasksMax=infinity\n")) == (LimitSet(), ())


def test_a_trial_is_bound_by_the_tighter_one_of_both():
    ours, (own, _) = LimitSet(memory_bytes=600 * MIB, tasks=7), existing(OWN)
    both = ours.together_with(own)
    assert (both.memory_bytes, both.tasks, both.quota_percent) == (512 * MIB, 7, 80)
    assert ours.no_looser_than(own) == LimitSet(memory_bytes=512 * MIB, tasks=7)


def test_what_a_trial_does_not_set_is_lifted():
    text = LimitSet(memory_bytes=64 * MIB).drop_in("[Service]\n", OWN)
    set_lines = parse(text)
    assert set_lines.lines("Service", "MemoryMax") == ("64M",)
    assert set_lines.lines("Service", "MemoryHigh") == ("infinity",)
    assert set_lines.lines("Service", "CPUQuota") == ("",)
    assert set_lines.lines("Service", "TasksMax") == ("infinity",)


def test_a_quota_below_one_percent_is_a_limit():
    assert existing(parse("[Service]\nCPUQuota=0.5%\n"))[0] == LimitSet(quota_percent=1)


def test_periods_are_those_that_were_measured():
    unit = parse("[Service]\nCPUQuotaPeriodSec=10ms\n")
    assert "CPUQuotaPeriodSec=100ms" in LimitSet(quota_percent=40).lines(unit)
    assert "CPUQuotaPeriodSec=1s" in LimitSet(quota_percent=40, period_s=1.0).lines(unit)
    assert not any("PeriodSec" in line for line in LimitSet(quota_percent=40).lines(parse("[Service]\n")))


def test_memory_high_stands_before_what_kills():
    names = [name for name, _ in LimitSet(memory_bytes=96 * MIB, memory_high_bytes=80 * MIB).settings()]
    assert names == ["MemoryHigh", "MemoryMax"]
