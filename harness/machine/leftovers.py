"""Names of what is made outside a process, by which the next start finds and removes what a dead one left behind."""

import itertools
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.machine import delegation
from harness.machine.cgroup import PREFIX, hierarchies, remove_tree
from harness.machine.overlay import Overlay

SCRATCH = Path("/var/tmp")
# Process id and start time of the owner, its PID namespace unless that is the host's first one, and a number.
NAME = re.compile(r"harness-(\d+)-(\d+)(n\d+)?-\d+.*")
FIRST_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO of include/linux/proc_ns.h
# In each folder made here: by its name alone one of the user's, such as one with a date, could be taken for ours.
MARK = ".harness"
_sequence = itertools.count()


def new_name() -> str:
    """A name for what this process makes outside itself; it tells whether its maker still lives."""
    return f"{PREFIX}{os.getpid()}-{_start_ticks('self')}{_namespace()}-{next(_sequence)}"


def new_scratch(name: str) -> Path:
    """A new folder for what is written meanwhile; `name` is of `new_name`, or begins so. Raises OSError."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=SCRATCH))
    try:
        (folder / MARK).touch()
    except OSError:
        folder.rmdir()
        raise
    return folder


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """Such a folder, which is removed at the end."""
    folder = new_scratch(name)
    try:
        yield folder
    finally:
        Overlay.remove_scratch(folder)


def remove_leftovers() -> list[str]:
    """Remove cgroups and folders of harness processes that no longer live. Returns what was removed."""
    removed = []
    deadline = time.monotonic() + 10.0
    for tree in hierarchies():
        for path in _machine_cgroups(tree.mountpoint):
            if not _owner_lives(path.name) and remove_tree(path, deadline):
                removed.append(str(path))
        if tree.hands_on:
            delegation.take_back(tree.mountpoint, prefix=PREFIX)
    for path in sorted(SCRATCH.glob("harness-*-*-*")):
        if not _owner_lives(path.name) and (path / MARK).is_file():
            Overlay.remove_scratch(path)
            removed.append(str(path))
    return removed


def _start_ticks(pid: int | str) -> str:
    """Start time of a process in clock ticks since boot, field 22 of proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]


def _namespace() -> str:
    """What tells the owners of different containers apart, whose process ids mean different processes."""
    link = str(Path("/proc/self/ns/pid").readlink())
    return "" if link == FIRST_NAMESPACE else "n" + link.removeprefix("pid:[").removesuffix("]")


def _owner_lives(name: str) -> bool:
    match = NAME.fullmatch(name)
    if match is None or (match[3] or "") != _namespace():
        return True  # not one of ours, or of another container's: its process id means nothing here
    try:
        return _start_ticks(match[1]) == match[2]
    except OSError:
        return False


def _machine_cgroups(tree: Path) -> list[Path]:
    """Cgroups in `tree` named as machines are; those of other harnesses come and go while this looks."""
    found = []
    for directory, names, _ in os.walk(tree):
        ours = [name for name in names if NAME.fullmatch(name)]
        found += [Path(directory, name) for name in ours]
        names[:] = [name for name in names if name not in ours]
    return found
