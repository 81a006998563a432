"""However a machine or the harness ends, nothing of it stays on the host."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.machine import boot, leftovers
from harness.machine.boot import Machine, MachineSpec
from harness.machine.cgroup import MachineCgroups
from harness.machine.leftovers import MARK, remove_leftovers
from tests.systemd import tiny
from tests.systemd.tiny import PROJECT, Traces

pytestmark = [pytest.mark.boots, pytest.mark.alone]

HOLDS_A_MACHINE = """
import sys
from harness.machine.boot import Machine, MachineSpec
with Machine(MachineSpec()) as machine:
    print(machine.leader, flush=True)
    sys.stdin.read()
"""
BOOTS_A_FEW = """
from harness.machine.boot import Machine, MachineSpec
for _ in range(4):
    with Machine(MachineSpec()):
        pass
"""
RUNS_A_TRIAL = """
import sys
from pathlib import Path
from harness.scenario import load
from tests.systemd import tiny
tiny.trial(load(Path(sys.argv[1])))
"""


@pytest.fixture
def before() -> Traces:
    return Traces.of(os.getpid())


@pytest.fixture
def holder() -> Iterator["Holder"]:
    with Holder() as one:
        yield one


class Holder:
    """A process of its own that holds a machine open until told to end."""

    def __enter__(self) -> "Holder":
        self.process = subprocess.Popen(
            tiny.python(HOLDS_A_MACHINE), cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.leader = int(self.process.stdout.readline())
        self.inside = [self.leader, *tiny.descendants(self.process.pid)]
        return self

    def traces(self) -> Traces:
        return Traces.of(self.process.pid)

    def __exit__(self, *of: object) -> None:
        self.process.communicate()


def test_normal_end(before):
    with Machine(MachineSpec()) as machine:
        during = Traces.of(os.getpid())
        assert during.mounts == before.mounts
        assert during.cgroups
        assert during.scratch
        assert machine.is_alive()
    assert Traces.of(os.getpid()) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_exception_inside(before, error):
    with pytest.raises(error), Machine(MachineSpec()):
        raise error
    assert Traces.of(os.getpid()) == before


def test_exception_while_booting(before, monkeypatch):
    def interrupted(self, notify):
        raise KeyboardInterrupt

    monkeypatch.setattr(Machine, "_await_ready", interrupted)
    with pytest.raises(KeyboardInterrupt), Machine(MachineSpec()):
        pytest.fail("it must not be entered")
    assert Traces.of(os.getpid()) == before


def test_ctrl_c_while_closing(before, monkeypatch):
    remove = MachineCgroups.remove

    def interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)
        return remove(self)

    monkeypatch.setattr(MachineCgroups, "remove", interrupted)
    with pytest.raises(KeyboardInterrupt), Machine(MachineSpec()):
        pass
    assert Traces.of(os.getpid()) == before


def test_systemd_that_does_not_boot(before):
    broken = {"/usr/lib/systemd/systemd": (b"#!/bin/sh\necho no such luck\nexit 7\n", 0o755, (0, 0))}
    with pytest.raises(MachineError, match="did not boot") as caught, Machine(MachineSpec(files=broken)):
        pytest.fail("it must not be entered")
    assert "no such luck" in caught.value.message
    assert Traces.of(os.getpid()) == before


def test_kill_of_the_systemd_inside(before, until):
    with Machine(MachineSpec()) as machine:
        os.kill(machine.leader, signal.SIGKILL)
        until(lambda: not machine.is_alive())
        with pytest.raises(MachineError, match="vanished"):
            machine.run(["true"])
    assert Traces.of(os.getpid()) == before


def test_processes_that_fork_without_end(before):
    with Machine(MachineSpec()) as machine:
        forever = ["sh", "-c", "while :; do setsid sleep 100 & sleep 0.001; done"]
        done = machine.run_step(forever, timeout_s=0.5, env={"PATH": "/usr/bin"})
        assert done.timed_out
        assert machine.run(["sh", "-c", "ps ax | grep -c '[s]leep 100'"]).text == "0\n"
    assert Traces.of(os.getpid()) == before


def test_kill_9_ends_the_machine_and_the_next_start_removes_the_rest(holder, until):
    with Holder() as dead:
        os.kill(dead.process.pid, signal.SIGKILL)
        dead.process.wait()
        until(lambda: not any(tiny.is_running(pid) for pid in dead.inside))
        living = holder.traces()
        remove_leftovers()
        assert not dead.traces().cgroups
        assert not dead.traces().scratch
        assert holder.traces() == living
        assert living.cgroups
        assert living.scratch
        assert tiny.is_running(holder.leader)


def test_kill_9_of_a_process_in_a_trial(tmp_path, until):
    path = tiny.write(tmp_path, tables='[[steps]]\nname = "long"\nrun = "sleep 1000"\ntimeout_s = 1000\n')
    child = subprocess.Popen(tiny.python(RUNS_A_TRIAL, str(path)), cwd=PROJECT)
    sleeps = until(lambda: [pid for pid in tiny.descendants(child.pid) if tiny.command(pid) == "sleep 1000"])
    everything = tiny.descendants(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    until(lambda: not any(tiny.is_running(pid) for pid in [*everything, *sleeps]))
    remove_leftovers()
    left = Traces.of(child.pid)
    assert not left.cgroups
    assert not left.scratch


def test_a_reused_process_id_does_not_protect_what_a_dead_run_left(until):
    name = f"harness-{os.getpid()}-1-0-leftover"  # this process did not start one tick after boot
    left = Path("/var/tmp") / name
    left.mkdir()
    (left / MARK).touch()
    remove_leftovers()
    assert not left.exists()


def test_what_only_looks_alike_stays():
    others = [
        Path("/var/tmp") / name
        for name in ("harness-notes-2-3", "harness-1-2", "harness-a-1-2", "harness-2026-01-02-backup")
    ]
    for path in others:
        path.mkdir(exist_ok=True)
    try:
        remove_leftovers()
        assert all(path.is_dir() for path in others)
    finally:
        for path in others:
            path.rmdir()


def test_looking_for_leftovers_while_machines_come_and_go(until):
    """Another harness at work must not disturb this one."""
    other = subprocess.Popen(tiny.python(BOOTS_A_FEW), cwd=PROJECT)
    rounds = 0
    while other.poll() is None:
        remove_leftovers()
        rounds += 1
    assert other.returncode == 0
    assert rounds > 3


def test_many_boots_leave_the_host_as_it_was(before):
    for _ in range(20):
        with Machine(MachineSpec()) as machine:
            assert machine.run(["true"]).status == 0
    assert Traces.of(os.getpid()) == before
    files = len(list(Path("/proc/self/fd").iterdir()))
    with Machine(MachineSpec()):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == files


def test_names_are_never_used_twice():
    assert len({leftovers.new_name() for _ in range(100)}) == 100


def test_machine_without_space_says_so(monkeypatch, before):
    monkeypatch.setattr(boot, "LEAST_FREE_BYTES", sys.maxsize)
    with pytest.raises(MachineError, match="no space left") as caught, Machine(MachineSpec()):
        pytest.fail("it must not be entered")
    assert "/var/tmp" in caught.value.hint
    assert Traces.of(os.getpid()) == before
