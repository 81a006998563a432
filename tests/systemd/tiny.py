"""Tiny scenarios made on the fly, and the traces that machines of one process could leave on the host."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.judge.rules import judge
from harness.judge.verdict import Verdict
from harness.machine.cgroup import hierarchies
from harness.observation import Observation
from harness.scenario import Scenario, load
from harness.trial.run import Trial, run_trial
from harness.unit import catalogue

PROJECT = Path(__file__).parents[2]
IDLE = "[Service]\nExecStart=/bin/sleep infinity\n"
IT_RUNS = '[[steps]]\nname = "it runs"\nrun = "systemctl is-active tiny"\n'
# The name of a machine, with the process id that made it.
MACHINE = re.compile(r"harness-(\d+)-\d+-\d+")


def write(
    folder: Path, service: str = IDLE, tables: str = IT_RUNS, *, head: str = "", unit: str = "tiny.service"
) -> Path:
    """Write a scenario for a unit with the text `service`; `head` are top-level keys, `tables` the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"@.*\.", "@.", unit)
    (folder / "unit").write_text(service)
    path = folder / "tiny.toml"
    runs = "" if "_runs" in head else "baseline_runs = 1\nconfirm_runs = 1\n"
    path.write_text(
        f'format = 1\nunit = "{unit}"\n{runs}{head}\n'
        f'files = [{{ source = "unit", target = "/etc/systemd/system/{name}" }}]\n{tables}'
    )
    return path


def scenario(folder: Path, service: str = IDLE, tables: str = IT_RUNS, **keys: str) -> Scenario:
    """The scenario that `write` writes."""
    return load(write(folder, service, tables, **keys))


def trial(scenario: Scenario, drop_in: str = "", *, folder: Path | None = None) -> Observation:
    """One trial of it in this process."""
    return run_trial(Trial(scenario, "0001", "tiny", drop_in, seed=1, folder=folder))


def verdict(scenario: Scenario, observation: Observation) -> Verdict:
    """The verdict without a baseline."""
    return judge(scenario, observation, catalogue=catalogue.load())


@dataclass(frozen=True)
class Traces:
    """What machines made by some processes can leave on the host."""

    mounts: tuple[str, ...]
    cgroups: tuple[str, ...]
    scratch: tuple[str, ...]
    nspawn: tuple[str, ...]
    descendants: int

    @classmethod
    def of(cls, *pids: int) -> "Traces":
        """The traces now."""
        trees = [path for tree in hierarchies() for path in directories(tree.mountpoint)]
        scratch = [*Path("/var/tmp").glob("harness-*"), *Path("/tmp").glob("harness-*")]
        return cls(
            mounts=tuple(Path("/proc/self/mountinfo").read_text().splitlines()),
            cgroups=tuple(str(path) for path in trees if owner(path) in pids),
            scratch=tuple(str(path) for path in scratch if owner(path) in pids),
            nspawn=tuple(str(path) for path in directories(Path("/run/systemd/nspawn"))),
            descendants=sum(len(descendants(pid)) for pid in pids),
        )


def owner(path: Path) -> int | None:
    """The process id that made the machine named in `path`."""
    found = MACHINE.search(str(path))
    return int(found[1]) if found else None


def directories(path: Path) -> list[Path]:
    """All directories below `path`; those that vanish meanwhile are left out."""
    found = []
    waiting = [path]
    while waiting:
        try:
            inner = [item for item in waiting.pop().iterdir() if item.is_dir() and not item.is_symlink()]
        except OSError:
            continue
        found += inner
        waiting += inner
    return found


def descendants(pid: int) -> list[int]:
    """Process ids of children and their children; zombies are left out."""
    found = []
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
    for task in tasks:
        try:
            children = [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child] if is_running(child) else []
            found += descendants(child)
    return found


def is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def command(pid: int) -> str:
    """The command line of a process, "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").rstrip()
    except OSError:
        return ""


def python(code: str, *arguments: str) -> list[str]:
    """A command line that runs `code` with this interpreter."""
    return [sys.executable, "-c", code, *arguments]
