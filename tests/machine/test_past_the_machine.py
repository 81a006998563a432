"""What commands in a machine, and harnesses in containers, must not reach: no machine is booted here."""

import ctypes
import os
import signal
import time
from pathlib import Path

import pytest

from harness.machine import leftovers, shell
from harness.machine.boot import WITHHELD, Machine, MachineSpec
from harness.machine.cgroup import MachineCgroups
from harness.machine.counters import pids_below

NUMBERS = {"CAP_SYS_MODULE": 16, "CAP_SYS_BOOT": 22, "CAP_SYS_TIME": 25, "CAP_SYSLOG": 34}
OPENS_MEM = """\
import os, sys
os.mknod(sys.argv[1], 0o020600, os.makedev(1, 1))
try:
    os.open(sys.argv[1], os.O_RDONLY)
    print("opened")
except OSError as error:
    print(error.errno)
"""


@pytest.mark.root
def test_a_step_has_none_of_the_capabilities_that_are_withheld() -> None:
    def held(*granted: str) -> int:
        machine = Machine(MachineSpec(capabilities=frozenset(granted)))
        machine.leader = os.getpid()  # a step enters the namespaces that it is in already
        done = shell.run([*machine.entry(), "sed", "-n", "s/^CapEff:\\t//p", "/proc/self/status"])
        return int(done.text, 16)

    own = held(*WITHHELD)
    without = held("CAP_SYS_TIME")
    assert [name for name, number in NUMBERS.items() if without >> number & 1] == (
        ["CAP_SYS_TIME"] if own >> NUMBERS["CAP_SYS_TIME"] & 1 else []
    )
    assert without >> 21 & 1  # CAP_SYS_ADMIN: it is root there all the same


@pytest.mark.root
def test_a_step_opens_no_device_of_the_host(tmp_path) -> None:
    cgroups = MachineCgroups(leftovers.new_name())
    cgroups.create()
    try:
        for number, join in enumerate((cgroups.control, cgroups.workload)):
            done = shell.run(["python3", "-c", OPENS_MEM, str(tmp_path / f"mem{number}")], join=join)
            assert done.text == "1\n"  # EPERM
    finally:
        assert cgroups.remove()


def test_a_process_of_another_namespace_is_none_to_be_ended(tmp_path) -> None:
    (tmp_path / "cgroup.procs").write_text("0\n7\n")
    assert pids_below(tmp_path) == [7]


def test_what_another_container_made_is_not_left_over(monkeypatch) -> None:
    dead = "harness-1-1-0"
    monkeypatch.setattr(leftovers, "_namespace", lambda: "")
    assert not leftovers._owner_lives(dead)
    assert leftovers._owner_lives("harness-1-1n4026532999-0")
    monkeypatch.setattr(leftovers, "_namespace", lambda: "n4026532999")
    assert leftovers._owner_lives(leftovers.new_name())
    assert not leftovers._owner_lives("harness-1-1n4026532999-0-trace-abc")
    assert leftovers._owner_lives(dead)


@pytest.fixture
def oddly_called():
    """A process whose name was cut within a letter, as the kernel cuts it at 15 bytes."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(15, "größenmäßiä".encode()[:15])
        os.write(theirs, b".")
        time.sleep(60)
        os._exit(0)
    os.read(ours, 1)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ours)
    os.close(theirs)


def test_a_name_that_is_no_utf_8_is_read(oddly_called) -> None:
    from harness.machine.processes import cpu_s
    from harness.machine.sampler import highest_descriptor

    assert b"\xc3\n" in Path(f"/proc/{oddly_called}/comm").read_bytes()
    assert cpu_s([oddly_called]) >= 0
    assert highest_descriptor([oddly_called]) is not None
