from harness.unit.needs import Needs
from harness.unit.start import Start, StartKind
from harness.unit.surface import reach
from harness.unit.tightening import Tightening
from harness.unit.unitfile import parse

GROUPS = {
    "@known": ["chown", "mount", "nice", "read", "reboot", "setuid"],
    "@system-service": ["chown", "nice", "read", "setuid"],
    "@privileged": ["chown", "reboot", "setuid"],
    "@reboot": ["reboot"],
}
START = Start.of(parse("[Service]\nExecStart=/bin/true\n"), StartKind.STRIPPED, groups=GROUPS)
ALLOW = Tightening("SystemCallFilter", "@system-service")


def now(*accepted: Tightening, **of) -> dict[str, str]:
    return {row.what: row.after for row in reach(accepted, START, **of)}


def test_what_is_not_tightened_is_not_listed_but_what_is_writable_always() -> None:
    assert now() == {"writable": "/"}


def test_single_denials_are_counted() -> None:
    denied = [Tightening("CapabilityBoundingSet", items=(f"CAP_{name}",)) for name in ("CHOWN", "KILL")]
    assert now(*denied)["capabilities"] == "39"


def test_families_without_a_name_are_said() -> None:
    assert now(Tightening("RestrictAddressFamilies", items=("AF_PACKET",)))["address families"] == "4 and all others"
    assert now(Tightening("RestrictAddressFamilies", items=("other",)))["address families"] == "5"


def test_calls_of_a_deny_list_an_allow_list_and_what_is_cut_out_of_it() -> None:
    reboot, chown = (Tightening("SystemCallFilter", items=(item,)) for item in ("@reboot", "chown"))
    assert now(reboot)["system calls"] == "5"
    assert now(reboot, ALLOW)["system calls"] == "4"
    assert now(reboot, ALLOW, chown)["system calls"] == "3"


def test_a_network_of_its_own_reaches_no_address() -> None:
    localhost = Tightening("IPAddressDeny", "any but localhost")
    assert now(localhost)["addresses"] == "localhost"
    assert now(localhost, Tightening("PrivateNetwork", "yes"))["addresses"] == "none"


def test_writable_places_of_a_strict_system() -> None:
    strict = Tightening("ProtectSystem", "strict")
    assert now(strict, needs=Needs(writable=("/var/lib/x",)))["writable"] == "/var/lib/x"
    assert now(strict)["writable"] == "only what systemd makes for it"


def test_what_a_shipped_unit_leaves_writable_by_itself() -> None:
    unit = parse("[Service]\nExecStart=/bin/x\nProtectSystem=strict\nReadWritePaths=-/srv /var/log/x\n")
    rows = {kind: [row for row in reach([], Start.of(unit, kind)) if row.what == "writable"] for kind in StartKind}
    assert [(row.before, row.after) for row in rows[StartKind.SHIPPED]] == [("/srv /var/log/x", "/srv /var/log/x")]
    assert [(row.before, row.after) for row in rows[StartKind.STRIPPED]] == [("/", "/")]
