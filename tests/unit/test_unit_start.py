import pytest

from harness.errors import UnitError
from harness.unit.catalogue import load
from harness.unit.listed import literal_path
from harness.unit.paths import named
from harness.unit.start import NotUnderstood, Start, StartKind, standing
from harness.unit.unitfile import UnitFile, parse


def shipped(text: str) -> Start:
    return Start.of(parse(f"[Service]\nExecStart=/bin/true\n{text}"), StartKind.SHIPPED)


@pytest.mark.parametrize(("own", "is_stripped"), [("0002", False), ("0000", False), ("0027", True), ("odd", True)])
def test_a_mask_that_takes_less_than_the_default_is_no_sandbox(own, is_stripped):
    start = Start.of(parse(f"[Service]\nUMask={own}\n"), StartKind.STRIPPED)
    assert start.strips(load()["UMask"]) is is_stripped


def rung_of(name: str, text: str) -> str:
    return standing(load()[name], shipped(text))[0].value


@pytest.mark.parametrize(
    ("name", "text", "rung"),
    [
        ("ProtectSystem", "", "no"),
        ("ProtectSystem", "ProtectSystem=on", "yes"),
        ("ProtectSystem", "ProtectSystem=full\nProtectSystem=strict", "strict"),
        ("ProtectSystem", "ProtectSystem=full\nProtectSystem=", "full"),
        ("ProtectHome", "ProtectHome=True", "yes"),
        ("PrivateTmp", "PrivateTmp=off", "no"),
        ("KeyringMode", "", "private"),
        ("KeyringMode", "KeyringMode=shared", "shared"),
        ("SystemCallArchitectures", "SystemCallArchitectures=native", "native"),
        ("SystemCallArchitectures", "SystemCallArchitectures=native\nSystemCallArchitectures=", ""),
        ("UMask", "UMask=27", "0027"),
        ("UMask", "UMask=007", "0002"),
        ("IPAddressDeny", "", ""),
        ("IPAddressDeny", "IPAddressDeny=any", "any"),
        ("IPAddressDeny", "IPAddressDeny=0.0.0.0/0 ::/0\nIPAddressAllow=127.0.0.0/8 ::1/128", "any but localhost"),
        ("ProtectSystem", "DynamicUser=yes", "strict"),
        ("ProtectHome", "DynamicUser=yes", "read-only"),
        ("ProtectHome", "DynamicUser=yes\nProtectHome=yes", "yes"),
    ],
)
def test_a_ladder_starts_on_the_rung_of_the_unit(name: str, text: str, rung: str) -> None:
    assert rung_of(name, text) == rung


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ProtectSystem", "ProtectSystem=typo"),
        ("UMask", "UMask=u=rwx"),
        ("IPAddressDeny", "IPAddressDeny=10.0.0.0/8"),
        ("IPAddressDeny", "IPAddressDeny=any\nIPAddressAllow=192.0.2.1"),
        ("SystemCallArchitectures", "SystemCallArchitectures=native x86"),
    ],
)
def test_a_value_off_the_ladder_is_not_guessed_at(name: str, text: str) -> None:
    with pytest.raises(NotUnderstood, match="unit"):
        rung_of(name, text)


def test_a_mask_between_two_rungs_climbs_only_to_masks_that_hold_it() -> None:
    _, above = standing(load()["UMask"], shipped("UMask=0007"))
    assert [rung.value for rung in above] == ["0027", "0077", "0177"]


def test_a_stripped_start_stands_where_the_unit_says_nothing(hardened: UnitFile) -> None:
    start = Start.of(hardened, StartKind.STRIPPED)
    assert standing(load()["ProtectSystem"], start)[0].value == "no"
    assert start.lines("ProtectSystem") == ("strict",)


def test_a_directive_left_alone_is_not_stripped(hardened: UnitFile) -> None:
    start = Start.of(hardened, StartKind.STRIPPED, leave_alone=["ReadWritePaths"])
    assert not {"ReadWritePaths", "ReadWriteDirectories"} & start.stripped_names()
    assert "ProtectSystem" in start.stripped_names()


@pytest.mark.parametrize(
    ("text", "has_user"),
    [
        ("", False),
        ("User=root", False),
        ("User=0", False),
        ("User=redis", True),
        ("DynamicUser=yes", True),
        ("User=redis\nUser=", False),
    ],
)
def test_who_runs_the_service(text: str, has_user: bool) -> None:
    assert shipped(text).has_user is has_user


def test_a_start_survives_json(hardened: UnitFile) -> None:
    start = Start.of(hardened, StartKind.STRIPPED, leave_alone=["UMask"])
    assert Start.from_json(start.to_json()) == start


def test_only_services_have_a_start() -> None:
    with pytest.raises(UnitError, match="Service"):
        Start.of(parse("[Socket]\nListenStream=80\n"), StartKind.SHIPPED)


@pytest.mark.parametrize("path", ["/srv/my data", "/srv/50%new", '/srv/a "b"', "/srv/a\\b", "/srv/plain"])
def test_paths_that_we_write_are_read_as_we_meant_them(path: str) -> None:
    unit = parse(f"[Service]\nInaccessiblePaths={literal_path('/first one')} {literal_path(path)}\n")
    assert named(unit, "a.service") == ("/first one", path)
