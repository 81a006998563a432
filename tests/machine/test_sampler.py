"""Cgroup files of both versions, as the kernel writes them, become the same columns."""

import subprocess
from pathlib import Path

import pytest

from harness.machine import host
from harness.machine.sampler import Sampler, control_group, highest_descriptor

V1 = {
    "memory/memory.usage_in_bytes": "9000000\n",
    "memory/memory.kmem.usage_in_bytes": "600000\n",
    "memory/memory.stat": (
        "rss 5\ntotal_cache 4000000\ntotal_rss 3000000\ntotal_shmem 1000000\ntotal_inactive_anon 2500000\n"
        "total_active_anon 500000\ntotal_unevictable 1200000\n"
    ),
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "pids/pids.current": "7\n",
    "pids/pids.events": "max 3\n",
    "pids/cgroup.procs": "",
    "cpu/cpu.stat": "nr_periods 50\nnr_throttled 4\nthrottled_time 7000000\n",
    "cpuacct/cpuacct.usage": "1234567000\n",
    "unified/cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=42\nfull avg10=0.00 total=0\n",
}
V2 = {
    "unified/memory.current": "9000000\n",
    "unified/memory.stat": (
        "anon 3000000\nfile 4000000\nkernel_stack 100000\npagetables 200000\npercpu 50000\nsock 50000\nshmem 1000000\n"
        "inactive_anon 2500000\nactive_anon 500000\nunevictable 1200000\nslab_reclaimable 900000\n"
        "slab_unreclaimable 200000\n"
    ),
    "unified/memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\n",
    "unified/pids.current": "7\n",
    "unified/pids.events": "max 3\n",
    "unified/cgroup.procs": "",
    "unified/cpu.stat": "usage_usec 1234567\nnr_periods 50\nnr_throttled 4\nthrottled_usec 7000\n",
    "unified/cpu.pressure": V1["unified/cpu.pressure"],
}
TREES = {"memory": "memory", "pids": "pids", "cpu": "cpu", "cpuacct": "cpuacct", "": "unified"}


class FakeMachine:
    """Only says where the unit's cgroup is."""

    def __init__(self, paths: dict[str, Path]) -> None:
        self._paths = paths

    def unit_cgroups(self, control_group: str) -> dict[str, Path]:
        return self._paths

    def cpu_usage_usec(self) -> int:
        return 0


@pytest.mark.parametrize(("files", "keys"), [(V1, list(TREES)), (V2, [""])], ids=["v1", "v2"])
def test_both_versions_give_the_same_figures(tmp_path, files, keys):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    paths = {key: tmp_path / TREES[key] for key in keys}
    with Sampler(FakeMachine(paths), "/x") as sampler:  # type: ignore[arg-type]
        while not sampler.rows:
            pass
    row = sampler.rows[0]
    expected = {
        "incarnation": 1,
        "memory_usage_bytes": 9_000_000,
        "memory_anon_bytes": 3_000_000,
        "memory_shmem_bytes": 1_000_000,
        # 1 MB of anonymous and shared memory is on no evictable list, so only 200 kB of locked files are left.
        "memory_locked_file_bytes": 200_000,
        "memory_kernel_bytes": 600_000,
        "memory_file_bytes": 3_000_000,
        "tasks": 7,
        "cpu_usage_usec": 1_234_567,
        "cpu_periods": 50,
        "cpu_throttled_periods": 4,
        "cpu_throttled_usec": 7000,
        "cpu_pressure_usec": 42,
        "oom_kills": 2,
        "forks_rejected": 3,
    }
    assert {name: row.get(name) for name in expected} == expected
    assert sampler.counters().oom_kills == 2


@pytest.mark.parametrize(
    ("slice_name", "group"),
    [
        ("system.slice", "/system.slice/a.service"),
        ("system-known.slice", "/system.slice/system-known.slice/a.service"),
        ("-.slice", "/a.service"),
    ],
)
def test_where_systemd_puts_a_unit(slice_name, group):
    assert control_group(slice_name, "a.service") == group


def test_other_work_is_what_is_left_of_the_hosts():
    before = host.Load(10.0, 1_000_000, 0)
    after = host.Load(12.0, 1_000_000 + 3_000_000 * host.processors() // 2, 500_000)
    half = 1_500_000 * host.processors() // 2
    assert after.share_since(before, own_usec=half) == pytest.approx(0.375, abs=0.01)
    assert after.pressure_since(before) == pytest.approx(0.25)


@pytest.mark.parametrize(("name", "highest"), [("known", 200), ("(known)", None), ("systemd-executor", None)])
def test_descriptors_of_the_managers_own_child_are_not_the_services(name, highest):
    script = f"exec 200</dev/null; echo '{name}' > /proc/$$/comm; echo named; read wait"
    command = ["bash", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "named\n"
        assert highest_descriptor([process.pid]) == highest
