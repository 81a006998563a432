"""Boots and closes many machines, and holds what the host has afterwards against what it had before.

    python -m bench.boots [MACHINES]

Needs root. Exits with 1 when something stayed behind. Free memory moves with everything else the host does, so it is
shown and not judged.
"""

import os
import sys
from pathlib import Path

from bench.trial import row
from harness.machine.boot import Machine, MachineSpec
from harness.machine.cgroup import hierarchies

MACHINES = 200


def state() -> dict[str, int]:
    """What a machine could leave behind, counted; cgroups and upper layers of this process's machines only."""
    own = f"harness-{os.getpid()}-"
    cgroups = [name for tree in hierarchies() for _, names, _ in os.walk(tree.mountpoint) for name in names]
    tasks = Path("/proc/self/task").iterdir()
    return {
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "cgroups": sum(name.startswith(own) for name in cgroups),
        "upper layers": sum(path.name.startswith(own) for path in Path("/var/tmp").iterdir()),
        "nspawn traces": sum(len(names) + len(files) for _, names, files in os.walk("/run/systemd/nspawn")),
        "child processes": sum(len((task / "children").read_text().split()) for task in tasks),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "open files": len(list(Path("/proc/self/fd").iterdir())),
        "kept /tmp file": int((Path("/tmp") / f"{own}kept").exists()),
    }


def available_mib() -> int:
    """Memory that can be had without swapping (proc_meminfo(5))."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) // 1024


def resident_mib() -> float:
    """Resident size of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def boot() -> dict[str, float]:
    """Boot one machine, run something in it, close it."""
    with Machine(MachineSpec()) as machine:
        machine.run(["true"])
    return machine.durations_s


def main() -> None:
    """Print the tables."""
    machines = int(sys.argv[1]) if len(sys.argv) > 1 else MACHINES
    kept = Path("/tmp") / f"harness-{os.getpid()}-kept"
    kept.touch()
    try:
        boot()  # what the first one opens once and for all is no leak
        before, memory, size = state(), available_mib(), resident_mib()
        durations = [boot() for _ in range(machines)]
        after = state()
    finally:
        kept.unlink(missing_ok=True)
    print(f"{'':16} {'before':>8} {'after':>8}")
    for name, count in before.items():
        print(f"{name:16} {count:8} {after[name]:8}" + ("" if after[name] == count else "   CHANGED"))
    print(f"{'available MiB':16} {memory:8} {available_mib():8}")
    print(f"{'harness MiB':16} {size:8.0f} {resident_mib():8.0f}")
    print(f"\n{machines} machines   {'median':>4} {'min':>8} {'max':>8}  ms")
    for part in ("prepare", "boot", "machine_down"):
        print(row(part, [each[part] for each in durations]))
    sys.exit(after != before)


if __name__ == "__main__":
    main()
