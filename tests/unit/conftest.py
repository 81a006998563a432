import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.unit.exposure import overall
from harness.unit.unitfile import UnitFile, parse

# Sets nearly everything, in the spellings and with the older names that real units use.
HARDENED = """\
[Unit]
Description=Everything at once

[Service]
Type=simple
ExecStart=/bin/true
User=daemon
LimitNOFILE=65535
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_SETUID
CapabilityBoundingSet=~CAP_SETUID
ProtectSystem=strict
ProtectHome=true
PrivateTmp=on
PrivateDevices=1
PrivateNetwork=yes
PrivateUsers=yes
PrivateMounts=yes
PrivateIPC=yes
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_UNIX AF_INET
RestrictAddressFamilies=~AF_INET
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
SystemCallArchitectures=native
SystemCallLog=@clock
RemoveIPC=yes
UMask=0077
ReadOnlyPaths=-/srv
ReadWriteDirectories=-/var/lib/thing
InaccessiblePaths=-/mnt
NoExecPaths=-/srv
ExecPaths=-/srv/bin
TemporaryFileSystem=/media
IPAddressDeny=any
IPAddressAllow=localhost
SocketBindDeny=any
SocketBindAllow=tcp:80
DevicePolicy=closed
DeviceAllow=/dev/null rw
MemoryMax=1G
MemoryHigh=900M
MemorySwapMax=0
CPUQuota=50%
TasksMax=100
"""

PLAIN = "[Service]\nExecStart=/bin/true\n"


@pytest.fixture
def hardened() -> UnitFile:
    return parse(HARDENED)


@pytest.fixture
def plain() -> UnitFile:
    return parse(PLAIN)


class SystemdAnalyze:
    """The real systemd-analyze, offline, on a unit and perhaps a drop-in in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, unit: str, drop_in: str = "") -> Path:
        file = self.folder / "probe.service"
        file.write_text(unit)
        beside = self.folder / "probe.service.d"
        shutil.rmtree(beside, ignore_errors=True)
        if drop_in:
            beside.mkdir()
            (beside / "10-probe.conf").write_text(drop_in)
        return file

    def complaints(self, unit: str, drop_in: str = "") -> list[str]:
        """What `verify` says of these files; its exit status is 0 for unknown keys and values."""
        done = self._run("--man=no", "verify", str(self.write(unit, drop_in)))
        return [line for line in (done.stdout + done.stderr).splitlines() if "probe.service" in line]

    def exposure(self, unit: str, drop_in: str = "") -> float:
        return overall(self._run("--offline=true", "security", str(self.write(unit, drop_in))).stdout)

    def rows_json(self, unit: str, drop_in: str = "", *, debug: bool = False) -> str:
        file = self.write(unit, drop_in)
        extra = {"SYSTEMD_ANALYZE_DEBUG": "1"} if debug else {}
        return self._run("--offline=true", "--json=short", "security", str(file), **extra).stdout

    def debug_rows(self, unit: str, drop_in: str = "") -> list[dict[str, Any]]:
        """Rows with the weight, badness and range that SYSTEMD_ANALYZE_DEBUG adds."""
        rows: list[dict[str, Any]] = json.loads(self.rows_json(unit, drop_in, debug=True))
        return rows

    def _run(self, *args: str, **extra: str) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"LC_ALL": "C", "SYSTEMD_PAGER": "cat", "SYSTEMD_COLORS": "0"} | extra
        argv = ["systemd-analyze", "--no-pager", *args]
        return subprocess.run(argv, capture_output=True, text=True, env=env, check=False, timeout=60)


@pytest.fixture
def analyze(tmp_path: Path) -> SystemdAnalyze:
    if shutil.which("systemd-analyze") is None:
        reason = "systemd-analyze is missing (Debian: package systemd)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return SystemdAnalyze(tmp_path)
