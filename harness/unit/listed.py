"""Directives whose members are found at the service and not in the catalogue: paths, programs, devices, ports, groups.

Each member is left open at first. Denying it is a tightening with a proof of its own, in either direction; the lines
say what is left.
"""

import re
from collections.abc import Callable, Collection, Iterable

from harness.errors import UnitError
from harness.unit.catalogue import Directive, load
from harness.unit.needs import Needs, below
from harness.unit.paths import HOMES, READ_ONLY_BY
from harness.unit.start import Start, allowed

Lines = list[tuple[str, str]]
# The name of a directive of the catalogue in a drop-in, where it is another.
WRITTEN_AS = {"ExecPaths": "BindReadOnlyPaths"}
PRIVATE_TMP = ("/tmp", "/var/tmp")
# What a strict policy lets through all the same: systemd itself needs /dev/null, and what a program does without random
# numbers nobody sees: Perl then takes the time for chance.
NEVER_DENIED = {"/dev/null": "rw", "/dev/random": "r", "/dev/urandom": "r"}
# systemd 252 leaves /run writable under ProtectSystem=strict beside some other directives, later ones do not: an
# exception that is not missed here would be after an upgrade.
NOT_PROVEN = ("/run",)
WHY_NOT_PROVEN = "not tried, since this cannot be shown on every systemd"
# The loader and what it maps are here: no program starts without them.
LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32")


def members(directive: Directive, start: Start, needs: Needs) -> tuple[str, ...]:
    r"""What may be denied, in order. Names are one word each: blanks in them are written as `\\x20`."""
    found = _MEMBERS[directive.name](start, needs) if directive.name in _MEMBERS else ()
    return tuple(dict.fromkeys(_word(item) for item in found))


def rests_on(directive: Directive, item: str, start: Start, needs: Needs) -> tuple[str, ...]:
    """Labels of the tightenings without which denying `item` would mean nothing."""
    path = plain(item)
    if directive.name == "NoExecPaths":
        # Beside ProtectSystem=yes and full, everything below /usr stays executable (tried with systemd 252).
        if path != "/":
            return ("NoExecPaths -/",)
        return () if start.own(load()["ProtectSystem"])[-1:] == ("strict",) else ("ProtectSystem=strict",)
    if directive.name == "ReadWritePaths":
        return (next(f"ProtectSystem={rung}" for rung, places in READ_ONLY_BY.items() if below(path, *places)),)
    if directive.name == "ReadOnlyPaths" and path == "/run":
        return ("ProtectSystem=strict",)
    if directive.name == "ExecPaths":
        homes = [place for place in needs.executable if path != place and below(path, place)]
        return ("NoExecPaths -/", *(f"ExecPaths -{place}" for place in homes[:1]))
    if directive.name == "DeviceAllow":
        return ("DevicePolicy=strict",) if _standard(path) else ("DevicePolicy=closed",)
    return ("SocketBindDeny=any",) if directive.name == "SocketBindAllow" else ()


def lines(directive: Directive, denied: Collection[str], start: Start, needs: Needs) -> Lines:
    """The lines of a directive some of whose members are denied."""
    known = members(directive, start, needs)
    if unknown := sorted(set(denied).difference(known)):
        raise UnitError(f"{directive.name}: no item {' '.join(unknown)}")
    if directive.name in ("SupplementaryGroups", "AmbientCapabilities"):
        kept = [item for item in allowed(start.lines(directive.name)) if item not in denied]
        return [(directive.name, ""), *([(directive.name, " ".join(kept))] if kept else [])]
    if directive.name == "TemporaryFileSystem":
        return [(directive.name, f"{_escaped(plain(item))}:ro") for item in known if item in denied]
    if directive.name in ("InaccessiblePaths", "ReadOnlyPaths"):
        return [(directive.name, literal_path(plain(item))) for item in known if item in denied]
    return []  # the exceptions that are left stand with what they are exceptions to


def still_writable(denied: Collection[str], needs: Needs, *, system: Iterable[str], home: bool) -> list[str]:
    """Paths that stay excepted from what is read-only by values of ProtectSystem= and, with `home`, by ProtectHome=.

    No others: what is excepted is a mount of its own, which nothing can be renamed over (EBUSY, rename(2)).
    """
    closed = {place for value in system for place in READ_ONLY_BY[value]} | set(HOMES if home else ())
    return [path for path in needs.writable if _word(path) not in denied and ("/" in closed or below(path, *closed))]


def not_proven(needs: Needs) -> list[str]:
    """Exceptions from a read-only file system that no trial can show to be needed."""
    return [path for path in needs.writable if below(path, *NOT_PROVEN)]


def still_executable(denied: Collection[str], needs: Needs) -> list[str]:
    """Directories in which programs still run, and programs beside them."""
    shut = [plain(item) for item in denied]
    directories = [path for path in needs.executable if path not in shut]
    programs = [path for path in (*needs.own_programs, *needs.programs) if path not in shut]
    return [*directories, *(path for path in programs if not below(path, *directories))]


def closed_to_programs(denied: Collection[str], shut: Collection[str], needs: Needs, *, private_tmp: bool) -> list[str]:
    """Paths for NoExecPaths=; `shut` are denied exceptions from a read-only file system.

    A path in any of these lists is a mount of its own, and no longer read-only because `/` is (systemd 252). So only
    what is writable anyway is named.
    """
    read_only = {path for path in needs.writable if _word(path) in shut}
    read_only |= {path for path in PRIVATE_TMP if path not in needs.writable}
    if private_tmp:
        read_only -= {*PRIVATE_TMP}
    return [path for path in ("/", *needs.apart) if _word(path) in denied and path not in read_only]


def bound(emptied: Collection[str], shut: Collection[str], needs: Needs) -> Lines:
    """What is shown again in the directories `emptied`; written entries are, unless `shut` names their exception."""
    found: Lines = []
    for place in needs.emptied:
        if _word(place.path) in emptied:
            open_ones = [path for path in place.written if _word(path) not in shut]
            found += [("BindPaths", source(path)) for path in open_ones]
            found += [
                ("BindReadOnlyPaths", source(path)) for path in (*place.read, *place.written) if path not in open_ones
            ]
    return found


def devices(denied: Collection[str], needs: Needs, *, strict: bool) -> list[str]:
    """Values of DeviceAllow= beside a closed or strict policy."""
    left = [(path, access) for path, access in needs.devices if _word(path) not in denied]
    if not strict:
        return [*(f"{path} {access}" for path, access in left if not _standard(path)), *needs.own_devices]
    open_ones = NEVER_DENIED | dict(left) | {"/dev/null": "rw"}
    return [*(f"{path} {access}" for path, access in open_ones.items()), *needs.own_devices]


def plain(item: str) -> str:
    """The path that an item stands for."""
    return re.sub(r"(?:\\x[0-9a-f]{2})+", lambda found: bytes.fromhex(found[0].replace("\\x", "")).decode(), item)


def literal_path(path: str, *, optional: bool = True) -> str:
    """A path for a list of paths: `-` because it may not be there (226 otherwise), no specifier, one word."""
    return _quoted(path, f"{'-' if optional else ''}{_escaped(path)}")


def source(path: str, *, optional: bool = True) -> str:
    """A path to bind where it is: a colon would part it from where it is shown."""
    return literal_path(path, optional=optional).replace(":", "\\:")


def _escaped(path: str) -> str:
    if not path.startswith("/") or len(path.splitlines()) > 1:
        raise UnitError(f"{path!r} is not an absolute path on one line", hint="lists of paths take no other")
    return path.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')


def _quoted(path: str, text: str) -> str:
    return f'"{text}"' if any(char in path for char in " \t\"'\\") else text


def _word(path: str) -> str:
    """The path without blanks of any kind, their bytes in hexadecimal; `plain` is the way back."""
    return re.sub(r"[\s\\]", lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode()), path)


def _standard(path: str) -> bool:
    """Whether DevicePolicy=closed lets it through by itself: systemd.resource-control(5)."""
    return path in {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom")}


_Found = Callable[[Start, Needs], Iterable[str]]
_MEMBERS: dict[str, _Found] = {
    "ReadWritePaths": lambda start, needs: [path for path in needs.writable if not below(path, *NOT_PROVEN)],
    "ReadOnlyPaths": lambda start, needs: needs.read_only,
    "InaccessiblePaths": lambda start, needs: needs.hidden,
    "TemporaryFileSystem": lambda start, needs: [place.path for place in needs.emptied],
    "NoExecPaths": lambda start, needs: ["/", *needs.apart] if needs.executable else [],
    "ExecPaths": lambda start, needs: [
        path for path in [*needs.executable, *needs.programs] if not below(path, *LIBRARIES)
    ],
    "DeviceAllow": lambda start, needs: [path for path, _ in needs.devices if path not in NEVER_DENIED],
    "SocketBindAllow": lambda start, needs: needs.ports,
    "SupplementaryGroups": lambda start, needs: allowed(start.lines("SupplementaryGroups")),
    "AmbientCapabilities": lambda start, needs: allowed(start.lines("AmbientCapabilities")),
}
