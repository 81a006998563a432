"""One throwaway machine: a really booted systemd above a root tree, and its end.

`systemd-nspawn` boots it in a mount and PID namespace made for it alone. When the harness ends, however it ends, the
kernel ends that namespace with all processes and mounts in it; what can stay behind are cgroup directories
and the upper layers, whose names carry the harness's process id and start time, so that the next start removes
what a dead run left, and only that.
"""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import MachineError
from harness.machine import leftovers, quiet, shell
from harness.machine.cgroup import MachineCgroups, kill_below
from harness.machine.counters import pids_below
from harness.machine.leftovers import SCRATCH
from harness.machine.overlay import Overlay

BOOT_TIMEOUT_S = 60.0
# What commands inside are looked up in: the caller's own PATH says nothing of the root tree.
PATH_INSIDE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LEAST_FREE_BYTES = 16 * 2**20
# What would reach past the machine: the host's clock, modules, raw I/O, boot, kernel log, LSM policy and accounting.
WITHHELD = (
    "CAP_SYS_TIME",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_BOOT",
    "CAP_SYSLOG",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_SYS_PACCT",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
)


@dataclass(frozen=True)
class MachineSpec:
    """What a machine is made of: the root tree, files to put in before boot, capabilities and addresses it gets.

    `files` maps a path inside to content, mode and owner ids; `capabilities` names those of `WITHHELD` that it is
    given after all; `addresses` are put on a dummy link, such as `10.1.2.3/24`, and those of `loopback` on `lo`;
    `trees` maps paths inside to directories of the host that are shown there and never written to.
    """

    root: Path = Path("/")
    files: Mapping[str, tuple[bytes, int, tuple[int, int]]] = field(default_factory=dict)
    keep_units: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    addresses: tuple[str, ...] = ()
    loopback: tuple[str, ...] = ()
    trees: Mapping[str, Path] = field(default_factory=dict)


class Machine:
    """A booted machine; a context manager that leaves nothing behind.

    `leader` is the host's process id of the systemd inside. Raises MachineError when it cannot be had.
    """

    def __init__(self, spec: MachineSpec) -> None:
        self.spec = spec
        self.name = leftovers.new_name()
        self.leader = 0
        self.durations_s: dict[str, float] = {}
        self._process: shell.Background | None = None
        self._cgroups = MachineCgroups(self.name)

    def __enter__(self) -> Self:
        began = time.monotonic()
        try:
            self._scratch = leftovers.new_scratch(self.name)
            self._prepare()
            self.durations_s["prepare"] = time.monotonic() - began
            self._boot()
            self.durations_s["boot"] = time.monotonic() - began - self.durations_s["prepare"]
        except OSError as error:
            self.close()
            raise MachineError(
                f"the machine could not be made in {SCRATCH}: {error}",
                hint=f"check free space and permissions of {SCRATCH}, and run again: it resumes",
            ) from error
        except BaseException:
            self.close()
            raise
        self.durations_s["machine_up"] = time.monotonic() - began
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        began = time.monotonic()
        self.close()
        self.durations_s["machine_down"] = time.monotonic() - began

    def check_space(self) -> None:
        """Raise MachineError when the disk is full: what a service does then says nothing of its candidate."""
        space = os.statvfs(SCRATCH)
        free_bytes = space.f_bavail * space.f_frsize
        if free_bytes < LEAST_FREE_BYTES:
            raise MachineError(
                f"no space left for machines: {free_bytes // 2**20} MiB are free in {SCRATCH}",
                hint=f"make room in {SCRATCH}, where machines keep what services write, and run again: it resumes",
            )

    def _prepare(self) -> None:
        self.check_space()
        self._cgroups.create()
        self._scratch.chmod(0o700)
        self.overlay = Overlay(self.spec.root, self._scratch, self.spec.trees)
        quiet.prepare(self.overlay, keep=self.spec.keep_units)
        self.overlay.put("/harness-init", _package_file("init.sh"), mode=0o755)
        for path, (content, mode, owner) in self.spec.files.items():
            self.overlay.put(path, content, mode=mode, owner=owner)
        self.overlay.seal()
        (self._scratch / "plan").write_text(self.overlay.plan())
        (self._scratch / "launch.sh").write_bytes(_package_file("launch.sh"))

    @property
    def _withheld(self) -> list[str]:
        return [name for name in WITHHELD if name not in self.spec.capabilities]

    def _command(self) -> list[str]:
        launch = ["sh", str(self._scratch / "launch.sh"), str(self._scratch / "plan"), str(self._cgroups.boot or "")]
        namespace = "unshare --mount --pid --fork --kill-child --mount-proc --propagation private".split()
        nspawn = [
            *"systemd-nspawn --quiet --directory=/run/root --register=no --keep-unit --private-network".split(),
            *"--link-journal=no --resolv-conf=off --timezone=off --console=pipe --notify-ready=yes".split(),
            *("--machine=machine", "--capability=all", f"--drop-capability={','.join(self._withheld)}"),
        ]
        # 257 takes cgroup v1 only when told so; in a container the argument stands for the kernel command line.
        systemd = ["/harness-init", _systemd_of(self.spec.root), "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]
        # Dying with the harness is the kernel's business here, so that `kill -9` leaves no machine running.
        return ["setpriv", "--pdeathsig", "KILL", *namespace, *launch, *nspawn, *systemd, "--unit=basic.target"]

    def _boot(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(f"\0{self.name}")
            # SYSTEMD_SECCOMP=0 is for nspawn alone: its own filter would forbid bpf(), and IPAddressDeny= would do
            # nothing. PID 1 inside does not inherit it.
            env = {
                "NOTIFY_SOCKET": f"@{self.name}",
                "SYSTEMD_SECCOMP": "0",
                "SYSTEMD_NSPAWN_TMPFS_TMP": "0",
            }
            self._process = shell.start(self._command(), env=env, join=self._cgroups.launch)
            self._await_ready(notify)
        self.leader = self._find_leader()
        if self.spec.addresses or self.spec.loopback:
            self._add_addresses()

    def _await_ready(self, notify: socket.socket) -> None:
        """Wait for READY=1 of the systemd inside (sd_notify(3)), or for the end of nspawn."""
        assert self._process is not None
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        notify.settimeout(0.25)
        while time.monotonic() < deadline:
            try:
                message = notify.recv(4096)
            except TimeoutError:
                if not self._process.is_alive():
                    break
                continue
            if b"READY=1" in message.split(b"\n"):
                return
            if message.startswith(b"ERRNO=") or b"STOPPING=1" in message.split(b"\n"):
                break
        self._process.kill()
        raise MachineError(
            f"the machine did not boot: {self._process.output()[-2000:] or 'systemd inside never became ready'}",
            hint="`harness doctor` checks what a machine needs; `harness doctor --boot` shows a boot in full",
        )

    def _find_leader(self) -> int:
        assert self._process is not None
        pid = self._process.pid
        for _ in range(2):  # unshare → nspawn → systemd inside
            children = _children(pid)
            if not children:
                raise MachineError("the machine ended as soon as it was up", hint="look at the kernel log")
            pid = children[-1]
        return pid

    def _add_addresses(self) -> None:
        commands = "set -e"
        for address in self.spec.loopback:
            commands += f"; ip address add {address} dev lo"
        if self.spec.addresses:
            # Not every kernel has dummy links; one end of a veth pair inside the same network does as well.
            commands += "; ip link add harness0 type dummy 2>/dev/null"
            commands += " || { ip link add harness0 type veth peer name harness1 && ip link set harness1 up; }"
            commands += "; ip link set harness0 up"
        for address in self.spec.addresses:
            commands += f"; ip address add {address} dev harness0 nodad"
        # The host's own `ip`, in the machine's network alone: the root tree may not have one.
        argv = ["nsenter", "-t", str(self.leader), "-n", "--", "sh", "-c", commands]
        done = shell.run(argv)
        if done.status != 0:
            addresses = ", ".join([*self.spec.loopback, *self.spec.addresses])
            raise MachineError(
                f"cannot give the machine the addresses {addresses}: {done.error_text}",
                hint="this needs dummy links or veth pairs in the kernel, and the package iproute2",
            )

    def entry(self) -> list[str]:
        """The start of a command line that runs the rest inside the machine, without what is withheld from it."""
        # nsenter(1) keeps the harness's own capabilities: a step that sets the clock would set the host's.
        withheld = ",".join(f"-{name.removeprefix('CAP_').lower()}" for name in self._withheld)
        dropped = ["setpriv", f"--bounding-set={withheld}", f"--inh-caps={withheld}", "--"] if withheld else []
        return [*dropped, "nsenter", "-t", str(self.leader), *"-m -p -u -i -C -n -r -w --".split()]

    def run(self, argv: Sequence[str], *, timeout_s: float = 60.0, kept_bytes: int = shell.KEPT_BYTES) -> shell.Output:
        """Run a command inside, as root, beside the units. Raises MachineError when the machine is gone."""
        self._check_alive()
        argv = [*self.entry(), *argv]
        return shell.run(
            argv,
            timeout_s=timeout_s,
            env={"PATH": PATH_INSIDE},
            join=self._cgroups.control,
            on_timeout=lambda: kill_below(self._cgroups.control),
            kept_bytes=kept_bytes,
        )

    def run_step(self, argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str]) -> shell.Output:
        """Run a step of the workload inside, in cgroups of its own, so that its use is not the unit's."""
        self._check_alive()
        return shell.run(
            [*self.entry(), *argv],
            timeout_s=timeout_s,
            env={"PATH": PATH_INSIDE, **env},
            join=self._cgroups.workload,
            on_timeout=self.end_workload,
        )

    def end_workload(self) -> None:
        """End every process that a step left or that overran its time."""
        kill_below(self._cgroups.workload)

    def unit_cgroups(self, control_group: str) -> dict[str, Path]:
        """Host paths of the cgroup that the systemd inside calls `control_group`, by hierarchy."""
        return self._cgroups.inside(self.leader, control_group)

    def pids(self) -> list[int]:
        """All processes of the machine now, as host process ids."""
        return [pid for path in self._cgroups.paths.values() for pid in pids_below(path)]

    def cpu_usage_usec(self) -> int:
        """Processor time used so far by the machine, its workload and the commands run in it."""
        return self._cgroups.cpu_usage_usec()

    def path(self, inside: str) -> Path:
        """A path inside as seen from the host, through the machine's own mounts."""
        return Path(f"/proc/{self.leader}/root") / inside.lstrip("/")

    def is_alive(self) -> bool:
        """Whether the systemd inside still runs."""
        return self._process is not None and self._process.is_alive() and Path(f"/proc/{self.leader}").exists()

    def _check_alive(self) -> None:
        if not self.is_alive():
            raise MachineError(
                "the machine vanished",
                hint="look for an OOM kill in the kernel log, and run again: it resumes",
            )

    def close(self) -> None:
        """End the machine and remove all that was made for it. Safe to call at any time, more than once."""
        with shell.signals_deferred():
            if self._process is not None:
                self._process.kill()
            if not self._cgroups.remove():
                raise MachineError(
                    f"the cgroups of {self.name} could not be removed",
                    hint="a process in them cannot be ended (state D); the next start tries again",
                )
            if hasattr(self, "_scratch"):
                Overlay.remove_scratch(self._scratch)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _package_file(name: str) -> bytes:
    return resources.files("harness.machine").joinpath(name).read_bytes()


def _systemd_of(root: Path) -> str:
    for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd"):
        if (root / path.lstrip("/")).exists():
            return path
    raise MachineError(f"there is no systemd in {root}", hint="install the package systemd there, or name another root")


__all__ = ["WITHHELD", "Machine", "MachineSpec"]
