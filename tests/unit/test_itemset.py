import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.unit.catalogue import load
from harness.unit.itemset import OTHER, ItemSet, kept_by, written
from harness.unit.start import NotUnderstood

CAPS = load()["CapabilityBoundingSet"]
FAMILIES = load()["RestrictAddressFamilies"]
NAMESPACES = load()["RestrictNamespaces"]
SETS = (CAPS, FAMILIES, NAMESPACES)


@given(st.data(), st.sampled_from(SETS))
def test_what_is_written_is_kept_whatever_stood_before(data, directive) -> None:
    kept = frozenset(data.draw(st.sets(st.sampled_from(directive.universe))))
    before = data.draw(st.lists(st.sampled_from(["", directive.deny_all, directive.default, directive.universe[0]])))
    assert kept_by(directive, [*before, *written(directive, ItemSet(kept))]).kept == kept


@pytest.mark.parametrize(
    ("directive", "lines", "kept"),
    [
        (CAPS, ["CAP_KILL CAP_CHOWN", "CAP_FOWNER"], {"CAP_KILL", "CAP_CHOWN", "CAP_FOWNER"}),
        (CAPS, ["CAP_KILL CAP_CHOWN", "~CAP_CHOWN"], {"CAP_KILL"}),
        (CAPS, ["CAP_KILL", ""], set()),
        (CAPS, ["CAP_KILL", "~"], set(CAPS.universe)),
        (CAPS, ["~CAP_KILL"], set(CAPS.universe) - {"CAP_KILL"}),
        (NAMESPACES, ["true"], set()),
        (NAMESPACES, ["user net", "~net"], {"user"}),
        (NAMESPACES, ["~user"], set(NAMESPACES.universe) - {"user"}),
        (NAMESPACES, ["user", ""], set(NAMESPACES.universe)),
        (FAMILIES, ["none"], set()),
        (FAMILIES, ["AF_UNIX AF_INET", "~AF_INET"], {"AF_UNIX"}),
        (FAMILIES, ["~AF_PACKET"], set(FAMILIES.universe) - {"AF_PACKET"}),
        (FAMILIES, ["~ AF_PACKET AF_UNIX", "AF_UNIX"], set(FAMILIES.universe) - {"AF_PACKET"}),
        (FAMILIES, ["AF_UNIX AF_BLUETOOTH"], {"AF_UNIX", "AF_BLUETOOTH"}),
    ],
)
def test_lines_merge_as_in_systemd(directive, lines, kept) -> None:
    assert kept_by(directive, lines).kept == kept


def test_a_misspelt_item_is_not_guessed_at() -> None:
    with pytest.raises(NotUnderstood, match="CAP_TYPO"):
        kept_by(CAPS, ["CAP_TYPO CAP_KILL"])


def test_a_family_denied_by_name_stays_denied_until_all_others_are() -> None:
    items = kept_by(FAMILIES, ["~AF_VSOCK"]).without(["AF_PACKET"])
    assert written(FAMILIES, items) == ("", "~AF_PACKET AF_VSOCK")
    assert written(FAMILIES, items.without([OTHER])) == ("", "AF_UNIX AF_INET AF_INET6 AF_NETLINK")


def test_namespaces_are_written_by_the_shorter_list() -> None:
    everything = kept_by(NAMESPACES, [])
    assert written(NAMESPACES, everything.without(["user"])) == ("", "~user")
    assert written(NAMESPACES, everything.without(set(NAMESPACES.universe) - {"user"})) == ("", "user")
    assert written(NAMESPACES, everything.without(NAMESPACES.universe)) == ("yes",)


@pytest.mark.parametrize("directive", SETS, ids=lambda d: d.name)
def test_systemd_reads_the_lines_as_the_set_that_was_meant(analyze, directive) -> None:
    """A hostile earlier value must not show: the rows are those of the plain list."""
    meant = "\n".join(f"{directive.name}={v}" for v in written(directive, ItemSet(frozenset(directive.universe[:2]))))
    plain = f"[Service]\nExecStart=/bin/true\n{directive.name}={' '.join(directive.universe[:2])}\n"
    hostile = f"[Service]\nExecStart=/bin/true\n{directive.name}={directive.universe[3]}\n{directive.name}=~\n"
    assert analyze.rows_json(hostile, f"[Service]\n{meant}\n") == analyze.rows_json(plain)
