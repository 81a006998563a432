"""One line of a log read as the trace of a refusal: errno, path, system call, address, signal, exit status."""

import errno
import ipaddress
import os
import re
from dataclasses import dataclass

_NAMES = (
    "EPERM", "EACCES", "EROFS", "ENOENT", "EAFNOSUPPORT", "ENETUNREACH", "EADDRNOTAVAIL", "ECONNREFUSED", "EINVAL",
    "EAGAIN", "ENOMEM", "EMFILE", "ETIMEDOUT", "EFBIG", "ENOSYS", "ESRCH", "ENOKEY", "EIDRM",
)  # fmt: skip
_TEXTS = {os.strerror(getattr(errno, name)).lower(): name for name in _NAMES} | {
    "timed out": "ETIMEDOUT",
    "i/o timeout": "ETIMEDOUT",
    "can't start new thread": "EAGAIN",
    "unable to create native thread": "EAGAIN",
    "name resolution": "ENETUNREACH",
    "network unreachable": "ENETUNREACH",
}
# What shells print instead of the C library's own words.
_TEXTS |= {"nonexistent directory": "ENOENT", "cannot fork": "EAGAIN"}
_NUMBERS = {getattr(errno, name): name for name in _NAMES}
_ERRNO = re.compile(r"\[Errno (\d+)\]|\b(E[A-Z]{3,})\b|\berrno=(\d+)")
_PATH = re.compile(r"(?<![\w./:-])/(?:[\w.@+,~%-]+/)*[\w.@+,~%-]+/?")
# Some programs quote with U+2018 to U+201D.
_QUOTED = re.compile("['\"`\u2018\u201c](/[^'\"`\u2019\u201d]*)['\"`\u2019\u201d]")
_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE)
_WORD = re.compile(r"[a-z_][a-z0-9_]{2,}")
# A program that was started by its path: files are named in the same way.
_LED_BY = re.compile(r"^(/(?:[^\s/:]+/)*(?:s?bin|lib|libexec)/(?:[^\s/:]+/)*)([\w.+-]+): ")
# A word by itself: `syslog-ng` names a program.
_CALL = re.compile(r"(?<![\w-])[a-z_][a-z0-9_]{2,}(?![\w-])")
# `from->to`, as Go writes a connection: only the peer is filtered.
_OWN_END = re.compile(r"\S+->")
_ENDED = re.compile(r"code=(?:killed|dumped), status=\d+/(\w+)")
_EXITED = re.compile(r"code=exited, status=(\d+)/([A-Z_]+)")
_KERNEL_CALL = re.compile(r"for the system call (\w+)")
_FOREIGN = re.compile(r"type=1326 .*\barch=([0-9a-f]+)")


@dataclass(frozen=True)
class Trace:
    """What one line tells; empty where it does not. `calls` are words that may be system calls: none out of a path.

    `program` is the path by which a program names itself, at the beginning.
    """

    text: str
    errno: str = ""
    paths: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()
    addresses: tuple[str, ...] = ()
    signal: str = ""
    status: int | None = None
    program: str = ""
    killed_for: str = ""
    architecture: str = ""

    @property
    def path(self) -> str:
        """The path it is about: the last one, since programs name themselves first."""
        return self.paths[-1] if self.paths else ""


def trace(line: str) -> Trace:
    """Read a line."""
    ended, exited = _ENDED.search(line), _EXITED.search(line)
    call, foreign = _KERNEL_CALL.search(line), _FOREIGN.search(line)
    paths = [found.rstrip("/") or "/" for found in (*_PATH.findall(_QUOTED.sub(" ", line)), *_QUOTED.findall(line))]
    led_by = _LED_BY.match(line)
    said = line if led_by is None else line.removeprefix(led_by[1])
    bare, peers = _PATH.sub(" ", _QUOTED.sub(" ", said)), _OWN_END.sub(" ", line)
    return Trace(
        text=line,
        errno=_errno(line),
        paths=tuple(paths),
        words=frozenset(_WORD.findall(line.lower())),
        calls=frozenset(_CALL.findall(bare.lower())),
        addresses=tuple(filter(_is_address, (*_IPV4.findall(peers), *_IPV6.findall(peers)))),
        signal="SIG" + ended[1] if ended else "",
        status=int(exited[1]) if exited else None,
        program="" if led_by is None else led_by[1] + led_by[2],
        killed_for=call[1] if call else "",
        architecture=foreign[1] if foreign else "",
    )


def _is_address(text: str) -> bool:
    """Not a time of day, nor a version."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _errno(line: str) -> str:
    for bracketed, name, assigned in _ERRNO.findall(line):
        number = bracketed or assigned
        known = _NUMBERS.get(int(number), "") if number else name if name in _NAMES else ""
        if known:
            return known
    lowered = line.lower()
    return next((name for text, name in _TEXTS.items() if text in lowered), "")
