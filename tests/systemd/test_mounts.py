"""What is really mounted under an answer: lists of paths make mounts that fall out of what is said of `/`."""

import pytest

from harness.search.needs import APART
from harness.unit.dropin import render
from harness.unit.needs import Needs
from harness.unit.start import Start, StartKind
from harness.unit.tightening import Tightening
from harness.unit.unitfile import parse
from tests.systemd import tiny

pytestmark = pytest.mark.boots

SERVICE = "[Service]\nExecStart=/bin/sleep infinity\nStateDirectory=tiny\nRuntimeDirectory=tiny\n"
SHOW = """
[[steps]]
name = "mounts"
run = "cut -d' ' -f5,6 /proc/$(systemctl show --property=MainPID --value tiny)/mountinfo | grep -Ev '^/(sys|proc)'"
"""
WRITABLE = ("/srv", "/etc/ssl")
NEEDS = Needs(
    writable=WRITABLE,
    executable=("/usr/lib", "/usr/lib64", "/usr/sbin"),
    own_programs=("/bin/sleep",),
    programs=("/bin/sh",),
    apart=(*APART, *WRITABLE, "/run/tiny", "/var/lib/tiny"),
)
KERNELS = ("/dev", "/proc", "/sys", "/run/host")
LABELS = ("ProtectSystem=yes", "ProtectSystem=full", "ProtectSystem=strict", "PrivateTmp=yes", "NoExecPaths -/")


def mounted(folder, *labels: str) -> dict[str, set[str]]:
    """Options of each mount that the main process sees, the last one of each place."""
    start = Start.of(parse(SERVICE), StartKind.STRIPPED)
    drop_in = render([Tightening.from_label(label) for label in labels], start, needs=NEEDS)
    observation = tiny.trial(tiny.scenario(folder, SERVICE, SHOW), drop_in)
    assert observation.steps[-1].ok, observation.steps
    rows = [line.split() for line in observation.steps[-1].stdout.splitlines()]
    return {row[0]: set(row[1].split(",")) for row in rows}


def writable(mounts: dict[str, set[str]]) -> set[str]:
    return {path for path, options in mounts.items() if "rw" in options and not path.startswith(KERNELS)}


def test_only_what_is_excepted_stays_writable(tmp_path):
    found = mounted(tmp_path, *LABELS, "NoExecPaths -/tmp", "NoExecPaths -/var/tmp", "ReadWritePaths -/etc/ssl")
    assert writable(found) - {"/run", "/run/lock", "/run/user", "/home", "/root"} <= {
        "/srv",
        "/tmp",
        "/var/tmp",
        "/var/lib/tiny",
        "/run/tiny",
    }
    assert {"/usr/lib", "/usr/sbin"} <= found.keys()


def test_what_stays_writable_runs_no_programs(tmp_path):
    closed = [f"NoExecPaths -{path}" for path in NEEDS.apart]
    found = mounted(tmp_path, *LABELS, *closed)
    for path in ("/tmp", "/var/tmp", "/srv", "/etc/ssl", "/var/lib/tiny", "/run/tiny", "/dev/shm", "/"):
        assert "noexec" in found[path], path
    assert "noexec" not in found["/usr/lib"]


def test_a_path_closed_to_programs_is_not_opened_to_writing(tmp_path):
    """Its exception is denied, and without PrivateTmp= /tmp is read-only as well."""
    labels = [label for label in LABELS if label != "PrivateTmp=yes"]
    closed = ["NoExecPaths -/tmp", "NoExecPaths -/srv", "NoExecPaths -/etc/ssl", "ReadWritePaths -/srv"]
    found = mounted(tmp_path, *labels, *closed)
    assert not {"/srv", "/tmp"} & writable(found)
    assert "/etc/ssl" in writable(found)
