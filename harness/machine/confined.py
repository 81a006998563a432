"""Looking at a unit where it is installed, or at a unit file: nothing is started, stopped or changed.

Where it is installed may be this host or a machine: `System` is what both offer.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from harness.errors import MachineError, UnitError
from harness.machine import filters, programs, shell
from harness.machine.cgroup import hierarchies, memberships
from harness.machine.counters import pids_below
from harness.machine.inspect import syscall_groups, version_number
from harness.machine.processes import is_systemds, mounts_of, namespaces_apart, status_fields
from harness.machine.tree import resolve
from harness.unit import exposure
from harness.unit.confined import Confined, Host, Look, Warned
from harness.unit.paths import LOOKED_AT, named
from harness.unit.unitfile import UnitFile, parse, parse_cat

PROPERTIES = "LoadState,LoadError,ActiveState,ControlGroup,NeedDaemonReload,UID"
WARNING = re.compile(r"^(?P<file>/\S+):(?P<line>\d+): (?P<message>.*)$", re.MULTILINE)
LIMITS = {
    "Max open files": "LimitNOFILE",
    "Max processes": "LimitNPROC",
    "Max core file size": "LimitCORE",
    "Max locked memory": "LimitMEMLOCK",
    "Max file size": "LimitFSIZE",
    "Max address space": "LimitAS",
}
# Files of a unit's cgroup: name of cgroup v2 → controller and name of v1.
CONTROL = {
    "memory.max": ("memory", "memory.limit_in_bytes"),
    "memory.high": ("", ""),
    "memory.swap.max": ("", ""),
    "pids.max": ("pids", "pids.max"),
    "cpu.max": ("cpu", ""),
    "devices.list": ("devices", "devices.list"),
}
V1_NO_MEMORY_LIMIT = 1 << 62  # LONG_MAX in whole pages stands for none
# A unit of Type=simple is active before its process is confined, which takes a busy host a while.
CONFINED_WITHIN_S = 5.0


class System(Protocol):
    """A running systemd: process 1 as this host numbers it, commands beside it, and where it keeps cgroups."""

    leader: int

    def run(self, argv: Sequence[str]) -> shell.Output:
        """Run a command there."""

    def unit_cgroups(self, control_group: str) -> dict[str, Path]:
        """Paths, by hierarchy, of what that systemd calls `control_group`."""


class ThisHost:
    """The systemd that this host itself runs."""

    leader = 1

    def run(self, argv: Sequence[str]) -> shell.Output:
        """Run a command."""
        return shell.run(argv)

    def unit_cgroups(self, control_group: str) -> dict[str, Path]:
        """Paths of a cgroup in every hierarchy."""
        own = memberships(self.leader)
        found = {}
        for tree in hierarchies():
            base = own.get(tree.key, "/").removesuffix("/init.scope")
            found[tree.key] = tree.mountpoint / base.lstrip("/") / control_group.lstrip("/")
        return found


def look_at_unit(system: System, name: str, *, read_filters: bool = False) -> Look:
    """Everything about an installed unit, and about its processes as they are now.

    `read_filters` stops each of them for a moment (`machine/filters.py`). Raises UnitError when systemd does not run
    or does not know the unit.
    """
    shown = _show(system, name)
    if shown.get("LoadState") != "loaded":
        why = shown.get("LoadError", "").strip('" ') or shown.get("LoadState", "unknown")
        raise UnitError(f"the unit {name} cannot be looked at: {why}", hint="see `systemctl list-unit-files`")
    unit = parse_cat(system.run(["systemctl", "cat", name]).text)
    if "Service" not in unit.sections():
        raise UnitError(f"{name} has no [Service] section", hint="only services are confined by these directives")
    host = _host(system)
    paths = {key: path for key, path in system.unit_cgroups(shown.get("ControlGroup", "")).items() if path.is_dir()}
    pids = _pids(paths) if shown.get("ControlGroup") else []
    looked_at = [*LOOKED_AT, *named(unit, name)]
    processes = _processes(system.leader, pids, looked_at, read_filters=read_filters)
    return Look(
        name=name,
        unit=unit,
        host=host,
        exposure=_exposure(system.run(["systemd-analyze", "security", "--no-pager", name])),
        warned=_warned(system.run(["systemd-analyze", "verify", "--man=no", name]), unit),
        running=bool(processes),
        reload_needed=shown.get("NeedDaemonReload") == "yes",
        processes=processes,
        outer=mounts_of(system.leader),
        control=_control(paths, system.unit_cgroups("/")),
        programs=programs.attached(paths[""]) if "" in paths else None,
        owner=int(shown["UID"]) if shown.get("UID", "").isdigit() else None,
    )


def look_at_file(path: Path, system: System) -> Look:
    """A unit file with the drop-ins in the folder beside it. Raises UnitError when it cannot be read.

    In a run folder the drop-in beside the whole unit is worked into it already.
    """
    is_answer = (path.parent / "recommendation.json").is_file()
    parts = [path, *(() if is_answer else sorted(path.parent.glob(f"{path.name}.d/*.conf")))]
    assignments = [a for part in parts for a in parse(_text(part), source=str(part)).assignments]
    unit = UnitFile(tuple(assignments))
    if "Service" not in unit.sections():
        raise UnitError(f"{path} has no [Service] section", hint="only services are confined by these directives")
    # Empty: not the drop-ins that this host has for a unit of that name, only those beside the file (systemd.unit(5)).
    alone = ["env", "SYSTEMD_UNIT_PATH="]
    offline = system.run([*alone, "systemd-analyze", "security", "--no-pager", "--offline=true", str(path)])
    return Look(
        name=path.name,
        unit=unit,
        host=_host(system),
        exposure=_exposure(offline),
        warned=_warned(system.run(["systemd-analyze", "verify", "--man=no", str(path)]), unit),
    )


def _show(system: System, name: str) -> dict[str, str]:
    done = system.run(["systemctl", "show", name, "-p", PROPERTIES])
    if done.status != 0:
        said = (done.error_text.splitlines() or ["no answer"])[0]
        raise MachineError(
            f"systemd does not answer about {name}: {said}",
            hint="where no systemd runs, name the unit's file: harness check /usr/lib/systemd/system/NAME.service",
        )
    return dict(line.partition("=")[::2] for line in done.text.splitlines() if "=" in line)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        hint = "name a unit file or an installed unit"
        raise UnitError(f"cannot read {path}: {error.strerror}", hint=hint) from error


def _host(system: System) -> Host:
    banner = system.run(["systemctl", "--version"]).text
    groups = syscall_groups(system.run(["systemd-analyze", "syscall-filter"]).text)
    names = sorted({call for calls in groups.values() for call in calls})
    memory = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return Host(
        version=version_number(banner),
        features=banner.partition("\n")[2].strip(),
        processors=os.cpu_count() or 1,
        memory_bytes=int(memory[1]) * 1024 if memory else None,
        groups={name: frozenset(calls) for name, calls in groups.items()},
        numbers=filters.numbers(names),
    )


def _exposure(done: shell.Output) -> float | None:
    try:
        return exposure.overall(done.text)
    except UnitError:
        return None


def _warned(done: shell.Output, unit: UnitFile) -> tuple[Warned, ...]:
    """What systemd says of the unit's own files; it may name them by another path to the same folder (/lib)."""
    own = {PurePosixPath(a.source).parts[-2:]: a.source for a in unit.assignments}
    found = []
    for match in WARNING.finditer(done.error_text):
        source = own.get(PurePosixPath(match["file"]).parts[-2:])
        if source is not None:
            found.append(Warned(source, int(match["line"]), match["message"]))
    return tuple(dict.fromkeys(found))


# -- processes


def _pids(paths: Mapping[str, Path]) -> list[int]:
    """Processes of a unit: systemd keeps a cgroup for each in its own tree, whatever controllers are in use.

    Where all are about to be confined, what they are then.
    """
    key = next((key for key in ("name=systemd", "", "pids") if key in paths), None)
    given_up = time.monotonic() + CONFINED_WITHIN_S
    while True:
        pids = pids_below(paths[key]) if key is not None else []
        if not pids or not all(map(_about_to_be, pids)) or time.monotonic() > given_up:
            return pids
        time.sleep(0.02)


def _about_to_be(pid: int) -> bool:
    try:
        return is_systemds(status_fields(pid)["Name"])
    except (OSError, KeyError):
        return False  # ended meanwhile


def _processes(leader: int, pids: Iterable[int], paths: Sequence[str], *, read_filters: bool) -> tuple[Confined, ...]:
    found = []
    known: dict[str, Any] = {}
    for pid in sorted(pids):
        try:
            fields = status_fields(pid)
            if "Uid" not in fields or fields.get("State", "").startswith("Z") or is_systemds(fields["Name"]):
                continue
            loaded = fields.get("Seccomp_filters", "")
            # Children inherit filters: one process is stopped for all that have as many.
            if read_filters and fields.get("Seccomp") == "2" and known.get(loaded) is None:
                known[loaded] = filters.read(pid)
            found.append(_process(leader, pid, fields, paths, known.get(loaded)))
        except PermissionError as error:
            hint = "run it with sudo, or as root: a process's mounts and namespaces are shown to nobody else"
            raise UnitError(f"cannot look into process {pid}: {error.strerror}", hint=hint) from error
        except (OSError, ValueError):
            continue  # ended meanwhile
    return tuple(found)


def _process(leader: int, pid: int, fields: Mapping[str, str], paths: Sequence[str], rules: Any) -> Confined:
    count = fields.get("Seccomp_filters", "")
    seccomp = int(fields.get("Seccomp", "0"))
    return Confined(
        pid=pid,
        comm=fields["Name"],
        uid=int(fields["Uid"].split()[1]),
        effective=int(fields["CapEff"], 16),
        bounding=int(fields["CapBnd"], 16),
        ambient=int(fields.get("CapAmb", "0"), 16),
        no_new_privileges=fields.get("NoNewPrivs") == "1",
        seccomp=seccomp,
        groups=frozenset(map(int, [fields["Gid"].split()[1], *fields.get("Groups", "").split()])),
        filter_count=int(count) if count.isdigit() else None,
        umask=int(fields["Umask"], 8) if "Umask" in fields else None,
        apart=namespaces_apart(pid, leader),
        mounts=mounts_of(pid),
        limits=_limits(pid),
        real=_real(pid, paths),
        filters=rules if seccomp == 2 else () if seccomp == 0 else None,
    )


def _limits(pid: int) -> dict[str, tuple[int | None, int | None]]:
    found = {}
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
        name, *values = re.split(r"\s{2,}", line.strip())
        if name in LIMITS and len(values) >= 2:
            soft, hard = (None if value == "unlimited" else int(value) for value in values[:2])
            found[LIMITS[name]] = (soft, hard)
    return found


def _real(pid: int, paths: Iterable[str]) -> dict[str, str]:
    """The paths that exist in the process's root, each with its links followed inside that root."""
    root, found = Path(f"/proc/{pid}/root"), {}
    for path in paths:
        with contextlib.suppress(OSError):  # not there, or the process has ended
            real = resolve(root, path)
            (root / real.lstrip("/")).lstat()
            found[path] = real
    return found


# -- the control group


def _control(paths: Mapping[str, Path], base: Mapping[str, Path]) -> dict[str, str]:
    found = {}
    outer = next((_read(path / "devices.list") for key, path in base.items() if "devices" in key.split(",")), None)
    if outer is not None:
        found["devices.outer"] = outer
    for name, (controller, v1_name) in CONTROL.items():
        v1 = next((path for key, path in paths.items() if controller and controller in key.split(",")), None)
        text = _read(v1 / v1_name) if v1 and v1_name else _cpu(v1) if v1 else None
        if text is None and "" in paths:
            text = _read(paths[""] / name)
        if text is not None:
            none = name == "memory.max" and text.isdigit() and int(text) >= V1_NO_MEMORY_LIMIT
            found[name] = "max" if none else text
    return found


def _cpu(v1: Path) -> str | None:
    quota, period = _read(v1 / "cpu.cfs_quota_us"), _read(v1 / "cpu.cfs_period_us")
    return None if quota is None or period is None else f"{'max' if quota == '-1' else quota} {period}"


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() if path.is_file() else None
    except OSError:
        return None
