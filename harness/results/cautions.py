"""What the workload did not show and a reader has to know before a drop-in goes anywhere: whom and what it keeps out.

A machine has no way to other hosts. So nothing in it tells a peer that is blocked from one that cannot be reached, nor
misses clients that nobody played.
"""

import ipaddress
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from harness.unit import catalogue
from harness.unit.catalogue import Rung
from harness.unit.needs import Needs
from harness.unit.tightening import Tightening

SHOWN_FOLDERS = 3
NAME_PEERS = "name it in `networks` where the service needs it"
NAME_THEM = "`networks` of the scenario names clients"
_SPECIAL = {
    "localhost": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/64"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
}  # systemd.resource-control(5)


def cautions(accepted: Collection[Tightening], needs: Needs) -> Iterator[tuple[str, str]]:
    """Each caution under the directive that it is about."""
    rung = _rung(accepted)
    closed = Tightening("PrivateNetwork", "yes") in accepted
    if rung is not None and needs.outward and not needs.networks and not closed:
        sockets = ", ".join(needs.outward)
        if _lets_through(rung, needs, "10.0.0.1"):
            yield "IPAddressDeny", f"it listens on {sockets}, and only private networks get there: {NAME_THEM}"
        else:
            yield "IPAddressDeny", f"it listens on {sockets}, but was only asked from localhost: {NAME_THEM}"
    if rung is not None or closed:
        blocked = [peer for peer in needs.peers or () if closed or rung is None or not _lets_through(rung, needs, peer)]
        if blocked:
            name = "PrivateNetwork" if closed else "IPAddressDeny"
            told = f"it tried to reach {', '.join(blocked)}, which {name}= keeps it from"
            yield name, f"{told}; in a machine nothing is ever reached there, so no trial could miss it: {NAME_PEERS}"
    yield from _untried(needs)
    kinds = [kind for kind in needs.namespaces if Tightening("RestrictNamespaces", items=(kind,)) in accepted]
    name = "RestrictNamespaces" if kinds else "CapabilityBoundingSet"
    without_right = Tightening("CapabilityBoundingSet", items=("CAP_SYS_ADMIN",)) in accepted
    if lost := kinds or [kind for kind in needs.namespaces if without_right and kind != "user"]:
        told = f"it set itself apart in namespaces ({' '.join(lost)}), which {name}= keeps it from"
        yield name, f"{told}; no step missed that, but a part of it may now run with less between it and the rest"


def _untried(needs: Needs) -> Iterator[tuple[str, str]]:
    if needs.asked:
        told = f"the unit asks for {' '.join(needs.asked)}, which no machine has"
        yield "CapabilityBoundingSet", f"{told}: it is left, and nothing that the service does with it was tried"


def remarks(accepted: Collection[Tightening], needs: Needs) -> Iterator[tuple[str, str]]:
    """What to know of a directive in daily use, under its name."""
    if needs.shared and any(key.directive == "UMask" for key in accepted):
        folders = sorted({str(PurePosixPath(path).parent) for path in needs.shared}, key=lambda at: (at.count("/"), at))
        more = f" and {len(folders) - SHOWN_FOLDERS} more" if len(folders) > SHOWN_FOLDERS else ""
        told = f"{', '.join(folders[:SHOWN_FOLDERS])}{more}"
        yield "UMask", f"files in {told} could be read by others before, which nobody in the workload did"
    if any(key.directive == "NoExecPaths" for key in accepted):
        told = "programs are shown one by one: one that an upgrade replaces runs after a restart, not after a reload"
        yield "NoExecPaths", told


def _rung(accepted: Collection[Tightening]) -> Rung | None:
    directive = catalogue.load()["IPAddressDeny"]
    names = {key.rung for key in accepted if key.directive == directive.name}
    return next((rung for rung in reversed(directive.rungs) if rung.value in names), None)


def _lets_through(rung: Rung, needs: Needs, peer: str) -> bool:
    if rung.peers and not needs.networks and peer in (needs.peers or ()):
        return True
    words = [*rung.allow.split(), *(needs.networks if rung.networks else ())]
    networks = [ipaddress.ip_network(each, strict=False) for word in words for each in _SPECIAL.get(word, (word,))]
    return any(ipaddress.ip_address(peer) in network for network in networks)
