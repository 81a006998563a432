"""Whom an answer keeps out without a trial that could tell."""

import pytest

from harness.results.cautions import cautions, remarks
from harness.unit.needs import Needs
from harness.unit.tightening import Tightening

OUTWARD = ("tcp 0.0.0.0:80",)
PRIVATE = ("IPAddressDeny=any but local networks",)
LOCAL = (*PRIVATE, "IPAddressDeny=any but localhost and peers", "IPAddressDeny=any but localhost")


@pytest.mark.parametrize(
    ("labels", "needs", "told"),
    [
        ((), Needs(outward=OUTWARD, peers=("192.0.2.9",)), ()),
        (PRIVATE, Needs(outward=OUTWARD), ("only private networks get there",)),
        (LOCAL, Needs(outward=OUTWARD), ("only asked from localhost",)),
        (LOCAL, Needs(outward=OUTWARD, networks=("10.0.0.0/8",)), ()),
        (LOCAL, Needs(), ()),
        ((), Needs(asked=("CAP_SYS_TIME",)), ("the unit asks for CAP_SYS_TIME, which no machine has",)),
        (LOCAL[:2], Needs(peers=("192.0.2.9",)), ()),
        (LOCAL, Needs(peers=("127.0.0.53", "192.0.2.9")), ("tried to reach 192.0.2.9, which IPAddressDeny=",)),
        (PRIVATE, Needs(peers=("10.1.2.3", "fe80::1")), ()),
        (LOCAL[:1], Needs(peers=("192.0.2.9",), networks=("192.0.2.0/24",)), ()),
        (
            ("RestrictNamespaces -net",),
            Needs(namespaces=("mnt", "net")),
            ("namespaces (net), which RestrictNamespaces=",),
        ),
        (("CapabilityBoundingSet -CAP_SYS_ADMIN",), Needs(namespaces=("net",)), ("which CapabilityBoundingSet=",)),
        (("CapabilityBoundingSet -CAP_SYS_ADMIN",), Needs(namespaces=("user",)), ()),
        (("RestrictNamespaces -pid",), Needs(namespaces=("net",)), ()),
        (("PrivateNetwork=yes",), Needs(peers=("10.1.2.3",)), ("which PrivateNetwork=",)),
    ],
)
def test_what_is_told(labels, needs, told):
    found = list(cautions([Tightening.from_label(label) for label in labels], needs))
    assert len(found) == len(told)
    assert all(part in text for part, (_, text) in zip(told, found, strict=True))


def test_what_is_remarked():
    mask, run = Tightening("UMask", "0077"), Tightening("NoExecPaths", items=("/",))
    shared = Needs(shared=("/srv/a/1", "/srv/a/2", "/srv/b/1", "/srv/c/1", "/srv/c/d/1"))
    assert dict(remarks([mask], shared))["UMask"] == (
        "files in /srv/a, /srv/b, /srv/c and 1 more could be read by others before, which nobody in the workload did"
    )
    assert [name for name, _ in remarks([mask, run], Needs())] == ["NoExecPaths"]
    assert list(remarks([], shared)) == []
