"""What the workload did not show and a reader has to know before a drop-in goes anywhere: whom it keeps out.

A machine has no way to other hosts. So nothing in it tells a peer that is blocked from one that cannot be reached, nor
misses clients that nobody played.
"""

import ipaddress
from collections.abc import Collection, Iterator

from harness.unit import catalogue
from harness.unit.catalogue import Rung
from harness.unit.needs import Needs
from harness.unit.tightening import Tightening

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
            yield name, f"{told}; no machine has a way there, so nothing was missed: name them in `networks`"


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
