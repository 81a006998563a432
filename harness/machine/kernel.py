"""Kernel log lines that belong to one machine: OOM kills, rejected forks, seccomp refusals.

Read from /dev/kmsg (Documentation/ABI/testing/dev-kmsg), which is one log for the whole host: a line is taken when it
names the machine's cgroup, or refuses a process that the machine has or had. Without an audit daemon the kernel prints
at most 10 seccomp lines in 5 s for the whole host, so that there is no line proves nothing.
"""

import ctypes
import os
import re
from collections.abc import Collection
from types import TracebackType
from typing import Self

RECORD_BYTES = 8192
SYSCALL = re.compile(r"\bsig=(\d+) arch=([0-9a-f]+) syscall=(\d+)")
# A name that has a blank or a quote is written in hexadecimal, without quotes (audit_log_untrustedstring()).
SECCOMP = re.compile(r'audit: type=1326 .*\bpid=(\d+) comm=(?:"([^"]*)"|([0-9A-F]+))')


class KernelLog:
    """The kernel log from now on; `lines` gives what came since. Silent where /dev/kmsg cannot be read."""

    def __enter__(self) -> Self:
        try:
            self._descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError:
            self._descriptor = -1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _records(self) -> list[str]:
        records: list[str] = []
        while self._descriptor >= 0:
            try:
                record = os.read(self._descriptor, RECORD_BYTES)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # the ring buffer went round: older records are gone, later ones follow
            except OSError:
                break
            records.append(record.decode("utf-8", "replace").partition(";")[2].splitlines()[0])
        return records

    def lines(self, machine_name: str, pids: Collection[int]) -> list[str]:
        """Lines since the start that name the machine's cgroup, or a seccomp refusal of one of the host's `pids`."""
        found = []
        for text in self._records():
            refused = SECCOMP.search(text)
            ours = refused is not None and int(refused[1]) in pids
            if ours or machine_name in text:
                found.append(explained(text))
        return found


def explained(text: str) -> str:
    """A seccomp line with what it means put before it; other lines as they are."""
    refused, call = SECCOMP.search(text), SYSCALL.search(text)
    if refused is None or call is None:
        return text
    name = syscall_name(int(call[2], 16), int(call[3]))
    comm = refused[2] if refused[3] is None else bytes.fromhex(refused[3]).decode("utf-8", "replace")
    ended = f"was ended by signal {call[1]} for" if call[1] != "0" else "was logged for"
    return f"{comm} {ended} the system call {name}: {text}"


def syscall_name(architecture: int, number: int) -> str:
    """Name of a system call, from libseccomp, which systemd itself links (seccomp_syscall_resolve_num_arch(3)).

    `architecture` is the AUDIT_ARCH_ value of the audit record; the number itself where the library is missing.
    """
    try:
        resolve = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_num_arch
    except OSError:
        return str(number)
    resolve.restype = ctypes.c_char_p
    resolve.argtypes = (ctypes.c_uint32, ctypes.c_int)
    name = resolve(architecture, number)
    return name.decode() if name else str(number)
