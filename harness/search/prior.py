"""What to try first: the catalogue's chance that a tightening breaks, moved by what the baseline was seen to do.

A prior is never an answer: it only orders the search, and every line of the result has been tried.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

from harness.judge.baseline import Baseline
from harness.observation import Seen
from harness.scenario import Scenario
from harness.search.traced import traced
from harness.unit.tightening import Offer, Tightening

NEARLY_CERTAIN = 0.97
LIKELY = 0.8
UNLIKELY = 0.02
# Directories under which every package keeps one of its own: that one is the exception to ask for, not these.
SHARED = frozenset(
    "/ /etc /home /opt /root /srv /usr /usr/lib /usr/local /usr/share /var /var/backups /var/cache /var/games /var/lib "
    "/var/local /var/log /var/mail /var/opt /var/spool /var/tmp /run /tmp /dev /proc /sys /mnt /media /boot".split()
)
MADE = {"StateDirectory": "/var/lib", "CacheDirectory": "/var/cache", "LogsDirectory": "/var/log"}
PRIVATE = ("/tmp", "/var/tmp", "/run", "/dev", "/proc", "/sys", "/home", "/root")


def risks(
    offers: Iterable[Offer],
    baseline: Baseline,
    scenario: Scenario,
    *,
    seen: Seen | None = None,
    writable: Iterable[str] = (),
    groups: Mapping[str, Collection[str]] | None = None,
) -> dict[Tightening, float]:
    """The chance of each offered tightening to break the service, 0 to 1; `seen` is what a traced pass saw.

    `groups` are the system call groups of the systemd inside.
    """
    moved = _evidence(baseline, scenario, writable=tuple(writable))
    if seen is not None:
        moved |= traced(seen, baseline, groups or {})
    return {offer.tightening: _risk(offer, moved) for offer in offers}


def _risk(offer: Offer, moved: dict[str, float]) -> float:
    """What is known of the rung or of the riskiest item; else of the directive; else the catalogue's own chance."""
    tightening = offer.tightening
    names = (tightening.rung, *tightening.items)
    known = [moved[name] for item in names if (name := f"{tightening.directive} {item}") in moved]
    return max(known) if known else moved.get(tightening.directive, offer.risk)


def _evidence(baseline: Baseline, scenario: Scenario, *, writable: tuple[str, ...]) -> dict[str, float]:
    """Risks by name; a later entry overrules an earlier one."""
    found: dict[str, float] = {}
    inet = [socket for socket in baseline.sockets if socket.startswith(("tcp ", "udp "))]
    families = {socket.split(" ")[0] for socket in baseline.sockets}
    talks = bool(inet or scenario.companions or scenario.networks)
    found["PrivateNetwork"] = NEARLY_CERTAIN if talks else 0.2
    found["RestrictAddressFamilies AF_INET"] = NEARLY_CERTAIN if talks else 0.2
    found["IPAddressDeny any"] = NEARLY_CERTAIN if talks else 0.1
    found["IPAddressDeny any but localhost"] = LIKELY if scenario.networks or scenario.addresses else 0.05
    for family, item in (("netlink", "AF_NETLINK"), ("packet", "AF_PACKET")):
        found[f"RestrictAddressFamilies {item}"] = LIKELY if family in families else 0.05
    found |= _of_users(baseline, low_port=any(_port(socket) < 1024 for socket in inet))
    found["ProtectSystem strict"] = 0.08 if writable or not baseline.written else 0.3
    if any(path.startswith(("/home/", "/root/")) for path in baseline.written):
        found["ProtectHome"] = LIKELY
    return found


def _of_users(baseline: Baseline, *, low_port: bool) -> dict[str, float]:
    users = {uid for _, uid, _ in baseline.privileges}
    if not any(baseline.privileges.values()):
        # Nobody in the unit holds a capability, so none can be missed; what a set-user-id program gains is rare.
        return {"CapabilityBoundingSet": UNLIKELY, "PrivateUsers": 0.1, "SystemCallFilter @privileged": 0.1}
    found: dict[str, float] = {}
    if users - {0} and 0 in users:
        found["CapabilityBoundingSet CAP_SETUID"] = NEARLY_CERTAIN
        found["PrivateUsers"] = NEARLY_CERTAIN
        found["SystemCallFilter @privileged"] = LIKELY
        found["CapabilityBoundingSet CAP_KILL"] = 0.4
    if low_port:
        found["CapabilityBoundingSet CAP_NET_BIND_SERVICE"] = NEARLY_CERTAIN
        found["PrivateUsers"] = NEARLY_CERTAIN
    return found


def _port(socket: str) -> int:
    return int(socket.rpartition(":")[2] or 0)


def writable_paths(written: Iterable[str], *, before: Iterable[str], existing: Iterable[str]) -> tuple[str, ...]:
    """Directories to except from ProtectSystem=strict, from what the baseline wrote.

    `written` and `before` are paths changed by the baseline and by a machine without the service; `existing` are
    directories of the root tree. A path is generalised to the highest directory below a shared one such as
    `/var/lib`, never to a shared one itself, and only to one that exists before the service starts.
    """
    there = frozenset(existing)
    ignored = frozenset(before)
    found = set()
    for path in written:
        if path in ignored or any(path.startswith(private + "/") for private in PRIVATE):
            continue
        chain = [str(parent) for parent in reversed(PurePosixPath(path).parents)]
        own = next((parent for parent in chain if parent not in SHARED and parent in there), None)
        if own is not None:
            found.add(own)
        elif path in there:
            found.add(path)
    return tuple(sorted(found))


def parents_to_open(written: Iterable[str], *, before: Iterable[str], existing: Iterable[str]) -> tuple[str, ...]:
    """Shared directories, such as `/var/cache`, below which a service makes its own one at run time.

    The widest exception there is, for a service that starts as root and makes the directory itself.
    """
    made = made_directories(written, before=before, existing=existing)
    return tuple(sorted({MADE[directive] for directive, _ in made}))


def made_directories(
    written: Iterable[str], *, before: Iterable[str], existing: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """Directories that the service makes below a shared one, as (directive, name) like `("CacheDirectory", "nginx")`.

    ReadWritePaths= cannot except what does not exist before the start; systemd can make it (systemd.exec(5)).
    """
    there, ignored = frozenset(existing), frozenset(before)
    found = set()
    for path in written:
        for directive, base in MADE.items():
            name = path.removeprefix(base + "/").split("/")[0]
            if path.startswith(base + "/") and path not in ignored and f"{base}/{name}" not in there:
                found.add((directive, name))
    return tuple(sorted(found))
