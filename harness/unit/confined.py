"""What one look at a unit finds: its lines, what systemd says of them, and what the kernel says of its processes.

Plain frozen data: gathered once, judged as often as wanted. `None` means "not seen".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.mountinfo import Mount
from harness.unit.canary import CanaryResult
from harness.unit.needs import below
from harness.unit.unitfile import UnitFile


@dataclass(frozen=True)
class Rule:
    """One instruction of a classic BPF program, `struct sock_filter` of linux/filter.h."""

    code: int
    jump_true: int
    jump_false: int
    value: int


@dataclass(frozen=True)
class Confined:
    """A process of the unit as the kernel describes it.

    `apart` are the namespaces that are not process 1's, `limits` the soft and hard ones of /proc/PID/limits (None:
    unlimited), `real` the paths asked for that exist in its root with their links followed, `filters` its system call
    filters, None where they were not read. Capabilities are bit masks.
    """

    pid: int
    comm: str
    uid: int
    effective: int
    bounding: int
    ambient: int
    no_new_privileges: bool
    seccomp: int
    groups: frozenset[int] = frozenset()
    filter_count: int | None = None
    umask: int | None = None
    apart: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    limits: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    real: Mapping[str, str] = field(default_factory=dict)
    filters: tuple[tuple[Rule, ...], ...] | None = None

    def mount_of(self, path: str) -> Mount | None:
        """The mount that shows `path`: of the longest mount points that lead there the one mounted last."""
        best: Mount | None = None
        for mount in self.mounts:
            if below(path, mount.point) and (best is None or len(mount.point) >= len(best.point)):
                best = mount
        return best


@dataclass(frozen=True)
class Warned:
    """A line that systemd says it ignores, or ignores a word of."""

    file: str
    line: int
    message: str


@dataclass(frozen=True)
class Host:
    """The systemd and kernel that the unit meets: version, build (`+SECCOMP …`), groups and numbers of system calls."""

    version: int
    features: str = ""
    processors: int = 1
    memory_bytes: int | None = None
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """Everything that `check` judges.

    `running` is False where there is no process to look at, `reload_needed` whether systemd has not read the files as
    they are now. `control` are the cgroup's own files under their names of cgroup v2
    (and `devices.list` of v1, with `devices.outer` that of the whole tree), `programs` the names of the BPF
    programs at it (None: cannot be asked), `owner` the numeric id of User=. `outer` are the mounts that process 1
    sees. `canaries` is empty where none were run.
    """

    name: str
    unit: UnitFile
    host: Host
    exposure: float | None = None
    warned: tuple[Warned, ...] = ()
    running: bool = False
    reload_needed: bool = False
    processes: tuple[Confined, ...] = ()
    outer: tuple[Mount, ...] = ()
    control: Mapping[str, str] = field(default_factory=dict)
    programs: frozenset[str] | None = None
    owner: int | None = None
    canaries: tuple[CanaryResult, ...] = ()
