"""Which devices a machine may open.

A cgroup v1 tree takes a list of rules. On v2 the kernel asks a BPF program (BPF_PROG_TYPE_CGROUP_DEVICE, Linux 4.15),
and systemd-nspawn leaves that to the unit it was started in. Without one, a service with CAP_MKNOD opens the host's
disks.
"""

import ctypes
import os
import platform
import struct
from pathlib import Path

# What systemd-nspawn itself gives a container: the harmless pseudo devices, terminals, and making (not opening) nodes.
CHARACTER: tuple[tuple[int, int | None], ...] = (
    (1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (10, 200), (136, None),
)  # fmt: skip
V1_RULES = (*(f"c {major}:{'*' if minor is None else minor} rwm" for major, minor in CHARACTER), "c *:* m", "b *:* m")
# linux/bpf.h and linux/filter.h
BPF_CALL = {"x86_64": 321, "aarch64": 280}
PROG_LOAD, PROG_ATTACH = 5, 8
CGROUP_DEVICE = 15  # program type
DEVICE_ATTACH = 6  # attach type
ALLOW_MULTI = 2  # beside the programs of the units inside: all of them must allow
LOAD, MOVE, COPY, AND, SHIFT_RIGHT = 0x61, 0xB7, 0xBF, 0x57, 0x77
JUMP_IF, JUMP_UNLESS, EXIT = 0x15, 0x55, 0x95
ACCESS_MKNOD, TYPE_CHARACTER = 1, 2


def restrict_v1(path: Path) -> None:
    """Let the cgroup `path` of the v1 device controller have these devices only. Raises OSError."""
    (path / "devices.deny").write_text("a")
    for rule in V1_RULES:
        (path / "devices.allow").write_text(rule)


def restrict_v2(path: Path) -> None:
    """Let the v2 cgroup `path` and those below have these devices only, as long as it exists. Raises OSError."""
    program = _program()
    code = ctypes.create_string_buffer(program, len(program))
    license_name = ctypes.create_string_buffer(b"GPL")
    attributes = (CGROUP_DEVICE, len(program) // 8, ctypes.addressof(code), ctypes.addressof(license_name))
    loaded = _bpf(PROG_LOAD, struct.pack("=IIQQ", *attributes))
    cgroup = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _bpf(PROG_ATTACH, struct.pack("=IIII", cgroup, loaded, DEVICE_ATTACH, ALLOW_MULTI))
    finally:
        os.close(cgroup)
        os.close(loaded)


def _bpf(command: int, attributes: bytes) -> int:
    number = BPF_CALL.get(platform.machine())
    if number is None:
        raise OSError(f"bpf(2) is not known by number on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, 128)  # zeroes after what is used
    result: int = libc.syscall(number, command, buffer, len(buffer))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf(2) for the machine's devices: {os.strerror(error)}")
    return result


def _instruction(code: int, *, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | to, offset, value)


def _program() -> bytes:
    """`struct bpf_cgroup_dev_ctx` in: kind and access in one number, then major and minor. 1 out is yes, 0 is no."""
    kind, access, major, minor = 2, 3, 4, 5
    allow = [_instruction(MOVE, value=1), _instruction(EXIT)]
    lines = [
        _instruction(LOAD, to=kind, source=1, offset=0),
        _instruction(COPY, to=access, source=kind),
        _instruction(AND, to=kind, value=0xFFFF),
        _instruction(SHIFT_RIGHT, to=access, value=16),
        _instruction(LOAD, to=major, source=1, offset=4),
        _instruction(LOAD, to=minor, source=1, offset=8),
        _instruction(JUMP_UNLESS, to=access, offset=2, value=ACCESS_MKNOD),
        *allow,
        _instruction(JUMP_IF, to=kind, offset=2, value=TYPE_CHARACTER),
        _instruction(MOVE, value=0),
        _instruction(EXIT),
    ]
    for number, exact in CHARACTER:
        lines.append(_instruction(JUMP_UNLESS, to=major, offset=2 if exact is None else 3, value=number))
        if exact is not None:
            lines.append(_instruction(JUMP_UNLESS, to=minor, offset=2, value=exact))
        lines += allow
    return b"".join([*lines, _instruction(MOVE, value=0), _instruction(EXIT)])
