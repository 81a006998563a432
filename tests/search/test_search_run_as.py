"""Assignments of another user, as they are written and read back."""

import pytest

from harness.search import run_as
from harness.unit.dropin import render
from harness.unit.needs import Needs
from harness.unit.start import Start, StartKind
from harness.unit.tightening import Tightening


@pytest.mark.parametrize("wanted", ["dynamic", "nobody"])
@pytest.mark.parametrize("written", [(), ("/var/lib/x/state", "/var/log/x/log")])
def test_what_was_written_is_read_back(wanted, written):
    given = run_as.lines(wanted, written, Needs(), None)
    start = Start(StartKind.STRIPPED, run_as=given)
    accepted = [Tightening("PrivateTmp", "yes"), Tightening("CapabilityBoundingSet", items=("CAP_KILL",))]
    assert run_as.read_back(render(accepted, start)) == given
    assert len(given) == 1 + len(written)


def test_what_is_everybodys_is_not_handed_over():
    written = ("/run/lock/x/lock", "/var/lib/misc/leases", "/var/lib/two words/state", "/var/lib/x/state")
    assert run_as.lines("dynamic", written, Needs(), None) == (("DynamicUser", "yes"), ("StateDirectory", "x"))


def test_a_drop_in_without_has_none():
    assert run_as.read_back(render([Tightening("PrivateTmp", "yes")], Start(StartKind.STRIPPED))) == ()
