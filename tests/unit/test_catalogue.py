import math

import pytest

from harness.errors import UnitError
from harness.unit.catalogue import Directive, Kind, load

NAMES = """
ProtectSystem ProtectHome PrivateTmp PrivateDevices PrivateNetwork PrivateUsers PrivateMounts PrivateIPC PrivatePIDs
PrivateBPF ProtectHostname ProtectClock ProtectKernelTunables ProtectKernelModules ProtectKernelLogs
ProtectControlGroups ProtectProc ProcSubset RestrictAddressFamilies RestrictNamespaces RestrictRealtime
RestrictSUIDSGID LockPersonality MemoryDenyWriteExecute NoNewPrivileges SystemCallFilter SystemCallErrorNumber
SystemCallArchitectures SystemCallLog RestrictFileSystems CapabilityBoundingSet AmbientCapabilities SecureBits User
DynamicUser SupplementaryGroups RemoveIPC KeyringMode UMask ReadOnlyPaths ReadWritePaths InaccessiblePaths NoExecPaths
ExecPaths TemporaryFileSystem BindReadOnlyPaths RootDirectory IPAddressDeny IPAddressAllow SocketBindDeny
SocketBindAllow RestrictNetworkInterfaces DevicePolicy DeviceAllow Delegate NotifyAccess MemoryMax MemoryHigh
MemorySwapMax CPUQuota TasksMax IOWeight OOMPolicy CoredumpFilter LimitNOFILE LimitNPROC LimitCORE LimitMEMLOCK
LimitFSIZE LimitAS
""".split()

every_directive = pytest.mark.parametrize("directive", load().directives, ids=lambda d: d.name)
# Rows of systemd-analyze security that bear another name.
ROW_NAMES = {"DevicePolicy": "DeviceAllow"}
UNSCORED = {
    "PrivateIPC", "PrivatePIDs", "PrivateBPF", "SocketBindDeny", "RestrictNetworkInterfaces",
    "LimitCORE", "LimitMEMLOCK",
}  # fmt: skip


def test_the_seventy_directives_are_there_once() -> None:
    known = [d.name for d in load()]
    assert len(NAMES) == 70
    assert set(NAMES) <= set(known)
    assert len(known) == len(set(known))


@every_directive
def test_rungs_go_from_loose_to_tight(directive: Directive) -> None:
    assert [r.points for r in directive.rungs] == sorted(r.points for r in directive.rungs)
    assert [r.risk for r in directive.rungs] == sorted(r.risk for r in directive.rungs)
    assert len({r.value for r in directive.rungs}) == len(directive.rungs)
    assert all(0 <= r.risk < 1 for r in directive.rungs)


@every_directive
def test_default_and_forced_rung_are_on_the_ladder(directive: Directive) -> None:
    if directive.kind in {Kind.BOOL, Kind.LADDER, Kind.MASK, Kind.ADDRESSES}:
        directive.rung(directive.default)
    if directive.dynamic_user:
        directive.rung(directive.dynamic_user)


@every_directive
def test_what_is_searched_has_steps_and_what_is_not_has_a_reason(directive: Directive) -> None:
    assert directive.searched is not bool(directive.why_not)
    if directive.searched:
        assert directive.bundles or len(directive.rungs) > 1 or 0 < directive.item_risk < 1


@every_directive
def test_bundles_part_the_universe(directive: Directive) -> None:
    items = [item for bundle in directive.bundles for item in bundle.items]
    assert len(items) == len(set(items))
    if directive.kind is Kind.SET:
        # File systems of disks differ between a machine and its host: none of the others is offered.
        spared = {"other"} if directive.name == "RestrictFileSystems" else set()
        assert sorted({*items, *spared}) == sorted(directive.universe)


@every_directive
def test_hints_use_the_spelling_of_the_kernel(directive: Directive) -> None:
    hints = directive.hints
    assert all(name.startswith("E") and name.isupper() for name in hints.errnos)
    assert all(name.startswith("SIG") for name in hints.signals)
    assert all(name.startswith("CAP_") for name in hints.capabilities)
    assert all(path.startswith("/") for path in hints.paths)
    assert all(0 < status < 256 for status in hints.exit_statuses)


def test_an_alias_finds_its_directive() -> None:
    assert load()["ReadWriteDirectories"].name == "ReadWritePaths"
    assert load().get("ExecStart") is None
    with pytest.raises(UnitError, match="ExecStart"):
        load()["ExecStart"]


def test_settings_a_service_runs_on_are_never_stripped() -> None:
    kept = {"User", "DynamicUser", "SupplementaryGroups", "AmbientCapabilities", "Delegate", "NotifyAccess"}
    kept |= {"TasksMax", "OOMPolicy", "LimitNOFILE", "RootDirectory", "KeyringMode"}
    assert kept.isdisjoint(load().stripped_names())


def test_stripping_knows_the_older_names() -> None:
    older = {"ReadOnlyDirectories", "ReadWriteDirectories", "InaccessibleDirectories"}
    assert older | {"IPAddressAllow", "DevicePolicy", "UMask"} <= load().stripped_names()


def test_ladder_points_are_those_of_the_installed_systemd(analyze) -> None:
    base = "[Service]\nExecStart=/bin/true\nUser=nobody\nUMask=0000\nKeyringMode=inherit\n"

    def badness(drop_in: str) -> dict[str, int]:
        rows = analyze.debug_rows(base, drop_in)
        return {r["name"]: math.ceil(r["badness"] * r["weight"] / r["range"]) for r in rows}

    loosest = badness("")
    for directive in load():
        for rung in directive.rungs[1:]:
            scored = directive.name not in UNSCORED and directive.kind in {Kind.BOOL, Kind.LADDER, Kind.MASK}
            if not scored or not directive.searched or rung.version > 252 or directive.name == "PrivateMounts":
                continue
            row = ROW_NAMES.get(directive.name, directive.name) + "="
            got = loosest[row] - badness(f"[Service]\n{directive.name}={rung.value}\n")[row]
            assert got == rung.points, f"{directive.name}={rung.value}"


@pytest.mark.parametrize(
    ("name", "deny_all"),
    [("CapabilityBoundingSet", ""), ("RestrictNamespaces", "yes"), ("RestrictAddressFamilies", "none")],
)
def test_bundle_points_add_up_to_those_of_the_installed_systemd(analyze, name: str, deny_all: str) -> None:
    def badness(drop_in: str) -> int:
        rows = analyze.debug_rows("[Service]\nExecStart=/bin/true\n", drop_in)
        return sum(r["weight"] * r["badness"] for r in rows if r["name"].startswith(f"{name}="))

    got = badness("") - badness(f"[Service]\n{name}={deny_all}\n")
    assert got == sum(bundle.points for bundle in load()[name].bundles)
