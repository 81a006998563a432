"""What system call filters do to a call, worked out by running them: classic BPF (linux/filter.h, seccomp(2)).

Every filter of a process sees every call, and the strictest answer counts.
"""

import platform
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from harness.unit.confined import Rule

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
I386 = 0x40000003
ALLOW, LOG = 0x7FFF0000, 0x7FFC0000
ACTION = 0xFFFF0000
WORD = 0xFFFFFFFF

_JUMPS: dict[int, Any] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: a & b != 0,
}
_ALU: dict[int, Any] = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x20: lambda a, b: a * b,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x60: lambda a, b: a << (b & 31),
    0x70: lambda a, b: a >> (b & 31),
    0xA0: lambda a, b: a ^ b,
}


class NotUnderstood(ValueError):
    """An instruction that no compiler of filters writes."""


def refused(
    filters: Iterable[Sequence[Rule]], number: int, *arguments: int, architecture: int | None = None
) -> bool | None:
    """Whether the filters refuse a system call, in whatever way; None where that cannot be told.

    `architecture` is this machine's unless given.
    """
    if architecture is None:
        architecture = ARCHITECTURES.get(platform.machine())
        if architecture is None:
            return None
    values = [value & 0xFFFFFFFFFFFFFFFF for value in (*arguments, *[0] * (6 - len(arguments)))]
    data = struct.pack("=iIQ6Q", number, architecture, 0, *values)
    try:
        answers = [_run(rules, data) & ACTION for rules in filters]
    except (NotUnderstood, IndexError, struct.error):
        return None
    return any(answer not in (ALLOW, LOG) for answer in answers)


def _run(rules: Sequence[Rule], data: bytes) -> int:
    accumulator, index = 0, 0
    memory = [0] * 16
    at = 0
    while True:
        rule = rules[at]
        at += 1
        kind, code, value = rule.code & 0x07, rule.code, rule.value
        operand = index if code & 0x08 else value
        if kind == 0x06:  # BPF_RET
            return accumulator if code & 0x18 == 0x10 else value
        if kind == 0x05:  # BPF_JMP
            if code & 0xF0 == 0:
                at += value
            else:
                at += rule.jump_true if _jump(code)(accumulator, operand) else rule.jump_false
        elif code == 0x20:  # a word of struct seccomp_data
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif kind == 0x04 and code & 0xF0 in _ALU:
            accumulator = _ALU[code & 0xF0](accumulator, operand) & WORD
        elif kind == 0x07:  # BPF_MISC
            accumulator, index = (index, index) if code & 0x80 else (accumulator, accumulator)
        else:
            accumulator, index = _moved(code, value, accumulator, index, memory)


def _jump(code: int) -> Any:
    if code & 0xF0 not in _JUMPS:
        raise NotUnderstood(hex(code))
    return _JUMPS[code & 0xF0]


def _moved(code: int, value: int, accumulator: int, index: int, memory: list[int]) -> tuple[int, int]:
    """Accumulator and index register after a load or a store."""
    match code:
        case 0x00:
            return value, index
        case 0x01:
            return accumulator, value
        case 0x60:
            return memory[value], index
        case 0x61:
            return accumulator, memory[value]
        case 0x80:
            return 64, index  # sizeof(struct seccomp_data)
        case 0x02:
            memory[value] = accumulator
        case 0x03:
            memory[value] = index
        case _:
            raise NotUnderstood(hex(code))
    return accumulator, index
