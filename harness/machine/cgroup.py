"""A machine's own cgroups on the host, on cgroup v1 (hybrid) and v2, and the counters read from them.

Source of the file names: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of Linux 6.x. On a v1 host a machine
needs a cgroup of its own in every controller's tree; without that two machines would share `/system.slice/UNIT`.
"""

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError
from harness.machine import delegation, devices
from harness.machine.counters import UnitFiles, directories, pids_below
from harness.machine.processes import mounts_of
from harness.mountinfo import Mount

PREFIX = "harness-"  # of the name of every machine


@dataclass(frozen=True)
class Hierarchy:
    """One mounted cgroup tree; `controllers` is empty for the v2 tree and for named v1 trees."""

    mountpoint: Path
    version: int
    controllers: frozenset[str]
    key: str

    @property
    def hands_on(self) -> bool:
        """Whether this is a v2 tree with controllers; beside v1 trees in use (hybrid) it has none."""
        return self.version == 2 and bool((self.mountpoint / "cgroup.controllers").read_text().strip())


def hierarchies(mounts: Iterable[Mount] | None = None) -> tuple[Hierarchy, ...]:
    """The cgroup trees mounted on this host, each once."""
    found: dict[str, Hierarchy] = {}
    for mount in mounts_of("self") if mounts is None else mounts:
        if mount.kind == "cgroup2":
            found.setdefault("", Hierarchy(Path(mount.point), 2, frozenset(), ""))
        elif mount.kind == "cgroup":
            named = next((word for word in mount.own if word.startswith("name=")), "")
            controllers = mount.own - {"rw", "ro", "xattr", "clone_children", named}
            key = named or ",".join(sorted(controllers))
            found.setdefault(key, Hierarchy(Path(mount.point), 1, controllers, key))
    return tuple(found.values())


def memberships(pid: int | str) -> dict[str, str]:
    """Cgroup path of process `pid` in each hierarchy, by the key that `hierarchies` gives it."""
    paths = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        key = controllers if controllers.startswith("name=") else ",".join(sorted(controllers.split(",")))
        paths[key] = path
    return paths


def _home(hierarchy: Hierarchy, membership: str) -> Path:
    """The cgroup below which a machine's own one is made: the harness's own, where it may have children."""
    path = hierarchy.mountpoint / membership.lstrip("/")
    if hierarchy.hands_on:
        return delegation.home(hierarchy.mountpoint, membership)
    return path if path.exists() else hierarchy.mountpoint


class MachineCgroups:
    """The cgroups of one machine, made here and removed here: `paths`, one named `name` in every hierarchy.

    `launch` is where its first process starts, and `boot` what systemd-nspawn itself then moves to. On v2 both lie
    below the machine's own, which hands on controllers and so holds no process; else `boot` is None.
    `control` and `workload`, for commands run in the machine, lie beside it. Inside it the systemd that is booted there
    would remove them from the v1 controllers that it finds unused, whenever it sets up a unit with limits.
    """

    def __init__(self, name: str) -> None:
        own = memberships("self")
        self.trees = hierarchies()
        if not self.trees:
            raise MachineError(
                "no cgroup tree is mounted on this host",
                hint="mount one (for example `mount -t cgroup2 cgroup2 /sys/fs/cgroup`) and try again",
            )
        self.paths = {tree.key: _home(tree, own.get(tree.key, "/")) / name for tree in self.trees}
        self._handing_on = [self.paths[tree.key] for tree in self.trees if tree.hands_on]
        self.boot = next((path / "boot" for path in self._handing_on), None)
        self.launch = [path / "launch" if path in self._handing_on else path for path in self.paths.values()]
        self.control = [path.with_name(f"{name}-control") for path in self.paths.values()]
        self.workload = [path.with_name(f"{name}-workload") for path in self.paths.values()]

    def create(self) -> None:
        """Make them."""
        try:
            for tree in self.trees:
                self.paths[tree.key].mkdir()
                _prepare(tree, self.paths[tree.key])
            for path in self._handing_on:
                delegation.hand_on(path.parent)
                _hand_on_all(path)
                devices.restrict_v2(path)
                (path / "launch").mkdir()
                (path / "boot").mkdir()
            for tree, *beside in zip(self.trees, self.control, self.workload, strict=True):
                for path in beside:
                    path.mkdir()
                    _prepare(tree, path)
                    if tree.hands_on:
                        devices.restrict_v2(path)
        except OSError as error:
            self.remove()
            raise MachineError(
                f"cannot make a cgroup for the machine: {error}",
                hint="run as root; in a container, with /sys/fs/cgroup writable and the host's cgroup namespace",
            ) from error

    def remove(self, *, timeout_s: float = 5.0) -> bool:
        """End what still runs inside and remove them; False if one could not be removed in time."""
        deadline = time.monotonic() + timeout_s
        paths = [*self.workload, *self.control, *self.paths.values()]
        results = [remove_tree(path, deadline) for path in paths]  # a list: one failure stops none
        for path in self._handing_on:
            delegation.take_back(path.parent, prefix=PREFIX)
        return all(results)

    def cpu_usage_usec(self) -> int:
        """Processor time used so far in all of them; the v2 tree counts it without any controller."""
        for key, path, control, workload in zip(
            self.paths, self.paths.values(), self.control, self.workload, strict=True
        ):
            if key == "" or "cpuacct" in key.split(","):
                return sum(_cpu_usage_usec({key: each}) for each in (path, control, workload))
        return 0

    def inside(self, leader_pid: int, control_group: str) -> dict[str, Path]:
        """Host paths, by hierarchy, of the cgroup that the machine's systemd calls `control_group`."""
        inside = memberships(leader_pid)
        result = {}
        for tree in self.trees:
            base = inside.get(tree.key, "/").removesuffix("/init.scope")
            result[tree.key] = tree.mountpoint / base.lstrip("/") / control_group.lstrip("/")
        return result


def _prepare(tree: Hierarchy, path: Path) -> None:
    if tree.version == 2:
        return
    _inherit_cpuset(path)
    if "memory" in tree.controllers and (path / "memory.swappiness").exists():
        # systemd has no MemorySwapMax= on v1, and a service that is swapped out looks as if it needed less.
        (path / "memory.swappiness").write_text("0")
    if "devices" in tree.controllers:
        devices.restrict_v1(path)


def _hand_on_all(path: Path) -> None:
    """What a v2 cgroup has, its children get; before any process is in it, and not after."""
    names = sorted(delegation.words(path / "cgroup.controllers"))
    (path / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in names))


def _cpu_usage_usec(paths: dict[str, Path]) -> int:
    with UnitFiles(paths) as files:
        return files.cpu_usage_usec() or 0


def _inherit_cpuset(path: Path) -> None:
    """A new v1 cpuset is empty and takes no process until it names its processors and memory nodes."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (path / name).exists() and (path.parent / name).exists():
            (path / name).write_text((path.parent / name).read_text())


def kill_below(paths: Iterable[Path], *, timeout_s: float = 2.0) -> None:
    """End every process in the cgroups `paths` and below them, those too that are forked meanwhile."""
    paths = list(paths)
    deadline = time.monotonic() + timeout_s
    while (pids := {pid for path in paths for pid in pids_below(path)}) and time.monotonic() < deadline:
        for pid in pids:
            _kill(pid)
        time.sleep(0.002)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def remove_tree(path: Path, deadline: float) -> bool:
    """Remove the cgroup `path` with those below, ending what still runs in it, until `deadline` (monotonic)."""
    while path.exists():
        for pid in pids_below(path):
            _kill(pid)
        for directory in directories(path):
            try:
                directory.rmdir()
            except OSError:
                break  # EBUSY: the kernel has not yet reaped what was killed
        if time.monotonic() > deadline:
            return not path.exists()
        if path.exists():
            time.sleep(0.002)
    return True
