"""What differs on a host with cgroup v2 alone: who hands on controllers, and what the kernel counts."""

from pathlib import Path

import pytest

from harness.machine import delegation
from harness.machine.boot import Machine, MachineSpec
from harness.machine.cgroup import PREFIX, MachineCgroups, hierarchies
from harness.machine.doctor import cgroup_layout
from harness.machine.leftovers import remove_leftovers
from tests.systemd import tiny
from tests.systemd.test_machines import MEMORY_HUNGRY, spec, started

pytestmark = [pytest.mark.boots, pytest.mark.skipif(cgroup_layout() != "v2", reason="this host has cgroup v1 trees")]


def root() -> Path:
    (tree,) = hierarchies()
    return tree.mountpoint


def handed_on(path: Path) -> set[str]:
    return delegation.words(path / "cgroup.subtree_control")


def test_controllers_reach_the_machine_and_the_host_gets_back_what_it_had():
    before = handed_on(root())
    with Machine(MachineSpec()) as first:
        with Machine(MachineSpec()):
            assert handed_on(root()) >= delegation.WANTED
        assert handed_on(root()) >= delegation.WANTED
        inside = set(first.run(["cat", "/sys/fs/cgroup/cgroup.controllers"]).text.split())
        assert inside >= delegation.WANTED
    assert handed_on(root()) == before


def test_what_a_dead_run_switched_on_is_switched_off(monkeypatch):
    before = handed_on(root())
    left = root() / f"{PREFIX}1-1-0"  # process 1 did not start one tick after boot
    left.mkdir()
    delegation.hand_on(root())
    assert handed_on(root()) >= delegation.WANTED
    remove_leftovers()
    assert not left.exists()
    assert handed_on(root()) == before


def test_no_process_is_left_in_a_cgroup_that_hands_on():
    with Machine(MachineSpec()) as machine:
        (path,) = machine._cgroups.paths.values()
        within = [path, *tiny.directories(path)]
        assert [item for item in within if handed_on(item) and delegation.words(item / "cgroup.procs")] == []


def test_memory_beyond_the_limit_is_told_by_systemd_too(until):
    text = MEMORY_HUNGRY.format(memory="20M", tasks=100).replace("OOMPolicy=continue\n", "")
    with Machine(spec(hungry=text)) as machine:
        service = started(machine, "hungry")
        until(lambda: service.show(["Result"])["Result"] == "oom-kill")


def test_a_trial_tells_of_an_oom_kill(tmp_path):
    text = MEMORY_HUNGRY.format(memory="20M", tasks=100)
    steps = '[[steps]]\nname = "killed"\nrun = "until systemctl status tiny | grep -q oom; do sleep 0.1; done"\n'
    scenario = tiny.scenario(tmp_path, text, steps)
    observation = tiny.trial(scenario)
    assert observation.counters.oom_kills
    assert observation.counters.memory_peak_bytes
    assert observation.counters.tasks_peak
    assert observation.counters.cpu_usage_usec
    assert not tiny.verdict(scenario, observation).passed


def test_a_cgroup_that_cannot_be_made_is_told(monkeypatch):
    monkeypatch.setattr(delegation, "hand_on", _refuse)
    with pytest.raises(Exception, match="cannot make a cgroup") as caught, Machine(MachineSpec()):
        pytest.fail("it must not be entered")
    assert "cgroup namespace" in caught.value.hint
    assert not list(root().glob(f"{PREFIX}*"))


def _refuse(home: Path) -> None:
    raise OSError(16, "Device or resource busy", str(home))


def test_names_are_found_again():
    assert all(path.name.startswith(PREFIX) for path in MachineCgroups("harness-1-1-1").paths.values())
