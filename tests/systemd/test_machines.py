"""A machine is a whole systemd of its own, with limits that bind, and the host does not feel it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.machine.boot import WITHHELD, Machine, MachineSpec
from harness.machine.service import Service

pytestmark = pytest.mark.boots

MEMORY_HUNGRY = """\
[Service]
ExecStart=sh -c 'python3 -c "import time; kept = bytearray(60000000); time.sleep(1000)"; sleep infinity'
MemoryMax={memory}
OOMPolicy=continue
TasksMax={tasks}
"""
FORKS = """\
import os, signal
for _ in range(8):
    try:
        if os.fork() == 0:
            break
    except OSError:
        pass
signal.pause()
"""
FORKING = "[Service]\nExecStart=python3 /forks.py\nTasksMax={tasks}\n"
BUSY = "[Service]\nExecStart=sh -c 'while :; do :; done'\nCPUQuota=10%\n"


def spec(**units: str) -> MachineSpec:
    files = {f"/etc/systemd/system/{name}.service": text for name, text in units.items()}
    files["/forks.py"] = FORKS
    return MachineSpec(files={path: (text.encode(), 0o644, (0, 0)) for path, text in files.items()})


def started(machine: Machine, unit: str) -> Service:
    service = Service(machine, f"{unit}.service")
    service.act("start", timeout_s=20.0)
    service.status()
    return service


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine(spec()) as one:
        yield one


def test_boots_to_running_without_failed_units(machine):
    assert machine.run(["systemctl", "is-system-running"]).text == "running\n"
    assert machine.run(["systemctl", "--failed", "--no-legend", "--plain"]).text == ""


def test_is_a_system_of_its_own(machine):
    assert machine.run(["cat", "/proc/1/comm"]).text == "systemd\n"
    links = machine.run(["ip", "-o", "link"]).text.splitlines()
    assert [line.split(": ")[1] for line in links] == ["lo"]
    host = {Path(f"/proc/self/ns/{name}").readlink() for name in ("mnt", "pid", "uts", "ipc", "cgroup", "net")}
    inside = {
        Path(f"/proc/{machine.leader}/ns/{name}").readlink() for name in ("mnt", "pid", "uts", "ipc", "cgroup", "net")
    }
    assert not host & inside


def test_what_reaches_past_it_is_withheld(machine):
    held = int(machine.run(["sh", "-c", "sed -n 's/^CapBnd:\\t//p' /proc/1/status"]).text, 16)
    numbers = {"CAP_SYS_MODULE": 16, "CAP_SYS_RAWIO": 17, "CAP_SYS_BOOT": 22, "CAP_SYS_TIME": 25, "CAP_SYSLOG": 34}
    assert set(numbers) <= set(WITHHELD)
    assert [name for name, number in numbers.items() if held >> number & 1] == []


def test_every_capability_can_be_given():
    with Machine(MachineSpec(capabilities=frozenset(WITHHELD))) as one:
        held = int(one.run(["sh", "-c", "sed -n 's/^CapBnd:\\t//p' /proc/1/status"]).text, 16)
    assert held >> 25 & 1


OPENS = """\
import os
os.mknod("/node", 0o600 | {kind}, os.makedev({major}, {minor}))
try:
    os.close(os.open("/node", os.O_RDONLY | os.O_NONBLOCK))
    print("opened")
except OSError as error:
    print(error.errno)
"""


@pytest.mark.parametrize(
    ("kind", "device", "said"),
    [
        ("stat.S_IFCHR", (1, 3), "opened"),  # null
        ("stat.S_IFCHR", (1, 1), "1"),  # mem: EPERM
        ("stat.S_IFCHR", (1, 11), "1"),  # kmsg
        ("stat.S_IFBLK", "disk", "1"),
    ],
)
def test_a_service_makes_device_nodes_and_opens_the_harmless_ones(machine, kind, device, said):
    number = Path("/").stat().st_dev if device == "disk" else os.makedev(*device)
    code = "import stat\n" + OPENS.format(kind=kind, major=os.major(number), minor=os.minor(number))
    done = machine.run(["systemd-run", "--wait", "--pipe", "--quiet", "--collect", "python3", "-c", code])
    machine.run(["rm", "/node"])
    assert (done.text, done.error_text) == (f"{said}\n", "")


@pytest.mark.parametrize("folder", ["/tmp", "/var/tmp"])
def test_the_hosts_temporary_files_survive_and_are_not_seen(machine, folder):
    kept = Path(folder) / f"kept-{uuid.uuid4()}"
    kept.write_text("the host's")
    try:
        assert machine.run(["ls", str(kept)]).status == 2
        with Machine(spec()) as another:
            assert another.run(["sh", "-c", f"ls -A {folder} | grep kept-"]).text == ""
            assert another.run(["sh", "-c", f"rm -rf {folder}/* && touch {folder}/mine"]).status == 0
        assert kept.read_text() == "the host's"
        assert not (Path(folder) / "mine").exists()
    finally:
        kept.unlink()


def test_writing_into_the_root_changes_no_file_of_the_host(machine):
    before = Path("/etc/hostname").read_bytes()
    assert machine.run(["sh", "-c", "echo other >/etc/hostname && rm /etc/passwd && mv /opt /opt-moved"]).status == 0
    assert Path("/etc/hostname").read_bytes() == before
    assert Path("/etc/passwd").exists()
    assert Path("/opt").exists()


def test_a_missing_machine_is_told_as_such(machine):
    with Machine(spec()) as one:
        one.close()
        with pytest.raises(Exception, match="vanished") as caught:
            one.run(["true"])
    assert caught.type.__name__ == "MachineError"


@pytest.fixture(scope="module")
def pair() -> Iterator[list[Machine]]:
    limits = [{"memory": "20M", "tasks": 3}, {"memory": "200M", "tasks": 100}]
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                Machine(spec(hungry=MEMORY_HUNGRY.format(**each), forking=FORKING.format(**each), busy=BUSY))
            )
            for each in limits
        ]


class TestSideBySide:
    """Two machines at once with units of the same name, each with limits and counters of its own."""

    def test_memory_limits_bind_apart(self, pair, until):
        tight, loose = (started(machine, "hungry") for machine in pair)
        until(lambda: tight.counters().oom_kills)
        until(lambda: (loose.counters().memory_peak_bytes or 0) > 60_000_000)
        assert tight.counters().memory_peak_bytes <= 20 * 2**20
        assert loose.counters().oom_kills == 0

    def test_task_limits_bind_apart(self, pair, until):
        tight, loose = (started(machine, "forking") for machine in pair)
        until(lambda: tight.counters().forks_rejected)
        until(lambda: loose.counters().tasks_peak == 9)
        assert tight.counters().tasks_peak in (3, None)
        assert loose.counters().forks_rejected == 0

    def test_cpu_quota_throttles(self, pair, until):
        busy = started(pair[0], "busy")
        until(lambda: (busy.counters().cpu_throttled_periods or 0) >= 3)
        used = busy.counters().cpu_usage_usec
        assert used is not None
        assert used > 0
        assert started(pair[1], "hungry").counters().cpu_throttled_periods in (0, None)

    def test_processes_are_told_apart(self, pair):
        first, second = (set(started(machine, "busy").pids()) for machine in pair)
        assert first
        assert second
        assert not first & second

    def test_a_steps_use_is_not_the_units(self, pair, until):
        service = started(pair[1], "forking")
        until(lambda: service.counters().tasks_peak == 9)
        pair[1].run_step(["python3", "-c", "kept = bytearray(150_000_000)"], timeout_s=20.0, env={"PATH": "/usr/bin"})
        assert service.counters().memory_peak_bytes < 100_000_000
        assert service.counters().tasks_peak == 9
