"""A service that runs as root, run as somebody else: what its unit has to say then.

Only on request, as nobody but the administrator can say that a change of user is wanted: files change hands for good.
Directories of its own below /var/lib and the like are handed over by systemd, which changes their owner at the start
(StateDirectory= in systemd.exec(5)); capabilities that have to do with neither files nor users are kept.
"""

from collections.abc import Iterable

from harness.observation import Seen
from harness.search.writable import can_be_made
from harness.unit.capability import CAPABILITIES
from harness.unit.needs import Needs
from harness.unit.paths import LASTING, OWN
from harness.unit.tightening import Tightening

DYNAMIC = "dynamic"
HANDED_OVER = {**LASTING, "RuntimeDirectory": OWN["RuntimeDirectory"]}
# Below them, but shared by many: handed over, systemd would change their owner, and remove those in /run at the stop.
EVERYBODYS = frozenset("lock systemd user dbus udev misc private journal".split())
# What a service needs for its work rather than for being root, kept by AmbientCapabilities= when it was seen in use.
KEPT = frozenset("NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK SYS_NICE SYS_RESOURCE SYS_TIME".split())


def tightening(wanted: str) -> Tightening:
    """The step as the answer names it: `DynamicUser=yes`, or `User=NAME`."""
    return Tightening("DynamicUser", "yes") if wanted == DYNAMIC else Tightening("User", wanted)


def lines(wanted: str, written: Iterable[str], needs: Needs, seen: Seen | None) -> tuple[tuple[str, str], ...]:
    """Assignments for [Service]; `written` are the paths that the service left behind as root."""
    step = tightening(wanted)
    paths = [*written, *needs.writable, *(seen.opened_for_writing if seen is not None else ())]
    found = [(step.directive, step.rung)]
    for directive, base in HANDED_OVER.items():
        names = {path.removeprefix(f"{base}/").split("/")[0] for path in paths if path.startswith(f"{base}/")}
        found += [
            (directive, name.replace("%", "%%"))
            for name in sorted(names - EVERYBODYS)
            if can_be_made(base, name, paths)
        ]
    used = (seen.capabilities if seen is not None else None) or ()
    kept = sorted(f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if number in used and name in KEPT)
    return (*found, *([("AmbientCapabilities", " ".join(kept))] if kept else []))


def read_back(drop_in: str) -> tuple[tuple[str, str], ...]:
    """The assignments that `lines` gave to a drop-in, from its head; none where it has none."""
    found: list[tuple[str, str]] = []
    for line in drop_in.splitlines():
        key, assigns, value = line.partition("=")
        if not assigns or key.startswith("#"):
            continue
        if key not in (("User", "DynamicUser") if not found else (*HANDED_OVER, "AmbientCapabilities")):
            break
        found.append((key, value))
    return tuple(found)
