"""From what the baseline wrote and a traced pass saw to what candidates must spare."""

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.judge.baseline import Baseline, ports
from harness.observation import OWN_ADDRESS, Seen
from harness.scenario import Scenario
from harness.search.writable import (
    SYSTEMS_OWN,
    WHOLE,
    by_unit,
    can_be_made,
    made_entries,
    own_directories,
    writable_paths,
)
from harness.unit import catalogue
from harness.unit.catalogue import ALLOW_LIST
from harness.unit.needs import Emptied, Needs, below
from harness.unit.paths import LASTING
from harness.unit.start import allowed
from harness.unit.unitfile import UnitFile

Tree = Mapping[str, str]
"""What the root tree has at a path: `directory`, `file`, or the program after `#!` that runs the file. A path that is
not in it is not there."""

# Writable mounts of their own below a root that ProtectSystem=strict makes read-only: /dev always, /tmp by PrivateTmp=.
APART = ("/dev/shm", "/tmp", "/var/tmp")
EMPTIABLE = ("/opt", "/srv", "/var")
# With more exceptions than this a list tells less than the directory they are in.
MOST_KEPT, MOST_PROGRAMS = 12, 6
# Below /dev, but no device that a unit would be given.
NO_DEVICES = re.compile(r"/dev/(?:pts|shm|mqueue|hugepages|fd|char|block|disk|log|tty|ptmx|console|std\w+|core)(?:/|$)")
EXEC_LINE = re.compile(r"""\s*[-@:+!|]*(?:"([^"]+)"|'([^']+)'|(\S+))""")
COMM_CHARACTERS = 15  # TASK_COMM_LEN less the end: proc(5)
SEARCHED = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")


@dataclass(frozen=True)
class Used:
    """Absolute paths the service used: `written` ones as the baseline left them or a tracer saw them opened."""

    written: frozenset[str]
    read: frozenset[str]
    executed: frozenset[str]

    @classmethod
    def of(cls, baseline: Baseline, seen: Seen | None) -> "Used":
        """From the baseline and, if there was one, the traced pass."""
        written = _absolute(baseline.written)
        if seen is None:
            return cls(written, frozenset(), frozenset())
        executed = _absolute(seen.executed)
        written |= _absolute(seen.opened_for_writing)
        return cls(written, _absolute(seen.opened) | executed, executed)

    @property
    def all(self) -> frozenset[str]:
        """Every one of them."""
        return self.written | self.read


def asked_of_tree(used: Used, unit: UnitFile) -> list[str]:
    """Paths whose place in the root tree `needs_of` asks for."""
    places = [*_universe("InaccessiblePaths"), *_universe("ExecPaths")]
    own = own_programs(unit)
    programs = [*used.executed, *own, *(f"{at}/{name}" for name in own for at in SEARCHED)]
    parents = {str(parent) for path in used.written for parent in PurePosixPath(path).parents}
    children = {child for path in used.all for place in places if (child := _entry(path, place))}
    devices = {path for path in (*used.all, *map(_device_of, own_devices(unit))) if path.startswith("/dev/")}
    return sorted(
        {path for path in [*places, *programs, *parents, *used.written, *children, *devices] if path[0] == "/"}
    )


def needs_of(
    scenario: Scenario,
    unit: UnitFile,
    baseline: Baseline,
    seen: Seen | None,
    *,
    tree: Tree,
    idle: Iterable[str],
    has_user: bool,
    groups: Mapping[str, Collection[str]] | None = None,
    withheld: Collection[str] = (),
    listening: Iterable[str] = (),
) -> Needs:
    """What the candidates of one run must spare; `idle` are paths that change in a machine without the service.

    `groups` are the system call groups of the systemd inside, `withheld` capabilities that no machine of the run has,
    `listening` the sockets of the traced pass, whose machine has an address more.
    """
    used = Used.of(baseline, seen)
    parents = {str(at): "directory" for file in scenario.files for at in PurePosixPath(file.target).parents}
    # What companions made before the service started is there, as it is in production.
    made_before = dict.fromkeys(baseline.made_before, "directory")
    tree = {**tree, **parents, **made_before, **{file.target: "file" for file in scenario.files}}
    own = own_directories(unit, scenario.unit)
    existing = {*tree, *own}
    writable = [path for path in writable_paths(used.written, before=idle, existing=existing) if not below(path, *own)]
    entries = by_unit(made_entries(used.written, before=idle, existing=existing), seen)
    # Of root systemd would hand such a directory to root at each start, and take it from the workers it was given to.
    made = tuple(
        (directive, name)
        for directive, name in entries
        if has_user and can_be_made(LASTING[directive], name, used.written)
    )
    writable += sorted({LASTING[directive] for directive, _ in set(entries) - set(made)} - set(writable))
    directories = own | {f"{LASTING[directive]}/{name}" for directive, name in made}
    spared = [*writable, *directories]
    programs = _found(own_programs(unit), tree)
    if not _lasting(programs, baseline):
        # They are wrappers: what they started in their place is the unit's own as well.
        programs += _found(_lasting(sorted(used.executed), baseline), tree)
    executable = tuple(path for path in _universe("ExecPaths") if tree.get(path) == "directory")
    return Needs(
        networks=scenario.networks,
        peers=None if seen is None else tuple(_peers(seen)),
        writable=tuple(writable),
        directories=made,
        hidden=tuple(_hidden(used, spared, tree)),
        emptied=tuple(_emptied(used, spared, tree, directories=directories)),
        read_only=tuple(path for path in _universe("ReadOnlyPaths") if not _any_below(used.written, path, own)),
        executable=executable,
        own_programs=tuple(programs),
        programs=tuple(_programs(used, programs, tree)),
        devices=tuple(_devices(used, seen, tree)),
        own_devices=tuple(value for value in own_devices(unit) if _device_of(value) not in tree),
        ports=tuple(_ports(baseline)),
        apart=tuple(sorted({*APART, *spared})),
        calls=tuple(_calls_beyond(seen, groups or {})),
        refused=tuple(_calls_refused(seen, groups or {})) if has_user and not any(baseline.privileges.values()) else (),
        outward=tuple(_outward({*baseline.listens, *ports({*baseline.sockets, *listening})})),
        namespaces=() if seen is None else seen.namespaces,
        shared=() if seen is None else seen.shared,
        asked=tuple(sorted(_asked(unit) & set(withheld))),
    )


def _asked(unit: UnitFile) -> set[str]:
    """Capabilities that a unit names: left to it of all, given to it, or what it does not start without.

    A condition counts even where it was taken back, as it has to be for a trial.
    """
    found = [allowed(unit.lines("Service", name)) for name in ("CapabilityBoundingSet", "AmbientCapabilities")]
    conditions = [line.lstrip("|").split() for line in unit.lines("Unit", "ConditionCapability")]
    return {word.upper() for words in (*found, *conditions) for word in words}


def _calls_beyond(seen: Seen | None, groups: Mapping[str, Collection[str]]) -> list[str]:
    """Calls in use that systemd knows and the allow-list lacks."""
    known = set(groups.get("@known", ()))
    return sorted(known & set(seen.calls) - set(groups.get(ALLOW_LIST, ()))) if seen is not None else []


def _calls_refused(seen: Seen | None, groups: Mapping[str, Collection[str]]) -> list[str]:
    """Calls that systemd knows and the kernel refused each time.

    Only of a unit without privileges: others may be refused for want of a capability that no machine has.
    """
    return sorted({*groups.get("@known", ())}.intersection(seen.refused)) if seen is not None else []


def item_risks(needs: Needs, baseline: Baseline, seen: Seen | None) -> dict[str, float]:
    """Chances to break by `directive item`, where they differ from the catalogue's."""
    found = dict.fromkeys((f"ReadWritePaths {path}" for path in needs.writable if path in WHOLE), 0.1)
    if seen is None:
        return found | dict.fromkeys((f"InaccessiblePaths {path}" for path in needs.hidden), 0.15)
    opened = _absolute(seen.opened_for_writing)
    for path in needs.writable:
        # What was written, and not by the service, was written by the workload.
        if not any(below(other, path) for other in opened):
            found[f"ReadWritePaths {path}"] = 0.1
    for path in needs.programs:
        # Tried beside others: a program that may not run is named in the trace, and many that ran are not missed.
        found[f"ExecPaths {path}"] = 0.75
    homes = [str(PurePosixPath(program).parent) for program in _absolute(seen.executed)]
    for path in needs.executable:
        # Too many ran there to be listed one by one.
        if homes.count(path) > MOST_PROGRAMS:
            found[f"ExecPaths {path}"] = 0.9
    return found


def own_devices(unit: UnitFile) -> tuple[str, ...]:
    """Values of the unit's own DeviceAllow=, since the last reset."""
    kept: list[str] = []
    for value in unit.values("Service", "DeviceAllow"):
        kept = [*kept, value] if value else []
    return tuple(kept)


def _device_of(value: str) -> str:
    """`/dev/x` or `char-x` of a value such as `char-rtc r`."""
    return value.split()[0]


def own_programs(unit: UnitFile) -> tuple[str, ...]:
    """The programs of the unit's own command lines, as they are written there."""
    keys = ("ExecStart", "ExecStartPre", "ExecStartPost", "ExecCondition", "ExecReload", "ExecStop", "ExecStopPost")
    lines = (line for key in keys for line in unit.values("Service", key))
    found = (EXEC_LINE.match(line) for line in lines if line)
    return tuple(dict.fromkeys(match[1] or match[2] or match[3] for match in found if match))


def _found(programs: Iterable[str], tree: Tree) -> list[str]:
    """Their paths, with those of the programs that run them."""
    paths = []
    for name in programs:
        places = [name] if name.startswith("/") else [f"{at}/{name}" for at in SEARCHED]
        paths += [path for path in places if path in tree][:1]
    return list(dict.fromkeys([*paths, *(tree[path] for path in paths if tree[path].startswith("/"))]))


def _lasting(programs: Iterable[str], baseline: Baseline) -> list[str]:
    """Those that every baseline run had a lasting process of."""
    return [path for path in programs if path.rpartition("/")[2][:COMM_CHARACTERS] in baseline.lasting]


def _programs(used: Used, own: Collection[str], tree: Tree) -> list[str]:
    """What was executed beside the unit's own programs; nothing of a directory with too many to list."""
    others = [path for path in _found(sorted(used.executed), tree) if path not in own and tree.get(path) != "directory"]
    homes = [str(PurePosixPath(path).parent) for path in others]
    return [path for path, home in zip(others, homes, strict=True) if homes.count(home) <= MOST_PROGRAMS]


def _hidden(used: Used, spared: Iterable[str], tree: Tree) -> list[str]:
    """Places that are there, and in which nothing was used."""
    paths = [*used.all, *spared]
    places = (path for path in _universe("InaccessiblePaths") if path in tree)
    return [place for place in places if not any(below(path, place) for path in paths)]


def _emptied(used: Used, spared: Iterable[str], tree: Tree, *, directories: Iterable[str]) -> list[Emptied]:
    """Places in which a few directories were used, and nothing else.

    A file among them would have to be bound by itself, and be missed once it is replaced by a new one.
    """
    known = {path for path in tree if tree[path] == "directory"} | set(directories)
    paths = [*used.all, *spared]
    to_write = [*used.written, *spared]
    found = []
    for place in _universe("InaccessiblePaths"):
        entries = {_entry(path, place) for path in paths if below(path, place) and path != place}
        usable = place in tree and below(place, *EMPTIABLE) and place not in spared
        if usable and entries and len(entries) <= MOST_KEPT and entries <= known:
            changed = {entry for entry in entries if any(below(path, entry) or below(entry, path) for path in to_write)}
            found.append(Emptied(place, tuple(sorted(entries - changed)), tuple(sorted(changed))))
    return found


def _devices(used: Used, seen: Seen | None, tree: Tree) -> list[tuple[str, str]]:
    if seen is None:
        return []
    names = {path for path in used.all if path.startswith("/dev/") and not NO_DEVICES.match(path) and path in tree}
    return [(path, "rw" if path in used.written else "r") for path in sorted(names) if tree[path] == "file"]


def _ports(baseline: Baseline) -> list[str]:
    """`tcp:80` of `tcp 0.0.0.0:80`; ports given out by the kernel are no ports of the service."""
    own = baseline.listens | ports(baseline.sockets)
    return sorted({f"{socket.partition(' ')[0]}:{int(socket.rpartition(':')[2])}" for socket in own})


def _outward(sockets: Iterable[str]) -> list[str]:
    """Listening sockets of the service whose address is not loopback's.

    `tcp *:80` is one of each address that the host has.
    """
    found = []
    for socket in sorted(sockets):
        address = socket.rpartition(" ")[2].rpartition(":")[0].strip("[]")
        if address == OWN_ADDRESS:
            found.append(socket.replace(address, "*"))
        elif not _address(address).is_loopback:
            found.append(socket)
    return found


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; of one of IPv4 in the form of IPv6, as sockets of both kinds show it, the former."""
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def _peers(seen: Seen) -> list[str]:
    """Addresses talked to that are not the machine's own loopback."""
    found = set()
    for text in seen.peers:
        address = _address(text)
        if not address.is_loopback and not address.is_unspecified and str(address) != OWN_ADDRESS:
            found.add(str(address))
    return sorted(found)


def _absolute(paths: Iterable[str]) -> frozenset[str]:
    """Those that a unit file can name: text on one line."""
    return frozenset(path for path in paths if path.startswith("/") and len(path.splitlines()) == 1 and _is_text(path))


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in path


def _entry(path: str, place: str) -> str:
    """The entry of `place` that `path` is or lies in, "" when it is not below."""
    if not path.startswith(place + "/"):
        return ""
    return f"{place}/{path.removeprefix(place + '/').split('/')[0]}"


def _any_below(paths: Iterable[str], place: str, own: Iterable[str]) -> bool:
    return any(below(path, place) and not below(path, *own, *SYSTEMS_OWN) for path in paths)


def _universe(name: str) -> tuple[str, ...]:
    return catalogue.load()[name].universe
