"""What the unit's processes are and hold, read from the host's /proc (proc(5)): ids, capabilities, sockets."""

import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from harness import mountinfo
from harness.mountinfo import Mount
from harness.observation import Process

LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h as /proc/net/tcp prints it
TABLES = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "unix", "netlink", "packet")


NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def snapshot(leader: int, pids: Iterable[int], *, seen_at: str) -> list[Process]:
    """Identity and privilege of each process; one that ended meanwhile is left out.

    `leader` is the machine's systemd, whose namespaces theirs are compared with.
    """
    found = []
    try:
        level = len(status_fields(leader).get("NSpid", "").split()) - 1
    except OSError:
        return []
    for pid in pids:
        try:
            fields = status_fields(pid)
            apart = namespaces_apart(pid, leader)
        except OSError:
            continue
        if "Uid" not in fields or fields.get("State", "").startswith("Z") or is_systemds(fields["Name"]):
            continue
        found.append(
            Process(
                pid=int(fields["NSpid"].split()[level]),  # not of a namespace of its own, where it may be 1
                comm=fields["Name"],
                uid=int(fields["Uid"].split()[1]),
                gid=int(fields["Gid"].split()[1]),
                capabilities=int(fields["CapEff"], 16),
                seen_at=seen_at,
                bounding=int(fields["CapBnd"], 16),
                no_new_privileges=fields.get("NoNewPrivs") == "1",
                seccomp=int(fields.get("Seccomp", "0")),
                namespaces=apart,
                memory_peak_bytes=_bytes(fields.get("VmHWM", "")),
            )
        )
    return found


def is_systemds(comm: str) -> bool:
    """Whether it is still systemd's child, not yet confined, and about to become the unit's process.

    systemd calls it `(program)`, and `systemd-executor` for a moment since 255. A service of Type=simple is active
    before its process is there.
    """
    return (comm.startswith("(") and comm.endswith(")")) or comm == "systemd-executor"[:15]


def cpu_s(pids: Iterable[int]) -> float:
    """Processor time used by the processes and by children they waited for, in seconds (proc_pid_stat(5), 14-17)."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _bytes(text: str) -> int | None:
    """Bytes of a figure such as `5124 kB`; None where a process has none, such as one that is ending."""
    number = text.removesuffix(" kB")
    return int(number) * 1024 if number.isdigit() else None


def namespaces_apart(pid: int, leader: int) -> tuple[str, ...]:
    """Kinds of namespace that the process does not share with `leader`. Raises OSError when it has ended."""
    return tuple(kind for kind in NAMESPACES if _namespace(pid, kind) != _namespace(leader, kind))


def _namespace(pid: int, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115 - asked for a thousand times in a trial


def status_fields(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status. Raises OSError when it has ended."""
    text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def mounts_of(pid: int | str) -> tuple[Mount, ...]:
    """What process `pid`, or `self`, sees mounted. Raises OSError when it has ended."""
    return mountinfo.parse(Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape"))


def sockets(leader: int, pids: Iterable[int]) -> list[str]:
    """Sockets of the processes `pids` in the network of process `leader`, sorted.

    `tcp 0.0.0.0:6379` or `udp [::]:53` for inet sockets that listen or are bound; the name alone (`unix`,
    `netlink`, `packet`, `raw`) for the other families.
    """
    inodes = set()
    for pid in pids:
        inodes |= _socket_inodes(pid)
    found = set()
    for table in TABLES:
        for line in _lines(Path(f"/proc/{leader}/net/{table}"))[1:]:
            described = _describe(table, line, inodes)
            if described:
                found.add(described)
    return sorted(found)


def _describe(table: str, line: str, inodes: set[str]) -> str:
    name = table.rstrip("6")
    if name == "tcp" and f" {LISTEN} " not in line:
        return ""  # not parted: after a load there are thousands of connections that have ended
    fields = line.split()
    if table in ("unix", "netlink", "packet"):
        column = {"unix": 6, "netlink": 9, "packet": 8}[table]
        return table if len(fields) > column and fields[column] in inodes else ""
    if len(fields) < 10 or fields[9] not in inodes:
        return ""
    if name == "tcp" and fields[3] != LISTEN:  # another column may hold the same two digits
        return ""
    return f"{name} {_address(fields[1])}" if name != "raw" else name


def _address(text: str) -> str:
    """An address of /proc/net/tcp: 32-bit words in host byte order, in hexadecimal."""
    host, _, port = text.partition(":")
    words = [int(host[i : i + 8], 16) for i in range(0, len(host), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(words) == 1:
        return f"{socket.inet_ntop(socket.AF_INET, packed)}:{int(port, 16)}"
    return f"[{socket.inet_ntop(socket.AF_INET6, packed)}]:{int(port, 16)}"


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    try:
        for entry in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - a tenth of the time
            target = os.readlink(f"/proc/{pid}/fd/{entry}")  # noqa: PTH115
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return inodes  # ended meanwhile: what was seen so far counts
    return inodes


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split("\n")  # names of Unix sockets are any bytes
    except OSError:
        return []
