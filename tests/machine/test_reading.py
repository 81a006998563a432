"""What is read from the host and from systemd: cgroup trees, counters, log records, sockets."""

import os
import socket
from typing import cast

import pytest

from harness import mountinfo
from harness.machine.boot import Machine
from harness.machine.cgroup import hierarchies
from harness.machine.counters import UnitFiles
from harness.machine.kernel import explained
from harness.machine.processes import _address, snapshot, sockets
from harness.machine.service import MESSAGE_CHARACTERS, Service, journal_lines, message_text

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
36 31 0:32 / /mnt/again rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""
UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"


@pytest.mark.parametrize(
    ("comm", "name"), [('"worker"', "worker"), ("4743205468726561642330", "GC Thread#0"), ("22", '"')]
)
def test_whom_a_filter_killed(comm, name):
    text = f'audit: type=1326 audit(1:2): auid=0 pid=7 comm={comm} exe="/x" sig=31 arch=c000003e syscall=250 compat=0'
    assert explained(text).startswith(f"{name} was ended by signal 31 for the system call keyctl: ")


def test_cgroup_trees_each_once():
    found = {
        tree.key: (str(tree.mountpoint), tree.version, set(tree.controllers))
        for tree in hierarchies(mountinfo.parse(HYBRID))
    }
    assert found == {
        "cpu,cpuacct": ("/sys/fs/cgroup/cpu,cpuacct", 1, {"cpu", "cpuacct"}),
        "memory": ("/sys/fs/cgroup/memory", 1, {"memory"}),
        "name=systemd": ("/sys/fs/cgroup/systemd", 1, set()),
        "": ("/sys/fs/cgroup/unified", 2, set()),
    }


def test_a_unified_host():
    (tree,) = hierarchies(mountinfo.parse(UNIFIED))
    assert (tree.key, tree.version) == ("", 2)


def files(folder, **content):
    folder.mkdir()
    for name, text in content.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_counters_on_v1(tmp_path):
    memory = files(
        tmp_path / "memory",
        memory__max_usage_in_bytes="4096\n",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    )
    pids = files(tmp_path / "pids", pids__peak="7\n", pids__events="max 2\n")
    cpu = files(tmp_path / "cpu", cpu__stat="nr_periods 9\nnr_throttled 4\nthrottled_time 5\n", cpuacct__usage="5000\n")
    found = UnitFiles({"memory": memory, "pids": pids, "cpu,cpuacct": cpu}).peaks()
    assert (found.memory_peak_bytes, found.oom_kills, found.tasks_peak, found.forks_rejected) == (4096, 3, 7, 2)
    assert (found.cpu_usage_usec, found.cpu_throttled_periods) == (5, 4)


def test_counters_on_v2(tmp_path):
    tree = files(
        tmp_path / "tree",
        memory__peak="4096\n",
        memory__events="low 0\nhigh 0\nmax 5\noom 1\noom_kill 1\noom_group_kill 0\n",
        pids__peak="7\n",
        pids__events="max 0\n",
        cpu__stat="usage_usec 123\nuser_usec 100\nsystem_usec 23\nnr_periods 9\nnr_throttled 4\n",
    )
    found = UnitFiles({"": tree}).peaks()
    assert (found.memory_peak_bytes, found.oom_kills, found.tasks_peak, found.forks_rejected) == (4096, 1, 7, 0)
    assert (found.cpu_usage_usec, found.cpu_throttled_periods) == (123, 4)


def test_what_is_gone_is_not_measured(tmp_path):
    found = UnitFiles({"memory": tmp_path / "gone", "": tmp_path / "gone"}).peaks()
    assert set(vars(found).values()) == {None}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ([104, 105, 255], "hi\ufffd"),
        ([-1, 65], "\ufffdA"),  # journalctl has written bytes as signed numbers
        (None, ""),
        (["a"], ""),
        ("x" * 10_000, "x" * MESSAGE_CHARACTERS + "…"),
    ],
)
def test_message(value, text):
    assert message_text(value) == text


def test_which_records_are_the_units():
    records = [
        {"MESSAGE": "own", "_SYSTEMD_UNIT": "tiny.service", "_PID": "7", "PRIORITY": "3", "SYSLOG_IDENTIFIER": "tiny"},
        {"MESSAGE": "about", "UNIT": "tiny.service", "_PID": "1", "PRIORITY": "5"},
        {"MESSAGE": "tiny.service: Failed at step EXEC", "_PID": "1"},
        {"MESSAGE": "late child", "_PID": "9"},
        {"MESSAGE": "stranger", "_PID": "10", "_SYSTEMD_UNIT": "other.service"},
        {"MESSAGE": "tiny.service: says a stranger", "_PID": "11"},
        {"MESSAGE": "no process"},
    ]
    lines = journal_lines(records, "tiny.service", frozenset({9}))
    assert [(line.message, line.priority, line.from_manager) for line in lines] == [
        ("own", 3, False),
        ("about", 5, True),
        ("tiny.service: Failed at step EXEC", 6, True),
        ("late child", 6, False),
    ]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0100007F:1F90", "127.0.0.1:8080"),
        ("00000000:0050", "0.0.0.0:80"),
        ("00000000000000000000000001000000:0035", "[::1]:53"),
        ("0000000000000000FFFF00000100007F:0035", "[::ffff:127.0.0.1]:53"),
    ],
)
def test_address(text, address):
    assert _address(text) == address


def test_processes_that_are_gone_are_left_out():
    assert snapshot(1, [2**22 + 1], seen_at="now") == []


def test_a_process_of_systemds_own_is_left_out(monkeypatch):
    """Before it becomes the unit's process it has neither its name nor its confinement."""
    fields = {"NSpid": "7", "Uid": "0 0 0 0", "Gid": "0 0 0 0", "CapEff": "0", "CapBnd": "0", "State": "S (sleeping)"}
    names = iter(["systemd", "(tiny)", "systemd-executo", "tiny"])
    monkeypatch.setattr("harness.machine.processes.status_fields", lambda pid: {**fields, "Name": next(names)})
    monkeypatch.setattr("harness.machine.processes._namespace", lambda pid, kind: kind)
    assert [process.comm for process in snapshot(1, [7, 7, 7], seen_at="now")] == ["tiny"]


def test_a_process_has_the_number_that_the_machine_knows(monkeypatch):
    """A service may have a PID namespace of its own: its first process there is not the machine's manager."""
    fields = {"Uid": "0 0 0 0", "Gid": "0 0 0 0", "CapEff": "0", "CapBnd": "0", "Name": "tiny"}
    numbers = {50: "50\t2\t1", 70: "70\t9\t8\t1", 71: "71\t10\t9"}
    monkeypatch.setattr("harness.machine.processes.status_fields", lambda pid: {**fields, "NSpid": numbers[pid]})
    monkeypatch.setattr("harness.machine.processes._namespace", lambda pid, kind: kind)
    assert [process.pid for process in snapshot(50, [70, 71], seen_at="now")] == [8, 9]


def test_a_socket_with_a_name_that_is_no_utf_8():
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(b"\0harness-caf\xe9-%d" % os.getpid())
        assert "unix" in sockets(os.getpid(), [os.getpid()])


def test_a_unit_without_a_cgroup_of_the_pids_controller(tmp_path):
    """TasksAccounting=no, and Delegate=, whose cgroups below count too."""
    (tmp_path / "unified/below").mkdir(parents=True)
    (tmp_path / "unified/cgroup.procs").write_text("7\n")
    (tmp_path / "unified/below/cgroup.procs").write_text("8\n")
    service = Service(cast(Machine, None), "tiny.service")
    assert (service.pids(), service.cgroup_ids()) == ([], set())
    service._cgroups = {"pids": tmp_path / "pids", "": tmp_path / "unified"}
    assert sorted(service.pids()) == [7, 8]
    assert service.cgroup_ids() == {(tmp_path / name).stat().st_ino for name in ("unified", "unified/below")}


def test_a_mount_point_with_blanks_and_letters_of_any_kind():
    text = r"40 23 8:1 /sub\040dir /srv/caf\303\251\040é\134x rw,noexec shared:4 - ext4 /dev/sda1 ro,errors=remount-ro"
    (mount,) = mountinfo.parse(text)
    assert (mount.point, mount.root, mount.device) == ("/srv/café é\\x", "/sub dir", "8:1")
    assert (mount.read_only, "noexec" in mount.options, mount.own) == (True, True, {"ro", "errors=remount-ro"})
