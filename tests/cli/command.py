"""The command line as a user calls it, and what it may leave behind."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.machine import leftovers as outside
from harness.machine.cgroup import hierarchies
from harness.unit import catalogue
from tests.systemd import tiny

HARNESS = str(Path(sys.executable).with_name("harness"))
# Few enough for a search of seconds; the tiny service needs two of them left out.
SEARCHED = ("PrivateTmp", "UMask", "ProtectHome", "PrivateDevices", "LockPersonality", "RestrictRealtime")
NEEDS_TWO = """
[[steps]]
name = "two are needed"
run = "systemctl show -p UMask tiny | grep 0022 && systemctl show -p PrivateTmp tiny | grep no"
"""


def few(extra: str = "") -> str:
    """Top-level keys that leave everything alone but `SEARCHED`."""
    left = ", ".join(
        f'{item.name} = "not now"' for item in catalogue.load() if item.searched and item.name not in SEARCHED
    )
    return f"leave_alone = {{ {left} }}\n{extra}"


@dataclass(frozen=True)
class Done:
    """How a command ended: exit status and what it printed."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """What stands after `error`."""
        return self._after("error")

    @property
    def hint(self) -> str:
        """What stands after `hint`."""
        return self._after("hint")

    def _after(self, word: str) -> str:
        lines = self.err.splitlines()
        found = [number for number, line in enumerate(lines) if line.startswith(word + " ")]
        return "\n".join(lines[found[0] :]).removeprefix(word).strip() if found else ""


@cache
def programs_without(*missing: str) -> str:
    """A folder for `PATH` that holds every program of this host but these."""
    folder = Path(tempfile.mkdtemp(prefix="programs-"))
    atexit.register(shutil.rmtree, folder)
    for source in ("/usr/sbin", "/usr/bin"):
        for program in Path(source).iterdir():
            if program.name not in missing and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return str(folder)


def start(*arguments: str, folder: Path, wrap: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Any:
    """Start `harness ARGUMENTS` in `folder`, in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        [*wrap, HARNESS, *arguments],
        cwd=folder,
        # A tracer only saves trials, and takes longer to start than all of these.
        env={**os.environ, "PATH": programs_without("bpftrace", "strace"), **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: Any, timeout_s: float = 120.0) -> Done:
    """Wait for its end."""
    out, err = process.communicate(timeout=timeout_s)
    assert "Traceback" not in err, err
    return Done(process.returncode, out, err)


def harness(*arguments: str, folder: Path, wrap: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Done:
    """Run `harness ARGUMENTS` to its end."""
    return finish(start(*arguments, folder=folder, wrap=wrap, env=env))


def leftovers() -> set[str]:
    """Cgroups and upper layers whose owner is dead."""
    found = [path for tree in hierarchies() for path in outside._machine_cgroups(tree.mountpoint)]
    found += outside.SCRATCH.glob("harness-*")
    return {str(path) for path in found if not outside._owner_lives(path.name)}


def run_folder(folder: Path) -> Path:
    """The only run below `folder`."""
    (found,) = (folder / "results").glob("*/run.json")
    return found.parent


def observations(run: Path) -> list[dict[str, Any]]:
    """The stored observations that are whole."""
    lines = (run / "observations.jsonl").read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def recommendation(run: Path) -> dict[str, Any]:
    """What the run recommends, without what may differ from run to run."""
    data = json.loads((run / "derived" / "recommendation.json").read_text())
    return {
        "state": data["state"],
        "settings": [item["label"] for item in data["settings"]],
        "refused": [item["label"] for item in data["refused"]],
        "confirmed": data["confirmed"],
    }


__all__ = ["few", "finish", "harness", "leftovers", "observations", "recommendation", "run_folder", "start", "tiny"]
