"""A machine taken for a host: the command line of this checkout runs inside it, and everything there is throwaway."""

import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path

from harness.deploy.manager import Manager
from harness.machine import shell
from harness.machine.boot import Machine, MachineSpec

LIBRARY = "/opt/harness-under-test"
PYTHON = str(Path(sys.executable).resolve())
UNIT = "api.service"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/50-harness.conf"
# It says which settings it runs with, and dies, hangs or complains as they ask.
SERVICE = """\
trap 'exit 0' TERM
[ -z "$COMPLAIN" ] || echo "$COMPLAIN" >&2
[ -z "$DIE_AFTER" ] || { sleep "$DIE_AFTER"; exit 1; }
sleep infinity & wait
"""
UNIT_TEXT = """\
[Unit]
StartLimitIntervalSec=60
StartLimitBurst=4
[Service]
ExecStart=/bin/sh /srv/api.sh
Restart=on-failure
RestartSec=100ms
TimeoutStartSec=3
TimeoutStopSec=3
"""


@cache
def library() -> bytes:
    """A tar of this checkout's package and of what its command line imports."""
    listing = "import sys, harness.cli; print('\\n'.join(sorted({n.split('.')[0] for n in sys.modules})))"
    names = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(Path(__file__).parents[2] / "harness", "harness")
        for place in map(Path, sys.path):
            if place.name == "site-packages" and place.is_dir():
                for entry in sorted(place.iterdir()):
                    if entry.name.split(".")[0] in names and entry.suffix != ".dist-info":
                        tar.add(entry, entry.name)
    return packed.getvalue()


class Host:
    """The machine, and what is done on it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def sh(self, command: str, *, timeout_s: float = 120.0) -> shell.Output:
        """Run a shell command on it; `harness` there is this checkout's."""
        return self.machine.run(["sh", "-c", f"{FUNCTION}\n{command}"], timeout_s=timeout_s)

    def show(self, *properties: str, unit: str = UNIT) -> dict[str, str]:
        """`systemctl show`."""
        done = self.machine.run(["systemctl", "show", "-p", ",".join(properties), unit])
        return dict(line.partition("=")[::2] for line in done.text.splitlines())

    def read(self, path: str) -> str | None:
        """A file's text, None when it is not there."""
        try:
            return self.machine.path(path).read_text()
        except FileNotFoundError:
            return None

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        target = self.machine.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


FUNCTION = (
    f"harness() {{ PYTHONPATH={LIBRARY} exec {PYTHON} -c 'from harness.cli import main; main()' \"$@\"; }}; "
    "export PYTHONDONTWRITEBYTECODE=1"
)


@contextmanager
def host(units: Mapping[str, str], files: Mapping[str, str] | None = None) -> Iterator[Host]:
    """A booted host with these units and files, and the harness in it."""
    all_files = {f"/etc/systemd/system/{name}": text for name, text in units.items()} | dict(files or {})
    spec = MachineSpec(files={path: (text.encode(), 0o644, (0, 0)) for path, text in all_files.items()})
    with Machine(spec) as machine, tempfile.TemporaryDirectory():
        target = machine.path(LIBRARY)
        target.mkdir()
        with tarfile.open(fileobj=BytesIO(library())) as tar:
            tar.extractall(target, filter="tar")
        yield Host(machine)


def unit_text(host: Host) -> str:
    """The unit with its drop-ins as `systemctl cat` shows them, without that of harness."""
    folder = host.machine.path(f"/etc/systemd/system/{UNIT}.d")
    names = sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []
    paths = [f"/etc/systemd/system/{UNIT}.d/{name}" for name in names if name != "50-harness.conf"]
    return "\n".join(f"# {path}\n{host.read(path)}" for path in [f"/etc/systemd/system/{UNIT}", *paths])


def run_folder(
    host: Host,
    drop_in: str,
    *,
    name: str = "run",
    state: str = "tight",
    ready: str = "true",
    cautions: Sequence[str] = (),
) -> str:
    """Put a run that recommends `drop_in` on the host. Returns its path there."""
    folder = f"/srv/{name}"
    scenario = {
        "format": 1,
        "unit": UNIT,
        "ready": {"run": ready, "timeout_s": 3.0},
        "steps": [{"name": "active", "run": f"systemctl is-active {UNIT}"}],
    }
    facts = {
        "format": 1,
        "scenario": "deployed",
        "state": "done",
        "scenario_data": scenario,
        "scenario_path": "/srv/deployed.toml",
        "inspection": {"systemd_version": Manager(UNIT, host.machine.run).version(), "unit_text": unit_text(host)},
    }
    host.write(f"{folder}/run.json", json.dumps(facts))
    recommendation = {"format": 1, "state": state, "limits": {"state": "confirmed"}, "cautions": list(cautions)}
    host.write(f"{folder}/derived/recommendation.json", json.dumps(recommendation))
    host.write(f"{folder}/derived/{UNIT}.d/50-harness.conf", drop_in)
    return folder
