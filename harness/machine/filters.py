"""Reading the system call filters that a process really has, and the numbers of system calls.

The kernel hands a filter out only while its process is stopped under ptrace(2) (PTRACE_SECCOMP_GET_FILTER, Linux 4.4).
So this stops the process, for well under a millisecond; a system call that it waits in may end early with EINTR, as
when a debugger is attached. Should the harness end meanwhile, the kernel lets the process go.
"""

import ctypes
import os
import signal
import struct
import time
from collections.abc import Iterable

from harness.unit.confined import Rule

SEIZE, INTERRUPT, DETACH, GET_FILTER = 0x4206, 0x4207, 17, 0x420C  # sys/ptrace.h
EVENT_STOP = 128
WAIT_ALL = 0x40000000  # __WALL of waitpid(2)
STOP_TIMEOUT_S = 1.0
MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS


def read(pid: int) -> tuple[tuple[Rule, ...], ...] | None:
    """The filters of a process, the newest first; None where they cannot be read."""
    libc = _libc()
    if libc.ptrace(SEIZE, pid, None, None) != 0:
        return None
    stopped = None
    try:
        if libc.ptrace(INTERRUPT, pid, None, None) == 0:
            stopped = _await_stop(pid)
        return _filters(libc, pid) if stopped is not None else None
    finally:
        # What was about to be delivered is delivered after all.
        pending = 0 if stopped is None or stopped >> 16 == EVENT_STOP else os.WSTOPSIG(stopped)
        libc.ptrace(DETACH, pid, None, pending)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    return libc


def _await_stop(pid: int) -> int | None:
    """The wait status of a stop, None when it does not come: a process in state D may never stop."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, WAIT_ALL | os.WNOHANG)
        if found == pid:
            return status if os.WIFSTOPPED(status) and os.WSTOPSIG(status) != signal.SIGKILL else None
        time.sleep(0.0001)
    return None


def _filters(libc: ctypes.CDLL, pid: int) -> tuple[tuple[Rule, ...], ...] | None:
    found: list[tuple[Rule, ...]] = []
    size = struct.calcsize("=HBBI")
    buffer = ctypes.create_string_buffer(MOST_INSTRUCTIONS * size)
    while (count := libc.ptrace(GET_FILTER, pid, len(found), buffer)) > 0:
        found.append(tuple(Rule(*struct.unpack_from("=HBBI", buffer, at * size)) for at in range(count)))
    # ENOENT ends the list, and EINVAL says that there is none; anything else that it cannot be had.
    return tuple(found) if ctypes.get_errno() in (2, 22) else None


def numbers(names: Iterable[str]) -> dict[str, int]:
    """Numbers of system calls on this machine, as systemd's own library knows them; empty without libseccomp."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return {}
    resolve = library.seccomp_syscall_resolve_name
    resolve.restype = ctypes.c_int
    known = ((name, resolve(name.encode())) for name in names)
    return {name: number for name, number in known if number >= 0}  # negative: not on this architecture
