"""Whether this host can make machines at all, and what to install or change where it cannot."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError, UsageError
from harness.machine.boot import Machine, MachineSpec
from harness.machine.cgroup import hierarchies

# Program → (Debian package, what it is needed for).
PROGRAMS = {
    "systemd-nspawn": ("systemd-container", "booting a throwaway machine"),
    "systemctl": ("systemd", "the systemd that is booted inside"),
    "unshare": ("util-linux", "a mount and PID namespace for each machine"),
    "nsenter": ("util-linux", "running the workload inside"),
    "setpriv": ("util-linux", "ending machines together with the harness"),
    "mount": ("mount", "the overlays"),
    "ip": ("iproute2", "addresses in a machine's network"),
    "journalctl": ("systemd", "reading a machine's journal"),
}
CONTROLLERS = ("memory", "pids", "cpu")


@dataclass(frozen=True)
class Finding:
    """One thing that was checked; `hint` says what to do where `ok` is False."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


def examine() -> list[Finding]:
    """Check everything a machine needs, without booting one."""
    return [_root(), *_programs(), _cgroups(), _kernel()]


def require() -> None:
    """Raise UsageError that names everything missing, before any work starts."""
    failed = [finding for finding in examine() if not finding.ok]
    if failed:
        raise UsageError(
            "; ".join(f"{finding.name}: {finding.detail}" for finding in failed),
            hint=" · ".join(dict.fromkeys(finding.hint for finding in failed if finding.hint)),
        )


def try_boot(root: Path = Path("/")) -> Finding:
    """Boot a machine and ask its systemd how it is."""
    machine = Machine(MachineSpec(root=root))
    try:
        with machine:
            state = machine.run(["systemctl", "is-system-running"]).text.strip()
            version = machine.run(["systemctl", "--version"]).text.splitlines()[0]
    except MachineError as error:
        return Finding("boot", False, error.message, error.hint)
    up_s, down_s = machine.durations_s["machine_up"], machine.durations_s["machine_down"]
    detail = f"{version}: {state}; up in {up_s:.2f} s, down in {down_s:.2f} s"
    return Finding(
        "boot", state == "running", detail, "" if state == "running" else "look at `systemctl --failed` inside"
    )


def _root() -> Finding:
    is_root = os.geteuid() == 0
    detail = "running as root" if is_root else f"running as user {os.geteuid()}, but machines need root"
    return Finding("privilege", is_root, detail, "" if is_root else "run it with sudo, or as root")


def _programs() -> Iterable[Finding]:
    missing = sorted({package for program, (package, _) in PROGRAMS.items() if shutil.which(program) is None})
    apt = "apt-get install " + " ".join(missing)
    for program, (package, purpose) in PROGRAMS.items():
        found = shutil.which(program)
        detail = found or f"not installed; needed for {purpose} (package {package})"
        yield Finding(program, found is not None, detail, "" if found else apt)


def _cgroups() -> Finding:
    trees = hierarchies()
    controllers = set().union(*(tree.controllers for tree in trees)) if trees else set()
    unified = next((tree for tree in trees if tree.version == 2), None)
    if unified is not None:
        controllers |= set((unified.mountpoint / "cgroup.controllers").read_text().split())
    lacking = [name for name in CONTROLLERS if name not in controllers]
    layout = "v2" if len(trees) == 1 and unified else "v1 (hybrid)" if unified else "v1"
    if not trees or lacking:
        return Finding(
            "cgroups",
            False,
            f"layout {layout if trees else 'none'}, without the controllers {', '.join(lacking)}",
            "enable them on the kernel command line, or delegate them to this container",
        )
    return Finding("cgroups", True, f"{layout}, controllers {', '.join(sorted(controllers))}")


def cgroup_layout() -> str:
    """`v1`, `hybrid` or `v2`, for the record of a run."""
    versions = {tree.version for tree in hierarchies()}
    return {frozenset({1}): "v1", frozenset({2}): "v2"}.get(frozenset(versions), "hybrid")


def _kernel() -> Finding:
    filesystems = Path("/proc/filesystems").read_text().split()
    if "overlay" not in filesystems:
        loaded = Path("/lib/modules").exists()
        return Finding("overlayfs", loaded, "not loaded yet; mount loads it", "the kernel needs overlayfs")
    return Finding("overlayfs", True, f"Linux {os.uname().release}")


def missing_packages(packages: Iterable[str], root: Path) -> list[str]:
    """Which of `packages` dpkg does not have installed in the root tree (its status file, dpkg(1))."""
    status = root / "var/lib/dpkg/status"
    installed = set()
    name = ""
    for line in status.read_text(errors="replace").splitlines() if status.exists() else []:
        if line.startswith("Package: "):
            name = line.removeprefix("Package: ")
        elif line == "Status: install ok installed" or line == "Status: hold ok installed":
            installed.add(name)
    return [package for package in packages if package not in installed]
