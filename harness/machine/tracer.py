"""One pass under bpftrace: what the unit was seen to use. A prior for the search, never an answer.

The programs count by leaf cgroup id, which is the inode of the unit's directory in the v2 tree, also on a hybrid host.
A run without bpftrace works too; it only takes more trials.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Collection, Iterable, Iterator
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import MachineError
from harness.machine import shell
from harness.machine.kernel import syscall_name
from harness.machine.leftovers import new_name, new_scratch
from harness.observation import Seen

PROGRAMS = ("observe.bt", "observe_capabilities.bt")
READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 60.0
# A second signal while it prints ends bpftrace at once, and it first detaches, for seconds on a busy host.
STOP_AGAIN_S = 15.0
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
# security_vm_enough_memory() asks for CAP_SYS_ADMIN in these and takes no for an answer (mm/util.c).
ASKS_FOR_NOTHING = frozenset(
    {"mmap", "brk", "clone", "clone3", "fork", "vfork", "execve", "mprotect", "mremap", "shmget"}
)
CAP_SYS_ADMIN = 21
NAMESPACES = {
    0x00020000: "mnt", 0x02000000: "cgroup", 0x04000000: "uts", 0x08000000: "ipc",
    0x10000000: "user", 0x20000000: "pid", 0x40000000: "net",
}  # fmt: skip


def available() -> bool:
    """Whether bpftrace is installed; that the kernel takes its programs shows only when they start."""
    return shutil.which("bpftrace") is not None


class Tracer:
    """Both programs running, from `__enter__` (when they have attached) to `seen`."""

    def __enter__(self) -> Self:
        self._folder = new_scratch(f"{new_name()}-trace")
        self._running: list[tuple[shell.Background, Path]] = []
        for name in PROGRAMS:
            program = self._folder / name
            program.write_bytes(resources.files("harness.machine").joinpath(name).read_bytes())
            output = self._folder / f"{name}.json"
            # tracefs in a mount namespace of its own: the host may not have it mounted, and shall not get it.
            script = 'mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec bpftrace -f json -o "$1" "$0"'
            argv = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]
            env = {"BPFTRACE_STRLEN": "120", "BPFTRACE_MAP_KEYS_MAX": "65536"}
            running = shell.start([*argv, "sh", "-c", script, str(program), str(output)], env=env)
            self._running.append((running, output))
        self.attached = [self._await(running, output) for running, output in self._running]
        return self

    def _await(self, running: shell.Background, output: Path) -> bool:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and running.is_alive():
            if output.exists() and '"ready' in output.read_text(errors="replace"):
                return True
            time.sleep(0.02)
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running, _ in self._running:
            running.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def seen(self, cgroup_ids: Collection[int]) -> Seen | None:
        """End the tracing and pick what the cgroups did; None when nothing could be traced.

        Raises MachineError when it ended before it had told all.
        """
        if not self.attached[0]:
            return None
        maps: dict[str, dict[str, object]] = {}
        for running, output in self._running:
            if not _end(running):
                raise MachineError("the tracer did not end in time", hint="run again: it resumes")
            maps |= _maps(output)
        return _seen(maps, {str(number) for number in cgroup_ids}, with_capabilities=self.attached[1])


def _end(running: shell.Background) -> bool:
    """Have bpftrace print its maps and end; it may miss a signal while it is busy, so it is told again."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while running.is_alive() and time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGINT)
        again = time.monotonic() + STOP_AGAIN_S
        while running.is_alive() and time.monotonic() < again:
            time.sleep(0.02)
    return not running.is_alive() and running.status() == 0


def _maps(output: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for line in output.read_text(errors="replace").splitlines():
        try:
            record = json.loads(line, strict=False)
        except ValueError:
            continue  # a path that is no valid text, or a line of the tool's own
        if isinstance(record, dict) and record.get("type") == "map":
            found |= {name: value for name, value in record["data"].items() if isinstance(value, dict)}
    return found


def _seen(maps: dict[str, dict[str, object]], cgroups: Collection[str], *, with_capabilities: bool) -> Seen:
    architecture = AUDIT_ARCH.get(os.uname().machine, 0)

    def rows(name: str, fields: int) -> Iterator[list[str]]:
        for key in maps.get(name, {}):
            parts = key.split(",", fields)
            if parts[0] in cgroups and len(parts) == fields + 1:
                yield parts[1:]

    def calls(name: str) -> set[str]:
        return {syscall_name(architecture, int(row[0])) for row in rows(name, 1)}

    capabilities = {
        int(row[0])
        for row in rows("@capability", 2)
        if int(row[0]) != CAP_SYS_ADMIN or syscall_name(architecture, int(row[1])) not in ASKS_FOR_NOTHING
    }
    opened = list(rows("@open", 2))
    return Seen(
        calls=_sorted(calls("@call")),
        refused=_sorted(calls("@refused") - calls("@done")),
        capabilities=tuple(sorted(capabilities)) if with_capabilities else None,
        families=_sorted(_family(int(row[0])) for row in rows("@family", 1)),
        peers=_sorted(row[0] for row in rows("@peer", 1)),
        opened=_sorted(row[1] for row in opened if row[0] == "0"),
        opened_for_writing=_sorted(row[1] for row in opened if row[0] != "0"),
        executed=_sorted(row[0] for row in rows("@exec", 1)),
        namespaces=_sorted(_namespaces(int(row[0]) for row in rows("@namespace", 1))),
        writable_code=any(key.split(",")[0] in cgroups for key in maps.get("@writable_code", {})),
    )


def _sorted(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


def _family(number: int) -> str:
    try:
        return socket.AddressFamily(number).name
    except ValueError:
        return f"AF_{number}"


def _namespaces(flags: Iterable[int]) -> Iterator[str]:
    for value in flags:
        yield from (name for flag, name in NAMESPACES.items() if value & flag)
