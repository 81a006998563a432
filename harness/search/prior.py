"""What to try first: the catalogue's chance that a tightening breaks, moved by what the baseline was seen to do.

A prior is never an answer: it only orders the search, and every line of the result has been tried.
"""

from collections.abc import Collection, Iterable, Mapping

from harness.judge.baseline import Baseline
from harness.observation import Seen
from harness.scenario import Scenario
from harness.search.needs import item_risks
from harness.search.traced import traced
from harness.unit.needs import Needs
from harness.unit.tightening import Offer, Tightening

NEARLY_CERTAIN = 0.97
LIKELY = 0.8
UNLIKELY = 0.02


def risks(
    offers: Iterable[Offer],
    baseline: Baseline,
    scenario: Scenario,
    *,
    seen: Seen | None = None,
    needs: Needs,
    groups: Mapping[str, Collection[str]] | None = None,
    as_root: bool = True,
) -> dict[Tightening, float]:
    """The chance of each offered tightening to break the service, 0 to 1; `seen` is what a traced pass saw.

    `groups` are the system call groups of the systemd inside, `as_root` tells whether the service begins as root,
    whatever it becomes.
    """
    moved = _evidence(baseline, scenario, needs, as_root=as_root) | item_risks(needs, baseline, seen)
    if seen is not None:
        moved |= traced(seen, baseline, groups or {}, as_root=as_root)
    return {offer.tightening: _risk(offer, moved) for offer in offers}


def _risk(offer: Offer, moved: dict[str, float]) -> float:
    """What is known of the rung or of the riskiest item; else of the directive; else the catalogue's own chance."""
    tightening = offer.tightening
    names = (tightening.rung, *tightening.items)
    known = [moved[name] for item in names if (name := f"{tightening.directive} {item}") in moved]
    return max(known) if known else moved.get(tightening.directive, offer.risk)


def _evidence(baseline: Baseline, scenario: Scenario, needs: Needs, *, as_root: bool) -> dict[str, float]:
    """Risks by name; a later entry overrules an earlier one."""
    found: dict[str, float] = {}
    inet = [socket for socket in baseline.sockets if socket.startswith(("tcp ", "udp "))]
    families = {socket.split(" ")[0] for socket in baseline.sockets}
    talks = bool(inet or scenario.companions or scenario.networks)
    found["PrivateNetwork"] = NEARLY_CERTAIN if talks else 0.2
    found["RestrictAddressFamilies AF_INET"] = NEARLY_CERTAIN if talks else 0.2
    found["IPAddressDeny any"] = NEARLY_CERTAIN if talks else 0.1
    found["IPAddressDeny any but localhost and peers"] = 0.4 if needs.peers is None else 0.1
    found["IPAddressDeny any but localhost"] = (
        LIKELY if scenario.networks or scenario.addresses or needs.peers else 0.05
    )
    for family, item in (("netlink", "AF_NETLINK"), ("packet", "AF_PACKET")):
        found[f"RestrictAddressFamilies {item}"] = LIKELY if family in families else 0.05
    found |= _of_users(baseline, as_root=as_root, low_port=any(_port(socket) < 1024 for socket in inet))
    found["ProtectSystem strict"] = 0.08 if needs.writable or not baseline.written else 0.3
    if any(path.startswith(("/home/", "/root/")) for path in baseline.written):
        # Read-only is no harm to what is excepted from it; anything further hides it.
        found |= {"ProtectHome read-only": 0.1, "ProtectHome tmpfs": LIKELY, "ProtectHome yes": LIKELY}
    return found


def _of_users(baseline: Baseline, *, as_root: bool, low_port: bool) -> dict[str, float]:
    users = {uid for _, uid, _ in baseline.privileges}
    if not as_root and not any(baseline.privileges.values()):
        # Nobody in the unit holds a capability, so none can be missed; what a set-user-id program gains is rare.
        return {"CapabilityBoundingSet": UNLIKELY, "PrivateUsers": 0.1, "SystemCallFilter @privileged": 0.1}
    found: dict[str, float] = {}
    if users - {0} and (0 in users or as_root):
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
