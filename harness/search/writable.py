"""Where a service writes: what is to be excepted from a read-only file system, and what systemd is to make for it.

A path is generalised with care: to the highest directory below a shared one such as `/var/lib`, never to a shared one
itself, and only to what is there before the service starts.
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from harness.observation import Seen
from harness.unit.needs import below
from harness.unit.paths import LASTING, MADE_FOR_PRIVATE_TMP, OWN, plain
from harness.unit.unitfile import UnitFile

# Directories under which every package keeps one of its own: that one is the exception to ask for, not these.
SHARED = frozenset(
    "/ /etc /home /opt /root /srv /usr /usr/lib /usr/local /usr/share /var /var/backups /var/cache /var/games /var/lib "
    "/var/local /var/log /var/mail /var/opt /var/spool /var/tmp /run /tmp /dev /proc /sys /mnt /media /boot".split()
)
# No package keeps anything here: what is made in one while the service runs has no nearer place to except.
NOBODYS = ("/media", "/mnt", "/opt", "/srv", "/var/local", "/var/mail", "/var/opt")
# Here files come and go, and the whole of it is the exception; what systemd puts there for PrivateTmp= is none.
WHOLE = ("/tmp", "/var/tmp", "/run")
SYSTEMS_OWN = ("/run/systemd", "/run/user")
NEVER = ("/dev", "/proc", "/sys", *SYSTEMS_OWN)


def writable_paths(written: Iterable[str], *, before: Iterable[str], existing: Iterable[str]) -> tuple[str, ...]:
    """Directories to except from ProtectSystem=strict, from what the baseline wrote.

    `written` and `before` are paths changed by the baseline and by a machine without the service; `existing` are
    directories of the root tree, and those of `written` that are in it. A path is generalised to the highest directory
    below a shared one such as `/var/lib`, and only to one that exists before the service starts; never to a shared one
    itself, but for those that are nobody's, such as `/srv`.
    """
    there = frozenset(existing)
    ignored = frozenset(before)
    made = {path for path in written if path not in there | ignored}
    found = set()
    for path in written:
        if path in ignored or below(path, *NEVER) or MADE_FOR_PRIVATE_TMP in path:
            continue
        whole = next((place for place in WHOLE if below(path, place)), None)
        chain = [str(parent) for parent in reversed(PurePosixPath(path).parents)]
        own = next((parent for parent in chain if parent not in SHARED and parent in there), None)
        if whole is not None:
            found.add(own if own is not None and below(own, "/run") else whole)
        elif own is not None:
            found.add(own)
        elif path in there:
            # Excepted it is a mount of its own, over which nothing can be renamed: a log that is moved away and made
            # anew needs the directory.
            parent = str(PurePosixPath(path).parent)
            if not any(str(PurePosixPath(other).parent) == parent for other in made):
                found.add(path)
            elif parent in LASTING.values():
                found.add(parent)
        else:
            found.update(place for place in NOBODYS if below(path, place) and place in there)
    return tuple(sorted(path for path in found if not any(below(path, other) for other in found - {path})))


def made_entries(
    written: Iterable[str], *, before: Iterable[str], existing: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """What the service makes below a shared directory, as (directive, name) like `("CacheDirectory", "nginx")`.

    ReadWritePaths= cannot except what does not exist before the start. What is a directory systemd can make
    (systemd.exec(5)); for anything else the shared directory itself has to be open.
    """
    there, ignored = frozenset(existing), frozenset(before)
    found = set()
    for path in written:
        for directive, base in LASTING.items():
            name = path.removeprefix(base + "/").split("/")[0]
            if path.startswith(base + "/") and path not in ignored and f"{base}/{name}" not in there:
                found.add((directive, name))
    return tuple(sorted(found))


def can_be_made(base: str, name: str, written: Iterable[str]) -> bool:
    """Whether systemd can make `name` below `base`: something was written in it, so it is a directory, and the name is
    one word without a colon, as StateDirectory= and the like take it.
    """
    return not re.search(r"[\s:]", name) and any(path.startswith(f"{base}/{name}/") for path in written)


def by_unit(made: tuple[tuple[str, str], ...], seen: Seen | None) -> tuple[tuple[str, str], ...]:
    """Those that the unit wrote in: companions and the workload make some. A relative path may be in any of them."""
    if seen is None or any(not path.startswith("/") for path in seen.opened_for_writing):
        return made
    return tuple(
        (directive, name)
        for directive, name in made
        if any(below(path, f"{LASTING[directive]}/{name}") for path in seen.opened_for_writing)
    )


def own_directories(unit: UnitFile, name: str) -> frozenset[str]:
    """Directories that the unit `name` has systemd make: under ProtectSystem=strict they stay writable anyway."""
    found = (
        plain(f"{base}/{word.split(':')[0]}", name)
        for key, base in OWN.items()
        for value in unit.values("Service", key)
        for word in value.split()
    )
    return frozenset(path for path in found if path)
