"""Which files a machine sees: the root tree with all that is mounted below it, or another tree that is named.

What has to be mounted for a test is mounted in a mount namespace of a child process, and ends with it.

The tests of another release are left out unless `HARNESS_TEST_TRIXIE=1`: they build a Debian 13 tree once, with
`mmdebstrap` from the mirror that this host's apt uses (about a minute), and keep it in /var/cache/harness/trixie.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.machine.boot import Machine, MachineSpec
from harness.machine.inspect import inspect
from harness.machine.service import Service
from tests.conftest import unavailable
from tests.systemd import tiny
from tests.systemd.tiny import PROJECT

pytestmark = pytest.mark.boots
TRIXIE = Path("/var/cache/harness/trixie")
BEGIN = """
import subprocess
from pathlib import Path
from harness.machine.boot import Machine, MachineSpec

def mount(kind, where, *options):
    subprocess.run(["mount", "-t", kind, *options, where], check=True)

def inside(machine, command):
    return machine.run(["sh", "-c", command]).text.strip()

"""


def in_namespace(code: str, *arguments: str) -> None:
    """Run Python code with a mount namespace of its own; what it prints is the message of a failure."""
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", BEGIN + code, *arguments]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_separate_filesystems_are_seen_and_never_written_to(tmp_path):
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    in_namespace(
        """
import sys
mount("ext4", "/srv", "-o", "loop", sys.argv[1])
Path("/srv/disk").write_text("disk")
Path("/srv/inner").mkdir()
mount("tmpfs", "/srv/inner", "tmpfs")
Path("/srv/inner/memory").write_text("memory")
Path("/srv/inner/with space, and: more").mkdir()
mount("tmpfs", "/srv/inner/with space, and: more", "tmpfs")
Path("/srv/inner/with space, and: more/deep").write_text("deep")
with Machine(MachineSpec(files={"/srv/inner/put": (b"put", 0o600, (0, 0))})) as machine:
    assert inside(machine, "cat /srv/disk /srv/inner/memory") == "diskmemory"
    assert inside(machine, "cat '/srv/inner/with space, and: more/deep'") == "deep"
    assert inside(machine, "cat /srv/inner/put; stat -c %a /srv/inner/put") == "put600"
    assert inside(machine, "cd /srv && echo x >disk && echo x >inner/memory && echo x >inner/new && cat disk") == "x"
    assert {"/srv/disk", "/srv/inner/memory", "/srv/inner/new"} <= set(machine.overlay.changed())
    assert "/srv/inner/put" not in machine.overlay.changed()
assert Path("/srv/disk").read_text() == "disk"
assert Path("/srv/inner/memory").read_text() == "memory"
assert not Path("/srv/inner/new").exists()
assert not Path("/srv/inner/put").exists()
""",
        str(image),
    )


def test_the_hosts_journal_stays_hidden_even_on_a_filesystem_of_its_own():
    in_namespace(
        """
mount("tmpfs", "/var/log", "tmpfs")
Path("/var/log/journal").mkdir()
mount("tmpfs", "/var/log/journal", "tmpfs")
Path("/var/log/journal/secret").write_text("the host's")
Path("/var/log/plain").write_text("seen")
with Machine(MachineSpec()) as machine:
    assert inside(machine, "cat /var/log/plain") == "seen"
    assert inside(machine, "ls /var/log/journal 2>&1").endswith("No such file or directory")
    assert inside(machine, "systemctl is-system-running") == "running"
"""
    )


def test_a_large_sparse_var_is_not_copied():
    in_namespace(
        """
mount("tmpfs", "/var/lib", "tmpfs")
with Path("/var/lib/large").open("wb") as file:
    file.truncate(6 * 2**30)
with Machine(MachineSpec()) as machine:
    assert inside(machine, "stat -c %s /var/lib/large") == str(6 * 2**30)
    used = subprocess.run(["du", "-sk", str(machine.overlay.scratch)], capture_output=True, text=True).stdout.split()[0]
    assert int(used) < 4096, used
"""
    )


def test_another_root_tree_is_used_and_not_changed(tmp_path):
    in_namespace(
        """
import sys
base = Path(sys.argv[1])
for name in ("upper", "work", "root"):
    (base / name).mkdir()
mount("overlay", str(base / "root"), "-o", f"lowerdir=/,upperdir={base}/upper,workdir={base}/work", "overlay")
(base / "root/etc/hostname").write_text("another\\n")
(base / "link").symlink_to(base / "root")
for root in (base / "root", base / "link"):
    with Machine(MachineSpec(root=root)) as machine:
        assert inside(machine, "cat /etc/hostname") == "another"
        assert inside(machine, "systemctl is-system-running") == "running"
        inside(machine, "echo changed >/etc/hostname; rm -rf /srv")
    assert (base / "root/etc/hostname").read_text() == "another\\n"
    assert (base / "root/srv").is_dir()
assert Path("/etc/hostname").read_text() != "another\\n"
""",
        str(tmp_path),
    )


def test_a_tree_that_is_none_is_refused(tmp_path):
    with pytest.raises(MachineError, match="not a root tree"), Machine(MachineSpec(root=tmp_path)):
        pytest.fail("it must not be entered")


def test_a_tree_without_systemd_is_refused(tmp_path):
    (tmp_path / "usr").mkdir()
    (tmp_path / "etc").mkdir()
    with pytest.raises(MachineError, match="no systemd in") as caught, Machine(MachineSpec(root=tmp_path)):
        pytest.fail("it must not be entered")
    assert "install" in caught.value.hint


@pytest.fixture(scope="module")
def trixie() -> Path:
    """A minimal Debian 13 tree, made once."""
    if os.environ.get("HARNESS_TEST_TRIXIE") != "1":
        pytest.skip("takes a minute and a mirror the first time; set HARNESS_TEST_TRIXIE=1")
    if not (TRIXIE / "usr/lib/systemd/systemd").exists():
        if shutil.which("mmdebstrap") is None:
            unavailable("mmdebstrap is not installed (apt-get install --no-install-recommends mmdebstrap)")
        TRIXIE.parent.mkdir(parents=True, exist_ok=True)
        include = "--include=systemd,systemd-sysv,dbus,procps,iproute2,python3-minimal"
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", include, "trixie", str(TRIXIE)], check=True)
    return TRIXIE


class TestTrixie:
    """Debian 13, systemd 257, on whatever cgroups this host has."""

    def test_boots_to_running(self, trixie):
        with Machine(MachineSpec(root=trixie)) as machine:
            assert machine.run(["systemctl", "--version"]).text.startswith("systemd 257 ")
            assert machine.run(["systemctl", "is-system-running"]).text == "running\n"
            assert machine.run(["systemctl", "--failed", "--no-legend", "--plain"]).text == ""
            assert machine.run(["journalctl", "--quiet", "-p", "warning"]).text == ""

    def test_limits_bind(self, trixie, until):
        hungry = (
            "[Service]\nExecStart=sh -c 'python3 -c \"kept = bytearray(60000000)\"; sleep infinity'\n"
            "MemoryMax=20M\nOOMPolicy=continue\n"
        )
        few = (
            "[Service]\nExecStart=sh -c 'python3 -c \"import os; [os.fork() for _ in range(4)]\"; sleep infinity'\n"
            "TasksMax=4\n"
        )
        files = {
            f"/etc/systemd/system/{name}.service": (text.encode(), 0o644, (0, 0))
            for name, text in (("hungry", hungry), ("few", few))
        }
        with Machine(MachineSpec(root=trixie, files=files)) as machine:
            services = [Service(machine, f"{name}.service") for name in ("hungry", "few")]
            for service in services:
                assert service.act("start", timeout_s=20.0) == ""
                service.status()
            until(lambda: services[0].counters().oom_kills)
            until(lambda: services[1].counters().forks_rejected)

    def test_a_whole_trial(self, trixie, tmp_path):
        head = f'root = "{trixie}"\n'
        steps = '[[steps]]\nname = "strict"\nrun = "systemctl show -p ProtectSystem tiny"\nstdout_contains = "strict"\n'
        scenario = tiny.scenario(tmp_path, tables=steps, head=head)
        observation = tiny.trial(scenario, "[Service]\nProtectSystem=strict\nSystemCallFilter=@system-service\n")
        assert tiny.verdict(scenario, observation).passed, observation
        assert observation.exposure is not None
        assert observation.counters.memory_peak_bytes is not None
        assert inspect(scenario).systemd_version == 257

    def test_confinement_is_enforced(self, trixie, tmp_path):
        send = "import socket; socket.socket(2, 2).sendto(b'x', ('127.0.0.1', 9))"
        for drop_in, command in {
            "SystemCallFilter=~uname": "uname",
            "ProtectSystem=strict": "touch /etc/made",
            "PrivateDevices=yes": "test -e /dev/net",
            "IPAddressDeny=any": f'python3 -c "{send}"',
        }.items():
            service = f"[Service]\nType=oneshot\nExecStart={command}\n"
            tables = '[[steps]]\nname = "nothing"\nrun = "true"\n'
            scenario = tiny.scenario(tmp_path, service, tables, head=f'root = "{trixie}"\n')
            assert tiny.trial(scenario).start_problem == "", service
            assert tiny.trial(scenario, f"[Service]\n{drop_in}\n").start_problem, drop_in
