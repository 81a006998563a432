"""What a process's mounts show: what is read-only, hidden, empty or its own (proc(5), /proc/PID/mountinfo)."""

from collections.abc import Iterable

from harness.judge.holding import Hold, Part, Seen, part
from harness.judge.settings import Setting
from harness.unit.capability import CAPABILITIES
from harness.unit.confined import Confined, Look
from harness.unit.needs import below
from harness.unit.paths import HOMES, plain
from harness.unit.start import words

# systemd mounts a file or directory of mode 000 over what it hides, in a container one that its manager made.
INACCESSIBLE = ("/systemd/inaccessible/", "/host/inaccessible/")
PTRACE = 1 << CAPABILITIES.index("SYS_PTRACE")


def _read_only(process: Confined, paths: Iterable[str]) -> tuple[bool | None, str]:
    """Whether every path that exists is on a read-only mount, and which is not."""
    seen = [(path, process.real[path]) for path in paths if path in process.real]
    open_ = [path for path, real in seen if not _hidden(process, real) and not _is_read_only(process, real)]
    if not seen:
        return None, "there is no " + " ".join(paths)
    return not open_, " ".join(open_ or [path for path, _ in seen])


def _is_read_only(process: Confined, real: str) -> bool:
    mount = process.mount_of(real)
    return mount is not None and mount.read_only


def _hidden(process: Confined, real: str) -> bool:
    mount = process.mount_of(real)
    return mount is not None and mount.root.startswith(INACCESSIBLE)


def system(setting: Setting, look: Look, process: Confined) -> Seen:
    """ProtectSystem=."""
    trees = {"yes": ("/usr", "/boot"), "full": ("/usr", "/boot", "/etc"), "strict": ("/", "/usr", "/etc", "/var")}
    spared = _spared(look, "ReadOnlyPaths") - {"/"}
    yield from _ro_part("", process, [path for path in trees.get(setting.value, ()) if path not in spared])
    if setting.value == "strict" and "/run" not in spared:
        # systemd 252 forgets it beside some other directives, such as ProtectProc=.
        yield from _ro_part("/run", process, ("/run",))


def _ro_part(name: str, process: Confined, paths: Iterable[str]) -> Seen:
    ok, which = _read_only(process, tuple(paths))
    yield part(name, ok, f"read-only: {which}", f"writable: {which}" if ok is False else which)


def home(setting: Setting, look: Look, process: Confined) -> Seen:
    """ProtectHome=."""
    if setting.value == "read-only":
        yield from _ro_part("", process, HOMES)
        return
    seen = {path: process.real[path] for path in HOMES if path in process.real}
    if setting.value == "tmpfs":
        left = [path for path, real in seen.items() if (m := process.mount_of(real)) is None or m.kind != "tmpfs"]
    else:
        left = [path for path, real in seen.items() if not _hidden(process, real)]
    yield part("", not left if seen else None, "hidden: " + " ".join(seen), "open: " + " ".join(left))


def tmp(setting: Setting, look: Look, process: Confined) -> Seen:
    """PrivateTmp=."""
    left = []
    for path in ("/tmp", "/var/tmp"):
        mount = process.mount_of(path)
        own = mount is not None and mount.point == path and ("systemd-private-" in mount.root or mount.kind == "tmpfs")
        same = any(o.point == path and mount and (o.device, o.root) == (mount.device, mount.root) for o in look.outer)
        if not own or same:
            left.append(path)
    yield part("", not left, "/tmp and /var/tmp are directories of its own", "the host's own " + " ".join(left))


def proc(setting: Setting, look: Look, process: Confined) -> Seen:
    """ProtectProc= and ProcSubset=."""
    mount = process.mount_of("/proc")
    options = mount.options if mount is not None else frozenset()
    if setting.directive.name == "ProcSubset":
        yield part("", "subset=pid" in options, "/proc has subset=pid", "/proc has no subset=")
        return
    names = {"noaccess": "1", "invisible": "2", "ptraceable": "4"}
    wanted = {f"hidepid={setting.value}", f"hidepid={names.get(setting.value, '')}"}
    yield part("", bool(wanted & options), f"/proc has hidepid={setting.value}", "/proc has no such hidepid=")
    if setting.value in {"noaccess", "invisible"} and 0 in process.groups:
        # proc(5), gid=: the group that hidepid=1 and 2 exempt is 0 unless the mount says otherwise.
        yield Part("processes", Hold.ABSENT, "it is in group 0, which noaccess and invisible exempt")
    elif process.effective & PTRACE:
        yield Part("processes", Hold.ABSENT, "it has CAP_SYS_PTRACE, which sees all of them under any value")


def hidden_part(name: str, process: Confined, paths: Iterable[str]) -> Seen:
    """That every path that exists is hidden."""
    seen = {path: process.real[path] for path in paths if path in process.real}
    left = [path for path, real in seen.items() if not _hidden(process, real)]
    if seen:
        yield part(name, not left, "hidden: " + " ".join(seen), "open: " + " ".join(left))


def tunables(setting: Setting, look: Look, process: Confined) -> Seen:
    """ProtectKernelTunables=."""
    if "/proc/sys" in process.real:
        yield from _ro_part("settings", process, ("/proc/sys",))
    else:
        yield part("settings", True, "/proc/sys is not there")
    yield from hidden_part("symbols", process, ("/proc/kallsyms",))


def control_groups(setting: Setting, look: Look, process: Confined) -> Seen:
    """ProtectControlGroups=; `private` is a namespace of its own, in which the tree may be written (257)."""
    if setting.value == "private":
        apart = "cgroup" in process.apart
        yield part("", apart or None, "it has a control group namespace of its own", "")
        return
    # Since systemd 254 the unit's own memory.pressure stays writable, a mount of one file (MemoryPressureWatch=).
    cgroups = [m for m in process.mounts if m.kind in {"cgroup", "cgroup2"}]
    trees = [m for m in cgroups if not m.point.endswith("/memory.pressure")]
    left = [m.point for m in trees if not m.read_only]
    yield part("", not left if trees else None, "every tree is read-only", "writable: " + " ".join(left))


def paths(setting: Setting, look: Look, process: Confined) -> Seen:
    """Directives that name paths."""
    name = setting.directive.name
    spared = _spared(look, name)
    for word in words(setting.values):
        path = plain(word, look.name)
        if not path:
            yield Part(word, Hold.UNKNOWN, "what it stands for cannot be told here")
        elif path not in process.real:
            yield Part(word, Hold.UNKNOWN, "there is no such path")
        elif path not in spared:
            yield _path(name, path, process)
            yield from _still_executable(path, process, spared) if name == "NoExecPaths" else ()


def _still_executable(path: str, process: Confined, spared: set[str]) -> Seen:
    """Mounts of their own below a noexec one, in which programs can be written and run."""
    root = process.real[path].rstrip("/")
    left = [
        mount.point
        for mount in process.mounts
        if mount.point.startswith(f"{root}/")
        and process.mount_of(mount.point) == mount
        and not mount.read_only
        and "noexec" not in mount.options
        and not below(mount.point, *(spared - {"/"}))
    ]
    if left:
        yield part(f"below {path}", False, "", "programs can be written and run in " + " ".join(left))


def _spared(look: Look, name: str) -> set[str]:
    """Paths that the unit itself leaves open below those that `name` closes."""
    keys = ("ExecPaths",) if name == "NoExecPaths" else ("ReadWritePaths", "ReadWriteDirectories")
    return {plain(word, look.name) for key in keys for word in words(look.unit.lines("Service", key))}


def _path(name: str, path: str, process: Confined) -> Part:
    real = process.real[path]
    mount = process.mount_of(real)
    if name == "ReadOnlyPaths":
        return part(path, _is_read_only(process, real) or _hidden(process, real), "read-only", "writable")
    if name == "InaccessiblePaths":
        return part(path, _hidden(process, real), "hidden", "open")
    if name == "NoExecPaths":
        return part(path, mount is not None and "noexec" in mount.options, "mounted noexec", "programs can be run")
    own = mount is not None and mount.kind == "tmpfs" and mount.point == real
    return part(path, own, "a file system of its own", "the host's own")


def own_dev(look: Look, process: Confined) -> Part:
    """That /dev is a file system of its own."""
    mount = process.mount_of("/dev")
    outer = next((o for o in reversed(look.outer) if o.point == "/dev"), None)
    own = mount is not None and mount.point == "/dev" and (outer is None or outer.device != mount.device)
    return part("/dev", own, "a file system of its own", "the host's own")
