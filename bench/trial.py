"""Where the time of one trial goes, and how much memory the harness takes for it.

    python -m bench.trial [TRIALS]

Trials of a service that does nothing, one at a time, each in a process of its own as `harness tune` runs them (root).
`overhead` is all that is not start, readiness, steps, life-cycle and stop. Times depend on the machine and on what else
it does: compare only what ran side by side. Memory is the sum of the resident sizes of this process, the server that
trials are forked from, and the trial's process, at its highest; pages that they share are counted in each.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from harness.observation import Observation
from harness.scenario import Scenario, load
from harness.trial.pool import Pool
from harness.trial.run import Trial

TRIALS = 20
AIM_OVERHEAD_S = 0.6
AIM_MIB = 200
SAMPLE_S = 0.02
SCENARIO = """
format = 1
unit = "idle.service"
files = [{ source = "idle.service", target = "/etc/systemd/system/idle.service" }]
[[steps]]
name = "nothing"
run = "true"
"""
# In the order of the trial; what lies between them is asking systemd and reading cgroups and /proc.
PARTS = ("prepare", "boot", "start", "ready", "steps", "exposure", "stop", "collect", "machine_down")
SERVICE_PARTS = ("start", "ready", "steps", "life_cycle", "stop")


def scenario(folder: Path) -> Scenario:
    """A service that only sleeps."""
    (folder / "idle.service").write_text("[Service]\nExecStart=/bin/sleep infinity\n")
    path = folder / "idle.toml"
    path.write_text(SCENARIO)
    return load(path)


def family(pid: int) -> Iterator[int]:
    """`pid` and its Python descendants: not the machines."""
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        try:
            is_python = "python" in Path(f"/proc/{child}/exe").readlink().name
        except OSError:
            continue
        if is_python:
            yield from family(child)


def resident_kib(pid: int) -> int:
    """Resident size of a process in KiB, 0 once it ended (proc_pid_status(5))."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


class Memory:
    """Samples the resident sizes while its block runs."""

    def __enter__(self) -> "Memory":
        self.peak_kib = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.peak_kib = max(self.peak_kib, sum(map(resident_kib, family(os.getpid()))))

    def __exit__(self, *of: object) -> None:
        self._done.set()
        self._thread.join()


def run(trials: int) -> tuple[list[Observation], float]:
    """Observations of `trials` trials, one at a time, and the peak memory in MiB."""
    with tempfile.TemporaryDirectory() as folder, Memory() as memory:
        idle = scenario(Path(folder))
        work = [
            Trial(idle, f"{number:04d}", "idle", "", seed=number, folder=Path(folder) / str(number))
            for number in range(1, trials + 1)
        ]
        observations = Pool(1).run(work, done=lambda observation: None)
    lost = [observation.lost for observation in observations if observation.lost]
    if lost:
        raise SystemExit(f"lost: {lost[0]}")
    return observations, memory.peak_kib / 1024


def row(name: str, values: Sequence[float]) -> str:
    """One line of the table, in milliseconds."""
    return f"{name:14} {median(values) * 1e3:8.0f} {min(values) * 1e3:8.0f} {max(values) * 1e3:8.0f}"


def main() -> None:
    """Print the table."""
    observations, peak_mib = run(int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS)
    durations = [observation.durations_s for observation in observations]
    print(f"{len(observations)} trials   {'median':>5} {'min':>8} {'max':>8}  ms")
    for part in PARTS:
        print(row(part, [each.get(part, 0.0) for each in durations]))
    print(
        row(
            "between",
            [each["total"] - sum(each.get(part, 0.0) for part in (*PARTS, "life_cycle")) for each in durations],
        )
    )
    print(row("total", [each["total"] for each in durations]))
    overhead = [each["total"] - sum(each.get(part, 0.0) for part in SERVICE_PARTS) for each in durations]
    print(row("overhead", overhead) + f"   (aim: {AIM_OVERHEAD_S * 1e3:.0f} or less)")
    print(f"memory of the harness: {peak_mib:.0f} MiB at most   (aim: less than {AIM_MIB})")


if __name__ == "__main__":
    main()
