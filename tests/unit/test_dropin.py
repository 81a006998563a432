import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UnitError
from harness.unit.catalogue import Directive, Kind, load
from harness.unit.dropin import full_unit, render, set_later
from harness.unit.needs import NOTHING, Needs
from harness.unit.start import Start, StartKind
from harness.unit.tightening import Tightening, offers
from harness.unit.unitfile import UnitFile, parse, parse_cat, strip_sandboxing

EXPECTED = Path(__file__).parent / "expected"
VERSION = 252

PLAIN = "[Service]\nExecStart=/bin/true\n"
DENY = "[Service]\nExecStart=/bin/true\nSystemCallFilter=~@clock kexec_load\n"


def start_of(text: str, kind: StartKind = StartKind.SHIPPED) -> Start:
    return Start.of(parse(text), kind)


def every_step(start: Start) -> list[Tightening]:
    return [offer.tightening for offer in offers(load(), version=VERSION, start=start)]


def steps(*labels: str) -> list[Tightening]:
    return [Tightening.from_label(label) for label in labels]


def lines(text: str, directive: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{directive}=")]


def accepted_subset(data: st.DataObject, start: Start, needs: Needs = NOTHING) -> set[Tightening]:
    """A candidate the search could reach: every requirement is met."""
    found = offers(load(), version=VERSION, start=start, needs=needs)
    chosen = data.draw(st.sets(st.sampled_from(found)))
    return {t for offer in chosen for t in {offer.tightening, *offer.requires}}


def compare_whole(text: str, name: str) -> None:
    """With HARNESS_WRITE_EXPECTED set the stored file is written instead; read the change before keeping it."""
    if os.environ.get("HARNESS_WRITE_EXPECTED"):
        (EXPECTED / name).write_text(text)
    assert text == (EXPECTED / name).read_text()


def test_the_tightest_drop_in_of_a_stripped_unit_is_the_stored_one(hardened: UnitFile) -> None:
    start = Start.of(hardened, StartKind.STRIPPED)
    text = render(
        every_step(start),
        start,
        needs=Needs(writable=("/var/lib/thing", "/var/lib/100% mine")),
        comments={"ProtectSystem": ["passed in trial 12"], "UMask": ["two", "lines"]},
        header=["probe.service, tightened"],
    )
    compare_whole(text, "tightest.conf")


def test_the_drop_in_that_undoes_a_hardened_unit_is_the_stored_one(hardened: UnitFile) -> None:
    compare_whole(render([], Start.of(hardened, StartKind.STRIPPED)), "undone.conf")


def test_what_a_later_drop_in_sets_is_known() -> None:
    texts = {
        "/lib/systemd/system/a.service": "ProtectHome=yes\nPrivateTmp=yes",
        "/etc/systemd/system/a.service.d/10-first.conf": "UMask=0022",
        "/etc/systemd/system/a.service.d/override.conf": "ProtectHome=read-only\nReadWritePaths=/srv\nMemoryMax=1G\n"
        "ReadOnlyPaths=/etc\nSupplementaryGroups=ssl-cert",
        "/etc/systemd/system/service.d/90-all.conf": "NoNewPrivileges=yes",
    }
    unit = parse_cat("\n".join(f"# {path}\n[Service]\n{text}\n" for path, text in texts.items()))
    *_, override, every = texts
    by_override = ("ProtectHome", "ReadWritePaths", "MemoryMax", "SupplementaryGroups")
    assert set_later(unit) == {**dict.fromkeys(by_override, override), "NoNewPrivileges": every}


def test_the_full_unit_has_what_comes_later_after_what_was_found() -> None:
    texts = {
        "/lib/systemd/system/a.service": "ExecStart=/bin/true\nReadWritePaths=/old",
        "/etc/systemd/system/a.service.d/override.conf": "ReadWritePaths=/srv/data\nIPAddressAllow=10.0.0.0/8",
    }
    unit = parse_cat("\n".join(f"# {path}\n[Service]\n{text}\n" for path, text in texts.items()))
    whole = parse(full_unit(unit, "[Service]\nReadWritePaths=\nReadWritePaths=-/var/lib/a\nIPAddressAllow=\n"))
    assert whole.lines("Service", "ReadWritePaths") == ("", "-/var/lib/a", "/srv/data")
    assert whole.lines("Service", "IPAddressAllow") == ("", "10.0.0.0/8")


def test_devices_of_the_unit_that_no_machine_has_stay() -> None:
    needs = Needs(own_devices=("char-pps rw",))
    text = render(steps("DevicePolicy=closed"), Start(StartKind.STRIPPED), needs=needs)
    assert lines(text, "DeviceAllow") == ["DeviceAllow=char-pps rw"]


def test_the_full_unit_is_the_stored_one(hardened: UnitFile) -> None:
    start = Start.of(hardened, StartKind.STRIPPED)
    base = strip_sandboxing(hardened, start.stripped_names())
    text = render(steps("ProtectSystem=yes", "ProtectSystem=full"), start, comments={"ProtectSystem": ["why"]})
    compare_whole(full_unit(base, text), "full.service")


def test_nothing_accepted_on_a_plain_unit_says_nothing() -> None:
    for kind in StartKind:
        assert render([], start_of(PLAIN, kind)) == "[Service]\n"


def test_a_shipped_start_writes_only_what_was_accepted(hardened: UnitFile) -> None:
    text = render(steps("PrivateTmp=yes"), Start.of(hardened, StartKind.SHIPPED))
    assert text == "[Service]\nPrivateTmp=yes\n"


def test_the_highest_rung_is_written_and_the_order_of_acceptance_does_not_show() -> None:
    climbed = steps("ProtectSystem=yes", "ProtectSystem=full", "UMask=0027", "UMask=0077")
    text = render(climbed, start_of(PLAIN))
    assert text == "[Service]\nProtectSystem=full\nUMask=0077\n"
    assert render(list(reversed(climbed)), start_of(PLAIN)) == text


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["-@clock", "-@swap"], ["", "~@clock kexec_load", "~@clock @swap"]),
        (["=@system-service"], ["", "@system-service", "~kexec_load"]),
        (["=@system-service", "-@resources"], ["", "@system-service", "~kexec_load", "~@resources"]),
    ],
)
def test_denials_of_the_units_own_filter_stay(labels: list[str], expected: list[str]) -> None:
    accepted = [Tightening.from_label(f"SystemCallFilter{'' if x[0] == '=' else ' '}{x}") for x in labels]
    text = render(accepted, start_of(DENY))
    assert lines(text, "SystemCallFilter") == [f"SystemCallFilter={value}" for value in expected]


def test_an_allow_list_of_the_unit_itself_stays_word_for_word() -> None:
    own = PLAIN + "SystemCallFilter=@system-service sethostname\nSystemCallErrorNumber=EPERM\n"
    text = render(steps("SystemCallFilter -@resources"), start_of(own))
    assert text.splitlines()[1:] == [
        "SystemCallFilter=",
        "SystemCallFilter=@system-service sethostname",
        "SystemCallFilter=~@resources",
    ]


def test_local_networks_let_the_callers_own_through() -> None:
    text = render(
        steps("IPAddressDeny=any but local networks"), start_of(PLAIN), needs=Needs(networks=("198.51.100.0/24",))
    )
    assert lines(text, "IPAddressDeny") == ["IPAddressDeny=", "IPAddressDeny=any"]
    assert lines(text, "IPAddressAllow")[-1].endswith(" fc00::/7 198.51.100.0/24")


def test_the_tightest_address_rung_lets_nothing_through_that_the_unit_allowed(hardened: UnitFile) -> None:
    start = Start.of(hardened, StartKind.SHIPPED)
    text = render(steps("IPAddressDeny=any"), start)
    assert lines(text, "IPAddressAllow") == ["IPAddressAllow="]


@pytest.mark.parametrize(
    ("label", "excepted"),
    [
        ("LockPersonality=yes", ""),
        ("ProtectSystem=yes", "/usr/share/a"),
        ("ProtectSystem=full", "/etc/a /usr/share/a"),
        ("ProtectSystem=strict", "/etc/a /home/a /usr/share/a /var/lib/a"),
        ("ProtectHome=read-only", "/home/a"),
    ],
)
def test_writable_paths_come_with_what_makes_them_read_only(label: str, excepted: str) -> None:
    """As a mount of its own, a file could not be replaced by a new one."""
    writable = ("/etc/a", "/home/a", "/usr/share/a", "/var/lib/a")
    text = render(steps(label), start_of(PLAIN), needs=Needs(writable=writable))
    assert lines(text, "ReadWritePaths") == [f"ReadWritePaths=-{path}" for path in excepted.split()]


def test_a_path_is_taken_literally() -> None:
    text = render(steps("ProtectSystem=strict"), start_of(PLAIN), needs=Needs(writable=('/a%b "c"\\d',)))
    assert lines(text, "ReadWritePaths") == ['ReadWritePaths="-/a%%b \\"c\\"\\\\d"']


@pytest.mark.parametrize("path", ["relative", "/a\n[Install]"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(UnitError, match="absolute path"):
        render(steps("ProtectSystem=strict"), start_of(PLAIN), needs=Needs(writable=(path,)))


@pytest.mark.parametrize(
    "label",
    ["Nonsense=yes", "ProtectSystem=typo", "MemoryMax=1G", "SystemCallFilter -@typo", "CapabilityBoundingSet -CAP_X"],
)
def test_what_is_not_known_is_refused(label: str) -> None:
    with pytest.raises(UnitError):
        render(steps(label), start_of(PLAIN))


def test_a_comment_cannot_become_a_setting() -> None:
    text = render(steps("PrivateTmp=yes"), start_of(PLAIN), comments={"PrivateTmp": ["a\nUser=root"]}, header=["b\n"])
    assert text == "# b\n[Service]\n# a\n# User=root\nPrivateTmp=yes\n"


def test_a_directive_left_alone_is_not_undone(hardened: UnitFile) -> None:
    start = Start.of(hardened, StartKind.STRIPPED, leave_alone=["ProtectClock"])
    assert not lines(render([], start), "ProtectClock")


@given(st.data(), st.sampled_from(StartKind))
def test_every_drop_in_reads_back_and_uses_known_names_only(data: st.DataObject, kind: StartKind) -> None:
    start = start_of(DENY, kind)
    text = render(accepted_subset(data, start), start)
    read = parse(text)
    assert set(read.sections()) <= {"Service"}
    assert all(load().get(a.key) for a in read.assignments)


def test_the_real_systemd_accepts_the_tightest_drop_in_and_the_full_unit(analyze, hardened: UnitFile) -> None:
    start = Start.of(hardened, StartKind.STRIPPED)
    base = strip_sandboxing(hardened, start.stripped_names())
    text = render(every_step(start), start, needs=Needs(writable=("/var/lib/100% mine",)))
    assert analyze.complaints(base.dump(), text) == []
    assert analyze.complaints(full_unit(base, text)) == []
    assert analyze.exposure(full_unit(base, text)) == analyze.exposure(base.dump(), text)


def test_each_single_step_is_accepted_and_never_raises_the_exposure(analyze) -> None:
    loosest = analyze.exposure(PLAIN)
    start = start_of(PLAIN)
    for offer in offers(load(), version=VERSION, start=start):
        text = render({offer.tightening, *offer.requires}, start)
        assert analyze.complaints(PLAIN, text) == [], offer.tightening.label
        assert analyze.exposure(PLAIN, text) <= loosest


def test_all_steps_together_make_a_plain_unit_safe(analyze) -> None:
    start = start_of(PLAIN)
    assert analyze.exposure(PLAIN) > 9
    assert analyze.exposure(PLAIN, render(every_step(start), start)) < 1


def test_undoing_a_hardened_unit_gives_the_rows_of_the_stripped_one(analyze, hardened: UnitFile) -> None:
    start = Start.of(hardened, StartKind.STRIPPED)
    undo = render([], start)
    base = strip_sandboxing(hardened, start.stripped_names()).dump()
    assert analyze.complaints(hardened.dump(), undo) == []
    assert analyze.rows_json(hardened.dump(), undo) == analyze.rows_json(base)
    assert analyze.exposure(hardened.dump(), undo) > analyze.exposure(hardened.dump()) + 5


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_drop_in_does_the_same_to_the_shipped_and_to_the_stripped_unit(analyze, hardened, data) -> None:
    start = Start.of(hardened, StartKind.STRIPPED)
    text = render(accepted_subset(data, start), start)
    base = strip_sandboxing(hardened, start.stripped_names())
    rows = analyze.rows_json(hardened.dump(), text)
    assert rows == analyze.rows_json(base.dump(), text)
    assert rows == analyze.rows_json(full_unit(base, text))
    assert rows == analyze.rows_json(full_unit(hardened, text))


def in_force(unit: UnitFile, text: str, directive: Directive) -> list[str]:
    """What a list of the unit holds with a drop-in: an empty value takes all before it away."""
    both = (*unit.assignments, *parse(text).assignments)
    values = [line.value for line in both if line.section == "Service" and line.key in directive.keys]
    reset = max((place for place, value in enumerate(values) if not value), default=-1)
    return values[reset + 1 :]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_lists_of_the_shipped_unit_are_not_added_to(hardened, data) -> None:
    """A line that stays would open what a tightening denies, and its proof would be worth nothing."""
    start = Start.of(hardened, StartKind.STRIPPED)
    base = strip_sandboxing(hardened, start.stripped_names())
    needs = Needs(writable=("/var/lib/thing", "/srv"), executable=("/usr/bin", "/usr/lib"), apart=("/tmp",))
    text = render(accepted_subset(data, start, needs), start, needs=needs)
    for directive in load():
        if directive.kind in {Kind.PATHS, Kind.LIST}:
            assert in_force(hardened, text, directive) == in_force(base, text, directive), directive.name
