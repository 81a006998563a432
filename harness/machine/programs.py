"""Which BPF programs the kernel runs at a cgroup: what IPAddressDeny=, SocketBindDeny= and DevicePolicy= come to on v2.

Asked of the kernel by bpf(2) (linux/bpf.h, Linux 4.17); programs are told apart by the names that systemd gives them.
"""

import ctypes
import os
import platform
import struct
from pathlib import Path

from harness.machine.devices import BPF_CALL

PROG_QUERY, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD = 16, 13, 15
ATTACH_TYPES = (0, 1, 6, 8, 9)  # packets in and out, devices, bind of IPv4 and IPv6
MOST_PROGRAMS = 64
NAME_AT, NAME_BYTES = 64, 16  # of struct bpf_prog_info


def attached(cgroup: Path) -> frozenset[str] | None:
    """Names of the programs at the v2 cgroup itself; None where the kernel does not tell."""
    try:
        descriptor = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        return frozenset(_name(number) for kind in ATTACH_TYPES for number in _query(descriptor, kind))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _query(cgroup: int, kind: int) -> tuple[int, ...]:
    found = (ctypes.c_uint32 * MOST_PROGRAMS)()
    answer = _bpf(PROG_QUERY, struct.pack("=IIIIQI", cgroup, kind, 0, 0, ctypes.addressof(found), MOST_PROGRAMS))[1]
    return tuple(found[: struct.unpack_from("=I", answer, 24)[0]])


def _name(number: int) -> str:
    program = _bpf(PROG_GET_FD_BY_ID, struct.pack("=III", number, 0, 0))[0]
    try:
        info = ctypes.create_string_buffer(256)
        _bpf(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", program, len(info), ctypes.addressof(info)))
        return info.raw[NAME_AT : NAME_AT + NAME_BYTES].split(b"\0")[0].decode(errors="replace")
    finally:
        os.close(program)


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """Result of bpf(2), and its attributes afterwards. Raises OSError."""
    number = BPF_CALL.get(platform.machine())
    if number is None:
        raise OSError(f"bpf(2) is not known by number on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, 128)
    result = libc.syscall(number, command, buffer, len(buffer))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf(2): {os.strerror(error)}")
    return result, buffer.raw
