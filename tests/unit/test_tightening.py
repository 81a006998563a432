import pytest

from harness.errors import UnitError
from harness.unit.catalogue import load
from harness.unit.dropin import render
from harness.unit.needs import Emptied, Needs
from harness.unit.tightening import Offer, Start, StartKind, Tightening, left_out, offers
from harness.unit.unitfile import UnitFile, parse

PRIVILEGED = Tightening("SystemCallFilter", items=("@privileged",))
ALLOW = Tightening("SystemCallFilter", "@system-service")


UNSCORED = ["-@aio", "-@keyring", "-@memlock", "-@timer"]


NEEDS = Needs(
    peers=("10.0.0.1",),
    writable=("/etc/thing", "/run", "/tmp", "/usr/share/thing", "/var/lib/thing one"),
    hidden=("/boot", "/srv"),
    emptied=(Emptied("/var/lib", ("/var/lib/dpkg",), ("/var/lib/thing one",)),),
    read_only=("/dev/shm", "/run"),
    executable=("/usr/bin", "/usr/lib", "/usr/sbin"),
    own_programs=("/usr/sbin/thing",),
    programs=("/usr/bin/head",),
    devices=(("/dev/fuse", "rw"), ("/dev/null", "rw"), ("/dev/urandom", "rw"), ("/dev/zero", "r")),
    ports=("tcp:80",),
)
OWN = "SupplementaryGroups=ssl-cert\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"


def start_of(text: str, leave_alone: tuple[str, ...]) -> Start:
    unit = parse(f"[Service]\nExecStart=/bin/true\n{text}")
    return Start.of(unit, StartKind.SHIPPED, leave_alone=leave_alone)


def offered(
    text: str = "", *, version: int = 252, leave_alone: tuple[str, ...] = (), needs: Needs | None = None
) -> dict[str, Offer]:
    start = start_of(text, leave_alone)
    found = offers(load(), version=version, start=start, needs=needs or Needs())
    return {offer.tightening.label: offer for offer in found}


def reasons(text: str = "", *, version: int = 252, leave_alone: tuple[str, ...] = ()) -> dict[str, str]:
    start = start_of(text, leave_alone)
    return {row.directive: row.reason for row in left_out(load(), version=version, start=start)}


def labels(keys) -> set[str]:
    return {key.label for key in keys}


def only(name: str, found: dict[str, Offer]) -> list[str]:
    return [label for label, offer in found.items() if offer.tightening.directive == name]


def test_a_capability_is_given_no_more_before_it_is_taken_for_good():
    """A capability that is ambient and not in the bounding set ends in 218/CAPABILITIES."""
    bind = "CapabilityBoundingSet -CAP_NET_BIND_SERVICE"
    given = offered(OWN)
    assert "AmbientCapabilities -CAP_NET_BIND_SERVICE" in labels(given[bind].requires)
    assert labels(given[bind].requires) <= given.keys()
    assert not labels(given["CapabilityBoundingSet -CAP_CHOWN"].requires)
    lower = offered(OWN.replace("CAP_NET_BIND_SERVICE", "cap_net_bind_service"))[bind]
    assert "AmbientCapabilities -cap_net_bind_service" in labels(lower.requires)
    assert not labels(offered()[bind].requires)
    assert not labels(offered(OWN, leave_alone=("AmbientCapabilities",))[bind].requires)


@pytest.mark.parametrize(
    ("tightening", "label"),
    [
        (Tightening("ProtectSystem", "strict"), "ProtectSystem=strict"),
        (Tightening("IPAddressDeny", "any but localhost"), "IPAddressDeny=any but localhost"),
        (
            Tightening("CapabilityBoundingSet", items=("CAP_CHOWN", "CAP_FOWNER")),
            "CapabilityBoundingSet -CAP_CHOWN -CAP_FOWNER",
        ),
        (ALLOW, "SystemCallFilter=@system-service"),
        (Tightening("SystemCallFilter", items=("@raw-io",)), "SystemCallFilter -@raw-io"),
    ],
)
def test_a_label_reads_well_and_reads_back(tightening: Tightening, label: str) -> None:
    assert tightening.label == label
    assert Tightening.from_label(label) == tightening
    assert Tightening.from_json(tightening.to_json()) == tightening


def test_text_that_is_no_label_is_refused() -> None:
    with pytest.raises(UnitError, match="not a tightening"):
        Tightening.from_label("ProtectSystem")


@pytest.mark.parametrize("version", [252, 257, 262])
def test_each_offer_stands_after_all_it_requires_and_is_offered_once(version: int) -> None:
    seen: dict[Tightening, Offer] = {}
    found = {offer.tightening for offer in offered(version=version).values()}
    for offer in offered(version=version).values():
        assert offer.requires <= found
        for needed in offer.requires & seen.keys():
            assert seen[needed].requires <= offer.requires
        seen[offer.tightening] = offer
        assert offer.weight >= 0
        assert 0 < offer.risk < 1
    assert len(seen) == len(offered(version=version))


def test_a_plain_unit_is_offered_every_searched_directive_of_its_version() -> None:
    found = offered(f"User=x\n{OWN}", version=262, needs=NEEDS)
    names = {offer.tightening.directive for offer in found.values()}
    # KeyringMode=private is what a system service has anyway.
    assert names == {d.name for d in load() if d.searched} - {"KeyringMode"}


def test_points_of_a_ladder_add_up_whatever_rungs_the_version_has() -> None:
    for version in (252, 258):
        steps = [o for o in offered(version=version).values() if o.tightening.directive == "PrivateUsers"]
        assert sum(step.weight for step in steps) == 1000
        alive = 1.0
        for step in steps:
            alive *= 1 - step.risk
        assert alive == pytest.approx(1 - load()["PrivateUsers"].rung("yes").risk, abs=1e-3)


def test_rungs_and_directives_newer_than_the_systemd_are_left_out() -> None:
    assert only("ProtectHostname", offered()) == ["ProtectHostname=yes"]
    assert only("ProtectHostname", offered(version=258)) == ["ProtectHostname=private", "ProtectHostname=yes"]
    assert reasons()["PrivatePIDs"] == "needs systemd 257"
    assert reasons()["ProtectHostname"] == "private: needs systemd 258"


def test_every_directive_is_offered_or_left_out_with_a_reason(hardened: UnitFile) -> None:
    for kind in StartKind:
        start = Start.of(hardened, kind)
        found = {o.tightening.directive for o in offers(load(), version=252, start=start)}
        rest = left_out(load(), version=252, start=start)
        assert found | {row.directive for row in rest} == {d.name for d in load()}
        assert all(row.reason for row in rest)


def test_a_stripped_start_offers_what_a_plain_unit_is_offered(hardened: UnitFile) -> None:
    start = Start.of(hardened, StartKind.STRIPPED)
    own = "".join(
        f"{key}={value}\n" for key in ("AmbientCapabilities", "SupplementaryGroups") for value in start.lines(key)
    )
    expected = set(offered(f"User=daemon\n{own}"))
    assert {o.tightening.label for o in offers(load(), version=252, start=start)} == expected


def test_what_is_left_alone_is_not_offered() -> None:
    assert not only("PrivateTmp", offered(leave_alone=("PrivateTmp",)))
    assert reasons(leave_alone=("PrivateTmp",))["PrivateTmp"] == "left alone as asked"


def test_steps_that_need_a_user_or_a_type_depend_on_the_unit() -> None:
    assert not only("RemoveIPC", offered("User=root"))
    assert only("RemoveIPC", offered("User=redis"))
    assert not only("PrivatePIDs", offered("Type=forking", version=257))
    assert reasons("Type=forking", version=257)["PrivatePIDs"] == "not possible with Type=forking"


def test_a_shipped_ladder_is_climbed_from_its_own_rung() -> None:
    found = offered("ProtectSystem=full")
    assert only("ProtectSystem", found) == ["ProtectSystem=strict"]
    assert found["ProtectSystem=strict"].weight == 300
    assert labels(found["ProtectSystem=strict"].requires) == {"PrivateMounts=yes"}


def test_a_umask_is_never_tightened_to_0177() -> None:
    assert only("UMask", offered()) == ["UMask=0027", "UMask=0077"]


def test_a_shipped_set_is_offered_only_what_it_still_keeps() -> None:
    labels = only("CapabilityBoundingSet", offered("CapabilityBoundingSet=CAP_CHOWN CAP_SETUID\n"))
    assert labels == ["CapabilityBoundingSet -CAP_CHOWN", "CapabilityBoundingSet -CAP_SETUID"]
    labels = only("RestrictAddressFamilies", offered("RestrictAddressFamilies=AF_UNIX AF_BLUETOOTH"))
    assert labels == ["RestrictAddressFamilies -AF_BLUETOOTH", "RestrictAddressFamilies -AF_UNIX"]


def test_a_misspelt_capability_leaves_the_set_alone_with_a_reason() -> None:
    text = "CapabilityBoundingSet=CAP_TYPO"
    assert not only("CapabilityBoundingSet", offered(text))
    assert "CAP_TYPO" in reasons(text)["CapabilityBoundingSet"]


def test_the_allow_list_comes_after_nine_denials_and_before_what_is_cut_out_of_it() -> None:
    found = offered()
    assert len(found[ALLOW.label].requires) == 9
    assert found[PRIVILEGED.label].requires == found[ALLOW.label].requires | {ALLOW}


@pytest.mark.parametrize(
    ("own", "labels"),
    [
        ("@system-service", ["-@privileged", "-@resources", *UNSCORED]),
        ("@system-service\nSystemCallFilter=~@resources", ["-@privileged", *UNSCORED]),
        ("@system-service @mount", ["-@mount", "-@privileged", "-@resources", *UNSCORED]),
        ("read write openat", []),
    ],
)
def test_a_shipped_allow_list_is_kept_and_only_denied_from(own: str, labels: list[str]) -> None:
    found = only("SystemCallFilter", offered(f"SystemCallFilter={own}\n"))
    assert found == [f"SystemCallFilter {label}" for label in labels]


def test_a_shipped_deny_list_is_offered_the_groups_it_lacks_and_the_allow_list() -> None:
    found = offered("SystemCallFilter=~@clock @swap:EPERM kexec_load\n")
    assert "SystemCallFilter -@clock" not in found
    assert "SystemCallFilter -@swap" not in found
    assert len(found[ALLOW.label].requires) == 7


GROUPS = {
    "@system-service": ["chown", "nice", "read", "setuid"],
    "@privileged": ["chown", "reboot", "setuid"],
    "@resources": ["nice"],
}


def filters(groups: dict[str, list[str]]) -> dict[str, Offer]:
    start = Start.of(parse("[Service]\nExecStart=/bin/true\n"), StartKind.STRIPPED, groups=groups)
    found = offers(load(), version=252, start=start)
    return {o.tightening.label: o for o in found if o.tightening.directive == "SystemCallFilter"}


def test_calls_that_the_allow_list_lets_through_are_offered_one_by_one() -> None:
    found = filters(GROUPS)
    calls = ("chown", "nice", "setuid")
    assert {label for label in found if not label.startswith("SystemCallFilter -@")} == {
        "SystemCallFilter=@system-service",
        *(f"SystemCallFilter -{call}" for call in calls),
    }
    assert all(ALLOW in found[f"SystemCallFilter -{call}"].requires for call in calls)


def test_an_allow_list_is_offered_the_groups_that_are_in_a_group_it_names() -> None:
    groups = {**GROUPS, "@clock": ["settimeofday"], "@raw-io": ["iopl"], "@reboot": ["reboot"]}
    groups["@privileged"] = [*GROUPS["@privileged"], *groups["@clock"]]

    def denied(own: str) -> set[str]:
        unit = parse(f"[Service]\nExecStart=/bin/true\nSystemCallFilter={own}\n")
        start = Start.of(unit, StartKind.SHIPPED, groups=groups)
        found = (offer.tightening for offer in offers(load(), version=252, start=start))
        return {item for step in found if step.directive == "SystemCallFilter" for item in step.items}

    assert denied("@system-service @privileged") - denied("@system-service") == {"@clock", "@reboot"}
    assert "@clock" in denied("read settimeofday")
    assert "@raw-io" not in denied("@system-service @privileged")


def test_shares_of_a_group_add_up_to_the_risk_of_the_group() -> None:
    found = filters(GROUPS)
    works = (1 - found["SystemCallFilter -chown"].risk) * (1 - found["SystemCallFilter -setuid"].risk)
    assert works == pytest.approx(1 - filters({})[PRIVILEGED.label].risk, abs=0.001)


def test_a_group_denied_call_by_call_is_written_by_its_name() -> None:
    start = Start.of(parse("[Service]\nExecStart=/bin/true\n"), StartKind.STRIPPED, groups=GROUPS)
    calls = [Tightening("SystemCallFilter", items=(call,)) for call in ("chown", "setuid", "nice")]
    text = render([ALLOW, *calls], start)
    assert "SystemCallFilter=~@privileged @resources\n" in text
    assert "SystemCallFilter=~@resources chown\n" in render([ALLOW, calls[0], calls[2]], start)


def test_one_refusal_speaks_for_all_that_bring_it_with_them() -> None:
    found = offered("User=x")
    assert "NoNewPrivileges=yes" in labels(found["LockPersonality=yes"].requires)
    assert "PrivateMounts=yes" in labels(found["ProtectHome=read-only"].requires)
    assert "NoNewPrivileges=yes" not in labels(offered("User=root")["LockPersonality=yes"].requires)
    assert "NoNewPrivileges=yes" not in labels(offered("User=x", version=257)["LockPersonality=yes"].requires)


@pytest.mark.parametrize(
    ("label", "required"),
    [
        ("ReadWritePaths -/usr/share/thing", "ProtectSystem=yes"),
        ("ReadWritePaths -/etc/thing", "ProtectSystem=full"),
        (r"ReadWritePaths -/var/lib/thing\x20one", "ProtectSystem=strict"),
        ("ReadOnlyPaths -/run", "ProtectSystem=strict"),
        ("ExecPaths -/usr/bin", "NoExecPaths -/"),
        ("ExecPaths -/usr/bin/head", "ExecPaths -/usr/bin"),
        ("DeviceAllow -/dev/fuse", "DevicePolicy=closed"),
        ("DeviceAllow -/dev/zero", "DevicePolicy=strict"),
    ],
)
def test_an_exception_is_closed_only_where_it_means_something(label: str, required: str) -> None:
    found = offered("User=x", needs=NEEDS)
    assert required in labels(found[label].requires)
    assert label not in offered("User=x", needs=NEEDS, leave_alone=(Tightening.from_label(required).directive,))


def test_what_no_trial_here_could_show_is_not_offered() -> None:
    found = offered("User=x", needs=NEEDS)
    assert "ReadWritePaths -/run" not in found  # left writable by mistake in 252
    assert "ExecPaths -/usr/lib" not in found  # the loader
    assert "DeviceAllow -/dev/null" not in found  # systemd's own standard input
    assert "IPAddressDeny=any but localhost and peers" in found
    assert "IPAddressDeny=any but localhost and peers" not in offered("User=x")


def rendered(*given: str) -> list[str]:
    start = Start.of(parse(f"[Service]\nExecStart=/bin/true\n{OWN}"), StartKind.STRIPPED)
    return render([Tightening.from_label(label) for label in given], start, needs=NEEDS).splitlines()


def test_what_is_left_of_a_list_stands_with_what_it_is_excepted_from() -> None:
    strict = rendered("ProtectSystem=strict", "ReadWritePaths -/etc/thing")
    assert [line for line in strict if line.startswith("ReadWritePaths")] == [
        "ReadWritePaths=-/run",
        "ReadWritePaths=-/tmp",
        "ReadWritePaths=-/usr/share/thing",
        'ReadWritePaths="-/var/lib/thing one"',
    ]
    assert "ReadWritePaths=-/tmp" not in rendered("ProtectSystem=strict", "PrivateTmp=yes")
    assert {"NoExecPaths=-/", "BindReadOnlyPaths=-/usr/bin", "BindReadOnlyPaths=-/usr/lib"} <= set(
        rendered("NoExecPaths -/")
    )
    one_by_one = rendered("NoExecPaths -/", "ExecPaths -/usr/bin", "ExecPaths -/usr/sbin")
    assert [line for line in one_by_one if line.startswith("BindReadOnlyPaths")] == [
        "BindReadOnlyPaths=-/usr/lib",
        "BindReadOnlyPaths=-/usr/sbin/thing",
        "BindReadOnlyPaths=-/usr/bin/head",
    ]
    assert "DeviceAllow=/dev/fuse rw" in rendered("DevicePolicy=closed")
    random = {"DeviceAllow=/dev/random r", "DeviceAllow=/dev/urandom rw"}  # never taken away
    assert {"DeviceAllow=/dev/null rw", *random} <= set(rendered("DevicePolicy=strict", "DeviceAllow -/dev/zero"))
    assert "DeviceAllow -/dev/urandom" not in offered("User=x", needs=NEEDS)
    only_read = render(
        [Tightening("DevicePolicy", "strict")], start_of("", ()), needs=Needs(devices=(("/dev/null", "r"),))
    )
    assert "DeviceAllow=/dev/null rw" in only_read.splitlines()


def test_an_emptied_directory_shows_what_is_used_and_lets_no_more_be_written() -> None:
    assert {
        "TemporaryFileSystem=/var/lib:ro",
        "BindReadOnlyPaths=-/var/lib/dpkg",
        'BindPaths="-/var/lib/thing one"',
    } <= set(rendered("TemporaryFileSystem -/var/lib"))
    shut = rendered("TemporaryFileSystem -/var/lib", "ProtectSystem=strict", r"ReadWritePaths -/var/lib/thing\x20one")
    assert 'BindReadOnlyPaths="-/var/lib/thing one"' in shut


def test_groups_and_capabilities_of_the_unit_itself_are_dropped_one_by_one() -> None:
    assert "SupplementaryGroups=" in rendered("SupplementaryGroups -ssl-cert")
    assert "AmbientCapabilities=" in rendered("AmbientCapabilities -CAP_NET_BIND_SERVICE")


BEYOND = {**GROUPS, "@reboot": ["kexec_load", "reboot"]}


def test_what_the_allow_list_lacks_is_allowed_beside_it_and_denied_before_its_group() -> None:
    start = Start.of(parse("[Service]\nExecStart=/bin/true\n"), StartKind.STRIPPED, groups=BEYOND)
    needs = Needs(calls=("pkey_alloc", "reboot"))
    found = {o.tightening.label: o for o in offers(load(), version=252, start=start, needs=needs)}
    single, group = (
        Tightening("SystemCallFilter", items=("reboot",)),
        Tightening("SystemCallFilter", items=("@reboot",)),
    )
    assert found[group.label].requires == {single}
    assert not {single, group} & found[ALLOW.label].requires
    assert "SystemCallFilter=@system-service pkey_alloc reboot" in render([ALLOW], start, needs=needs).splitlines()
    assert "SystemCallFilter=@system-service pkey_alloc" in render([ALLOW, single], start, needs=needs).splitlines()
    assert "SystemCallFilter=~reboot" in render([single], start, needs=needs).splitlines()
    assert "SystemCallFilter=~@reboot" in render([single, group], start, needs=needs).splitlines()


def test_a_call_that_is_refused_anyway_is_answered_with_an_error_before_it_kills() -> None:
    start = Start.of(parse("[Service]\nExecStart=/bin/true\n"), StartKind.STRIPPED, groups=BEYOND)
    needs = Needs(calls=("reboot",), refused=("chown", "open", "reboot"))
    found = {o.tightening.label: o for o in offers(load(), version=252, start=start, needs=needs)}
    # Not open: no group that is ever denied has it.
    assert [label for label in found if ":EPERM" in label] == [
        "SystemCallFilter -chown:EPERM",
        "SystemCallFilter -reboot:EPERM",
    ]
    chown, reboot = (found[f"SystemCallFilter -{call}:EPERM"].tightening for call in ("chown", "reboot"))
    assert found["SystemCallFilter -chown"].requires > {chown, ALLOW}
    assert found["SystemCallFilter -reboot"].requires == {reboot}
    assert found["SystemCallFilter -@reboot"].requires == {reboot}
    kills = [found[f"SystemCallFilter -{item}"].tightening for item in ("chown", "reboot", "@reboot")]

    def filters(*steps: Tightening) -> list[str]:
        return [line for line in render(steps, start, needs=needs).splitlines() if "SystemCallFilter" in line][1:]

    assert filters(chown, reboot) == ["SystemCallFilter=~chown:EPERM reboot:EPERM"]
    assert filters(reboot, kills[2]) == ["SystemCallFilter=~@reboot", "SystemCallFilter=~reboot:EPERM"]
    assert filters(ALLOW, chown) == ["SystemCallFilter=@system-service reboot", "SystemCallFilter=~chown:EPERM"]
    assert filters(ALLOW, chown, reboot, *kills[1:]) == [
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~chown:EPERM",
    ]
    assert filters(ALLOW, chown, reboot, *kills) == ["SystemCallFilter=@system-service", "SystemCallFilter=~chown"]


def test_beside_a_filter_of_the_unit_no_error_is_offered() -> None:
    unit = parse("[Service]\nExecStart=/bin/true\nSystemCallFilter=~@reboot\n")
    start = Start.of(unit, StartKind.SHIPPED, groups=BEYOND)
    found = offers(load(), version=252, start=start, needs=Needs(refused=("chown",)))
    assert [o for o in found if ":EPERM" in o.tightening.label] == []


def test_a_group_is_not_denied_by_name_when_a_call_of_it_is_spared() -> None:
    start = Start.of(parse("[Service]\nExecStart=/bin/true\n"), StartKind.STRIPPED, groups=BEYOND)
    cut = [Tightening("SystemCallFilter", items=(call,)) for call in ("chown", "setuid")]
    lines = render([ALLOW, *cut], start, needs=Needs(calls=("reboot",))).splitlines()
    assert "SystemCallFilter=~chown setuid" in lines
    assert "SystemCallFilter=~@privileged" in render([ALLOW, *cut], start).splitlines()


def test_what_the_unit_asks_for_and_no_machine_has_is_left() -> None:
    groups = {"@clock": ["adjtimex", "settimeofday"], "@module": ["init_module"], "@system-service": ["read"]}
    start = Start.of(parse("[Service]\nExecStart=/bin/x\n"), StartKind.STRIPPED, groups=groups)
    needs = Needs(asked=("CAP_SYS_TIME",))
    found = offers(load(), version=252, start=start, needs=needs)
    named = labels(offer.tightening for offer in found)
    assert {"CapabilityBoundingSet -CAP_SYS_MODULE", "SystemCallFilter -@module"} <= named
    assert not {"ProtectClock=yes", "CapabilityBoundingSet -CAP_SYS_TIME", "SystemCallFilter -@clock"} & named
    reasons = {item.directive: item.reason for item in left_out(load(), version=252, start=start, needs=needs)}
    assert reasons["ProtectClock"] == "the unit asks for CAP_SYS_TIME, which no machine has: nothing can be tried"
    text = render([offer.tightening for offer in found], start, needs=needs).splitlines()
    assert "CapabilityBoundingSet=CAP_SYS_TIME" in text
    assert "SystemCallFilter=@system-service adjtimex settimeofday" in text
