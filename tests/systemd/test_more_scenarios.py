"""Traps of the larger scenarios: each ends a trial exactly at the step that is there for it.

Their untouched baselines, stripped and as shipped, are tried in `test_scenarios.py` together with all others.
"""

import pytest

from harness.observation import Stage
from tests.systemd.test_scenarios import NAMES, STARTED, bench, ended_at

pytestmark = [pytest.mark.boots, pytest.mark.larger]
EPERM = "SystemCallErrorNumber=EPERM"

TRAPS = [
    ("postgresql", ("MemoryDenyWriteExecute=yes",), "compiled query"),
    ("postgresql", ("PrivateNetwork=yes",), "TCP with password"),
    ("postgresql", ("InaccessiblePaths=/usr/bin/gzip",), "copy through a program"),
    ("postgresql", ("SystemCallFilter=~symlink symlinkat", EPERM), "tablespace"),
    ("postgresql", ("ReadOnlyPaths=/srv/postgresql/archive",), "WAL archive"),
    ("postgresql", ("ProtectSystem=strict",), STARTED),
    ("mosquitto", ("ReadOnlyPaths=/var/lib/mosquitto",), "database is written"),
    ("mosquitto", ("SystemCallFilter=~rename", EPERM), "database is written"),
    ("mosquitto", ("SystemCallFilter=~connect", EPERM), "bridge to another broker"),
    ("mosquitto", ("CapabilityBoundingSet=~CAP_CHOWN",), STARTED),
    ("unbound", ("SystemCallFilter=~connect", EPERM), "name of a stub zone"),
    ("unbound", ("SystemCallFilter=~accept accept4", EPERM), "local data"),
    ("unbound", ("InaccessiblePaths=/etc/unbound/harness-local.conf",), "ready"),
    ("unbound", ("InaccessiblePaths=/usr/bin/setpriv",), STARTED),
    ("openssh-server", ("NoNewPrivileges=yes",), "program of another user's rights"),
    ("openssh-server", ("PrivateTmp=yes",), "session has the whole machine"),
    ("openssh-server", ("ProtectProc=invisible",), "session has the whole machine"),
    ("openssh-server", ("CapabilityBoundingSet=~CAP_CHOWN",), "terminal"),
    # A mount namespace of the server's own: what is mounted in a session stays there.
    ("openssh-server", ("ProtectKernelModules=yes",), "administrator's session"),
    ("openssh-server", ("ReadOnlyPaths=/var/log",), "login is written down"),
    ("openssh-server", ("KillMode=control-group",), "session outlived the restart"),
    ("asgi", ("LimitFSIZE=1M",), "upload"),
    ("asgi", ("InaccessiblePaths=/usr/bin/sha256sum",), "digest by a child process"),
    ("asgi", ("InaccessiblePaths=/dev/shm",), "child processes and shared memory"),
    ("asgi", ("ReadOnlyPaths=/tmp",), "temporary file"),
    ("asgi", ("SystemCallFilter=~connect", EPERM), "name look-up"),
    ("asgi", ("ProcSubset=pid",), "memory figures"),
    # Health check and readiness are content with all of these.
    ("flask-mongo", ("IPAddressDeny=any", "IPAddressAllow=localhost"), "orders are in the database"),
    (
        "flask-mongo",
        ("ProtectSystem=strict", "ReadWritePaths=/opt/orders /tmp /var/log/orders"),
        "export is on disk",
    ),
    ("flask-mongo", ("InaccessiblePaths=/opt/orders/reader.py",), "receipt is read"),
    ("node", ("MemoryDenyWriteExecute=yes",), "ready"),
    ("node", ("LimitFSIZE=1M",), "upload"),
    ("node", ("SystemCallFilter=~setpriority", EPERM), "child processes"),
    ("node", ("RestrictAddressFamilies=AF_INET AF_UNIX",), "figures of the machine"),
    ("node", ("SystemCallFilter=~kill", EPERM), "reload"),
]

HARMLESS = [
    ("postgresql", ("PrivateTmp=yes",)),
    ("mosquitto", ("CapabilityBoundingSet=~CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH", "MemoryDenyWriteExecute=yes")),
    # The unit's own kill at a reload is exempt: it has the prefix `+` (systemd.service(5)).
    ("unbound", ("CapabilityBoundingSet=~CAP_KILL CAP_CHOWN CAP_DAC_OVERRIDE",)),
    ("openssh-server", ("RestrictNamespaces=yes", "RestrictRealtime=yes", "LockPersonality=yes")),
    ("asgi", ("MemoryDenyWriteExecute=yes", "RestrictAddressFamilies=AF_INET AF_UNIX")),
    # Pipes to children come from socketpair(), which the filter of families does not see (systemd.exec(5)).
    ("node", ("RestrictAddressFamilies=AF_INET AF_NETLINK",)),
]


def test_the_baseline_of_each_is_tried_too() -> None:
    assert {name for name, _, _ in TRAPS} <= set(NAMES)


@pytest.mark.parametrize(("name", "lines", "step"), TRAPS, ids=[f"{name}-{lines[0]}" for name, lines, _ in TRAPS])
def test_a_known_trap_is_found_at_its_step(name: str, lines: tuple[str, ...], step: str) -> None:
    assert ended_at(bench(name).trial(*lines)) == step


@pytest.mark.parametrize(("name", "lines"), HARMLESS, ids=[f"{name}-{lines[0]}" for name, lines in HARMLESS])
def test_what_a_service_does_not_need_passes(name: str, lines: tuple[str, ...]) -> None:
    observation = bench(name).trial(*lines)
    assert ended_at(observation) == ""
    assert observation.reached is Stage.DONE
    assert not observation.stop_problem
