"""Where machines get controllers from on cgroup v2, and giving back what was switched on for them.

A cgroup that hands controllers to its children may hold no processes itself, except for the root
(Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint"). systemd switches on what its units need
and no more: on a plain Debian 13 `memory` and `pids`, but not `cpu`, without which CPUQuota= would do nothing and say
nothing.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

WANTED = frozenset({"memory", "pids", "cpu"})
# Kept on the cgroup itself, so that the last machine to go knows what the first one switched on, whoever that was.
MARK = "trusted.harness_controllers"


def words(path: Path) -> set[str]:
    """The words in a file of a cgroup."""
    return set(path.read_text().split())


def home(mountpoint: Path, membership: str) -> Path:
    """The cgroup of the v2 tree at `mountpoint` below which a process of `membership` makes a machine's own.

    The nearest ancestor that already hands on all that is wanted, else the root.
    """
    path = mountpoint / membership.lstrip("/")
    while path.is_relative_to(mountpoint) and path != mountpoint:
        if path.exists() and words(path / "cgroup.subtree_control") >= WANTED and not words(path / "cgroup.procs"):
            return path
        path = path.parent
    return mountpoint


def hand_on(home: Path) -> None:
    """Let the children of `home` have what is wanted. Raises OSError where the kernel refuses."""
    with _locked(home):
        lacking = words(home / "cgroup.controllers") & WANTED - words(home / "cgroup.subtree_control")
        if lacking:
            (home / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(lacking)))
            os.setxattr(home, MARK, " ".join(sorted(lacking | _marked(home))).encode())


def take_back(home: Path, *, prefix: str) -> None:
    """Switch off again what `hand_on` switched on, once no cgroup whose name begins with `prefix` is left there.

    What a unit started meanwhile uses stays on: the kernel refuses to take it away.
    """
    with _locked(home):
        names = _marked(home)
        if not names or any(home.glob(f"{prefix}*")):
            return
        for name in names:
            with contextlib.suppress(OSError):
                (home / "cgroup.subtree_control").write_text(f"-{name}")
        os.removexattr(home, MARK)


def _marked(home: Path) -> set[str]:
    try:
        return set(os.getxattr(home, MARK).decode().split())
    except OSError:
        return set()


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Alone among harnesses: else one could switch off what another has just found to be on."""
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
