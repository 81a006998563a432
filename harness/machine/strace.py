"""One pass under strace, where the kernel takes no BPF programs: slower, and blind to capabilities.

The unit's own command is wrapped by a second drop-in. The tracer runs as a grandchild (`-D`), so that the main process
stays the service itself, and notification, PID files and exit statuses are as without (strace(1), 6.1). Not with
`--seccomp-bpf`: that sets no_new_privs, and a program with set-user-ID would break.
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.observation import Seen
from harness.unit.start import TRUE
from harness.unit.unitfile import UnitFile, written

PROGRAM = "/usr/bin/strace"
LOG = "/harness-trace/log"
DROP_IN = "60-harness-trace.conf"
# So frequent that a log of them fills the disk, and in @system-service all of them: they count as used.
UNTOLD = (
    "read write readv writev pread64 pwrite64 recvfrom recvmsg futex poll ppoll select pselect6 epoll_wait "
    "epoll_pwait epoll_ctl clock_gettime gettimeofday lseek fstat newfstatat close brk munmap madvise sched_yield "
    "rt_sigaction rt_sigprocmask"
).split()
_OPTIONS = f"-D -f -q -A -s 256 -e signal=none -e trace=!{','.join(UNTOLD)} -o {LOG}"
# What may stand before the path of a command (systemd.service(5), COMMAND LINES); after "@" comes no path alone.
_COMMAND = re.compile(r"([-:+!|]*)([^-:+!|@\s].*)", re.DOTALL)
_CALL = re.compile(r"(?:\d+\s+)?([a-z_0-9]+)\((.*)", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\([0-7]{1,3}|.)")
_INET = re.compile(r'inet_(?:addr\(|pton\(AF_INET6, )"([^"]+)"')
_FAILED = re.compile(r"\) += -1 E[A-Z]+ \(")
_REFUSED = re.compile(r"\) += -1 (?:EPERM|EACCES|ENOSYS) \(")
_CHANGING = frozenset(
    (
        "creat",
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "symlink",
        "symlinkat",
        "link",
        "linkat",
    )
)
_NAMESPACES = {
    "CLONE_NEWNS": "mnt", "CLONE_NEWCGROUP": "cgroup", "CLONE_NEWUTS": "uts", "CLONE_NEWIPC": "ipc",
    "CLONE_NEWUSER": "user", "CLONE_NEWPID": "pid", "CLONE_NEWNET": "net",
}  # fmt: skip


def available(root: Path) -> bool:
    """Whether the root tree has strace, and this host too: it is a tool of the harness, as bpftrace is."""
    return shutil.which("strace") is not None and (root / PROGRAM.lstrip("/")).exists()


def files(unit: UnitFile, name: str) -> dict[str, tuple[bytes, int, tuple[int, int]]]:
    """What a machine needs for it, as machine files; empty when the unit's command cannot be wrapped."""
    commands = [_COMMAND.fullmatch(line) for line in unit.values("Service", "ExecStart")]
    found = [match.groups() for match in commands if match]
    if not found or len(found) < len(commands):
        return {}
    lines = ["ExecStart=", *(written("ExecStart", f"{prefix}{PROGRAM} {_OPTIONS} -- {rest}") for prefix, rest in found)]
    dynamic = (unit.get("Service", "DynamicUser") or "").lower() in TRUE
    if dynamic or unit.get("Service", "ProtectSystem") == "strict":
        lines.append(f"ReadWritePaths={LOG}")
    text = "\n".join(["[Service]", *lines, ""])
    return {
        f"/etc/systemd/system/{name}.d/{DROP_IN}": (text.encode(), 0o644, (0, 0)),
        LOG: (b"", 0o666, (0, 0)),
    }


def seen(lines: Iterable[str]) -> Seen | None:
    """What the log tells; None when it is empty, so that nothing was traced."""
    calls: set[str] = set()
    done: set[str] = set(UNTOLD)
    families: set[str] = set()
    peers: set[str] = set()
    opened: set[str] = set()
    changed: set[str] = set()
    executed: set[str] = set()
    namespaces: set[str] = set()
    writable_code = False
    for call, told in _calls(lines):
        calls.add(call)
        if not _REFUSED.search(told):
            done.add(call)
        path, failed = _first_path(told), _FAILED.search(told) is not None
        if call == "socket":
            families.add(told.partition(",")[0])
        elif call in ("connect", "sendto", "sendmsg", "sendmmsg"):
            peers.update(_INET.findall(told))
        elif call == "bind" and 'sun_path="' in told:  # with @ before it, it is no file
            changed.add(_first_path(told.partition("sun_path=")[2]))
        elif call in ("open", "openat", "openat2"):
            writes = re.search(r"\bO_(WRONLY|RDWR)\b", told) is not None
            if not (writes and failed):
                (changed if writes else opened).add(path)
        elif call in _CHANGING and not failed:
            changed.add(_last_path(told) if "rename" in call or "link" in call else path)
        elif call == "execve":
            executed.add(path)
        elif call in ("mmap", "mprotect", "pkey_mprotect"):
            writable_code |= "PROT_EXEC" in told and (call != "mmap" or "PROT_WRITE" in told)
        elif call in ("clone", "clone3", "unshare"):
            namespaces.update(name for flag, name in _NAMESPACES.items() if re.search(rf"\b{flag}\b", told))
    if not calls:
        return None
    return Seen(
        calls=tuple(sorted(calls.union(UNTOLD))),
        refused=tuple(sorted(calls - done)),
        capabilities=None,
        families=tuple(sorted(families)),
        peers=tuple(sorted(peers)),
        opened=tuple(sorted(opened - {""})),
        opened_for_writing=tuple(sorted(changed - {""})),
        executed=tuple(sorted(executed - {""})),
        namespaces=tuple(sorted(namespaces)),
        writable_code=writable_code,
        tracer="strace",
    )


def _calls(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name and the rest of each line that begins a call."""
    for line in lines:
        if match := _CALL.match(line):
            yield match[1], match[2]


def _last_path(told: str) -> str:
    """The last string, as `_first_path`: the new name of what is renamed or linked."""
    found = list(_STRING.finditer(told))
    return _first_path(told[found[-1].start() :]) if found else ""


def _first_path(told: str) -> str:
    """The first string, with strace's escapes undone; empty when there is none, or it was cut off."""
    match = _STRING.search(told)
    if match is None or told[match.end() :].startswith("..."):
        return ""
    text = _ESCAPE.sub(lambda found: chr(int(found[1], 8)) if found[1].isdigit() else found[1], match[1])
    return text.encode("latin-1", errors="replace").decode(errors="replace")
