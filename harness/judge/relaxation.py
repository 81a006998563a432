"""The smallest relaxation of a directive that lets one refused thing through, as lines for a later drop-in.

Each rests on how systemd reads several lines of one directive: lists of paths, capabilities and addresses add up, and a
system call or family named without `~` is taken out of a list of denied ones: systemd.exec(5).
"""

from pathlib import PurePosixPath

from harness.judge.denials import Denials
from harness.unit.listed import literal_path, source
from harness.unit.needs import below
from harness.unit.quantity import size_text
from harness.unit.unitfile import written

GROWTH = 1.25
_RUNG_BELOW: dict[str, dict[str, str]] = {"ProtectSystem": {"strict": "full", "full": "yes"}, "ProtectHome": {}}
_RUNGS_DOWN = {"ProtectProc": "default", "ProcSubset": "all", "PrivateTmp": "no"}


def open_path(directive: str, path: str, unit: Denials, *, writes: bool) -> list[str]:
    """Let the unit read or write below `path`, which `directive` keeps it from."""
    if directive == "ProtectHome" and unit.value("ProtectHome") == "yes":
        lowered = ["ProtectHome=tmpfs"]
        return [*lowered, _bind(path, writes=writes)]
    mount = unit.mount_of(path)
    if directive in ("ProtectHome", "TemporaryFileSystem") and mount is not None and mount.mode == "empty":
        return [_bind(path, writes=writes)]
    if directive == "InaccessiblePaths" or (directive == "ReadOnlyPaths" and path in map(_bare, unit.words(directive))):
        return without(directive, path, unit)
    if writes and mount is not None and mount.path == path and directive in _RUNG_BELOW:
        # Of two settings for the very same path the stricter one counts: ReadWritePaths= would do nothing.
        return [f"{directive}={_RUNG_BELOW[directive].get(unit.value(directive), 'no')}"]
    if writes and directive in ("ProtectSystem", "ProtectHome", "ReadOnlyPaths"):
        return [f"ReadWritePaths={literal_path(path, optional=False)}"]
    return [lower(directive)]


def run(path: str, unit: Denials) -> list[str]:
    """Let the unit run `path`, which NoExecPaths= keeps it from.

    Bound read-only, as ExecPaths= makes what it names writable beside ProtectSystem=strict. A writable place has to be
    taken out of the list: a program in it may be made anew.
    """
    mount = unit.mount_of(path)
    if mount is not None and mount.mode == "rw" and mount.path in map(_bare, unit.words("NoExecPaths")):
        return _written("NoExecPaths", [word for word in unit.words("NoExecPaths") if _bare(word) != mount.path])
    return [_bind(path, writes=False)]


def _bind(path: str, *, writes: bool) -> str:
    return f"{'BindPaths' if writes else 'BindReadOnlyPaths'}={source(path, optional=False)}"


def without(directive: str, path: str, unit: Denials) -> list[str]:
    """A list of paths without those that `path` is in."""
    return _written(directive, [word for word in unit.words(directive) if not below(path, _bare(word))])


def optional(directive: str, path: str, unit: Denials) -> list[str]:
    """A list of paths in which `path` may be missing."""
    words = [f"-{_bare(word)}" if path in _bare(word).split(":")[:2] else word for word in unit.words(directive)]
    return _written(directive, words)


def lower(directive: str) -> str:
    """A switch or ladder at its loosest."""
    return f"{directive}={_RUNGS_DOWN.get(directive, 'no')}"


def device(path: str, unit: Denials, *, private: bool) -> list[str]:
    """One device more; without a `/dev` of its own where that hides it."""
    lines = ["PrivateDevices=no", "DevicePolicy=closed"] if private else []
    return [*lines, f"DeviceAllow={path} rw"]


def more(directive: str, value: str, *, factor: float = GROWTH) -> list[str]:
    """A limit by a quarter larger; none where it cannot be read."""
    if directive == "CPUQuota":
        return (
            [f"CPUQuota={round(float(value.rstrip('%')) * factor)}%"]
            if value.rstrip("%").replace(".", "").isdigit()
            else []
        )
    if not value.isdigit():
        return []
    larger = int(int(value) * factor) + 1
    if directive == "MemoryMax":
        return [f"MemoryMax={size_text(-(-larger // 2**20) * 2**20)}"]
    return [written(directive, str(larger))]


def nearest(path: str, existing: frozenset[str]) -> str:
    """`path` itself where it is there, else the directory that it would be made in."""
    if path in existing:
        return path
    return next((str(parent) for parent in PurePosixPath(path).parents if str(parent) in existing), path)


def _written(directive: str, words: list[str]) -> list[str]:
    """A list in place of the one before."""
    return [f"{directive}=", *([f"{directive}={' '.join(words)}"] if words else [])]


def _bare(word: str) -> str:
    return word.lstrip("-+")
