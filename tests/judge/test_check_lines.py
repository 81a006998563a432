"""What check reads out of a unit's lines, and what it makes of what the kernel shows. No systemd is asked."""

import json
import struct
from dataclasses import replace

import pytest

from harness.judge import enforced, filters, resources
from harness.judge.check import Check, check
from harness.judge.holding import Hold
from harness.judge.score import GROUPS, total
from harness.judge.settings import read
from harness.mountinfo import Mount
from harness.report.check import to_json
from harness.unit import catalogue
from harness.unit.canary import CanaryResult, Standing
from harness.unit.confined import Confined, Host, Look, Rule, Warned
from harness.unit.unitfile import UnitFile, parse

GROUPS_OF_CALLS = {
    "@default": frozenset({"read", "exit"}),
    "@system-service": frozenset({"read", "exit", "chown", "socket", "nice"}),
    "@privileged": frozenset({"chown", "reboot"}),
    "@reboot": frozenset({"reboot"}),
    "@mount": frozenset({"mount"}),
    "@resources": frozenset({"nice"}),
}
NUMBERS = {name: 1000 + at for at, name in enumerate(sorted(frozenset().union(*GROUPS_OF_CALLS.values())))}
HOST = Host(252, "+SECCOMP -BPF_FRAMEWORK", 2, 4 * 2**30, GROUPS_OF_CALLS, NUMBERS)
RO, RW = frozenset({"ro"}), frozenset({"rw"})
ALL = (1 << 41) - 1


def look(text: str, *drop_ins: str, **facts: object) -> Look:
    parts = [("/etc/systemd/system/a.service", text)]
    parts += [(f"/etc/systemd/system/a.service.d/{at}.conf", drop_in) for at, drop_in in enumerate(drop_ins)]
    lines = [line for path, part in parts for line in parse(f"[Service]\n{part}", source=path).assignments]
    return Look("a.service", UnitFile(tuple(lines)), HOST, **facts)  # type: ignore[arg-type]


def idle(text: str, *drop_ins: str) -> list[tuple[int, str, str]]:
    """Number, directive and words of the lines that do nothing; the section's own line is the first."""
    return [(each.line.line, each.line.key, " ".join(each.words)) for each in check(look(text, *drop_ins)).idle]


def why(text: str, *drop_ins: str) -> str:
    return "; ".join(each.why for each in check(look(text, *drop_ins)).idle)


def contradictions(text: str) -> str:
    return "; ".join(each.what for each in check(look(text)).contradictions)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ProtectSystem=full\nProtectSystem=strict", [(2, "ProtectSystem", "")]),
        ("ReadWritePaths=/a\nReadWritePaths=\nReadWritePaths=/b\nProtectSystem=strict", [(2, "ReadWritePaths", "")]),
        ("ProtectSystem=strict\nReadOnlyPaths=/ /sys", [(3, "ReadOnlyPaths", "/")]),
        ("ProtectSystem=strict\nPrivateTmp=yes\nReadWritePaths=/srv /tmp", [(4, "ReadWritePaths", "/tmp")]),
        ("ProtectSystem=full\nReadWritePaths=/etc /etc/a", [(3, "ReadWritePaths", "/etc")]),
        ("ProtectSystem=strict\nReadWritePaths=/etc", []),
        ("ProtectSystem=strict\nReadOnlyPaths=/tmp", [(3, "ReadOnlyPaths", "/tmp")]),
        ("ProtectSystem=strict\nPrivateTmp=yes\nReadOnlyPaths=/tmp/x", []),
        ("ReadOnlyPaths=/srv\nReadWritePaths=/srv /srv/a", [(3, "ReadWritePaths", "/srv")]),
        ("AmbientCapabilities=", [(2, "AmbientCapabilities", "")]),
        ("PrivateTmp=no", [(2, "PrivateTmp", "")]),
        ("NotifyAccess=all", []),
        ("NotifyAccess=none", [(2, "NotifyAccess", "")]),
        ("IPAddressAllow=localhost", [(2, "IPAddressAllow", "")]),
        ("SystemCallFilter=@system-service\nSystemCallFilter=~reboot", [(3, "SystemCallFilter", "reboot")]),
        ("SystemCallFilter=@system-service\nSystemCallFilter=~reboot:EPERM", []),
        ("SystemCallErrorNumber=EPERM", [(2, "SystemCallErrorNumber", "")]),
        ("RemoveIPC=yes", [(2, "RemoveIPC", "")]),
        ("User=www-data\nRemoveIPC=yes", []),
        ("PrivateMounts=yes\nPrivateTmp=yes", [(2, "PrivateMounts", "")]),
        ("PrivateDevices=yes\nDevicePolicy=closed", [(3, "DevicePolicy", "")]),
        ("DynamicUser=yes\nPrivateTmp=yes\nProtectSystem=full", [(3, "PrivateTmp", ""), (4, "ProtectSystem", "")]),
        ("DynamicUser=yes\nProtectHome=yes", []),
        ("ProtectSystem=strict\nReadWritePaths=/var/lib/b\nReadOnlyPaths=/var/lib/b/conf", []),
        ("ProtectSystem=strict\nStateDirectory=b\nReadOnlyPaths=/var/lib/b/conf", []),
        ("ProtectSystem=strict\nInaccessiblePaths=/srv/%I/a\nReadWritePaths=/srv/%I/b", []),
        ("MemoryMax=64G\nCPUQuota=200%", [(2, "MemoryMax", ""), (3, "CPUQuota", "")]),
        ("MemoryMax=512M\nCPUQuota=80%", []),
        ("ProtectProc=invisible", [(2, "ProtectProc", "")]),
        ("ProtectProc=invisible\nCapabilityBoundingSet=~CAP_SYS_PTRACE", [(2, "ProtectProc", "")]),
        ("ProtectProc=ptraceable\nCapabilityBoundingSet=~CAP_SYS_PTRACE", []),
        ("ProtectProc=ptraceable", [(2, "ProtectProc", "")]),
        ("ProtectProc=invisible\nUser=www-data", []),
        ("PrivatePIDs=yes", [(2, "PrivatePIDs", "")]),
        ("CapabilityBoundingSet=CAP_CHOWN CAP_KIL", [(2, "CapabilityBoundingSet", "CAP_KIL")]),
        (
            "SystemCallFilter=@system-service\nSystemCallFilter=~@mount @reboot @privileged",
            [(3, "SystemCallFilter", "@mount @reboot")],
        ),
        ("SystemCallFilter=~@reboot\nSystemCallFilter=~@privileged", []),
        ("SystemCallFilter=~@privileged\nSystemCallFilter=~@reboot", [(3, "SystemCallFilter", "@reboot")]),
    ],
)  # fmt: skip
def test_lines_that_do_nothing(text, expected):
    assert idle(text) == expected


def test_a_later_drop_in_overrides():
    assert idle("ProtectHome=yes", "ProtectHome=no") == [(2, "ProtectHome", "")]
    assert "a.service.d/0.conf:2" in why("ProtectHome=yes", "ProtectHome=no")


@pytest.mark.parametrize(
    "said",
    [
        "Special user nobody configured, this is not safe!",
        "Support for option User= is deprecated.",
        'Ignoring unknown escape sequences: "no\\body"',
    ],
)
def test_what_systemd_warns_of_and_honours_is_in_force(said):
    warned = (Warned("/etc/systemd/system/a.service", 2, said),)
    found = check(look("User=nobody\nRemoveIPC=yes", warned=warned))
    assert row(found, "User").value == "nobody"
    assert not found.idle


@pytest.mark.parametrize(
    ("text", "confines"),
    [
        ("RestrictNamespaces=false", False),
        ("RestrictNamespaces=no\nRestrictNamespaces=user", False),
        ("RestrictNamespaces=user", True),
        ("RestrictNamespaces=yes", True),
        ("CapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=~", False),
        ("CapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=~\nCapabilityBoundingSet=~CAP_SYS_ADMIN", True),
        ("CapabilityBoundingSet=cap_net_bind_service", True),
    ],
)
def test_sets_confine_when_something_is_left_out(text, confines):
    name = text.partition("=")[0]
    assert read(look(text))[0][name].confines == confines


def test_a_capability_of_all_but_one_is_there_to_be_given():
    own = "CapabilityBoundingSet=CAP_CHOWN\nCapabilityBoundingSet=~\nCapabilityBoundingSet=~CAP_SYS_ADMIN\n"
    assert not contradictions(f"{own}AmbientCapabilities=CAP_NET_BIND_SERVICE\nUser=www-data")
    assert "218" in contradictions(f"{own}AmbientCapabilities=CAP_SYS_ADMIN\nUser=www-data")


def test_following_the_advice_on_a_dynamic_user_costs_no_points():
    lines = ["DynamicUser=yes", "ProtectSystem=strict", "PrivateTmp=yes", "RemoveIPC=yes"]
    points = {total(check(look("\n".join(lines[:count]))).scored) for count in range(1, 5)}
    assert len(points) == 1
    assert not contradictions("DynamicUser=yes\nPrivateTmp=no")
    assert not contradictions("Type=notify\nRestrictAddressFamilies=AF_LOCAL")


def test_a_group_counts_as_denied_only_when_none_of_its_calls_gets_through():
    def points(text: str) -> float:
        (found,) = (each for each in check(look(text)).scored if each.name == "system calls")
        return found.points

    assert points("SystemCallFilter=@system-service @privileged") < points("SystemCallFilter=@system-service")
    assert points("SystemCallFilter=~@privileged") > points("SystemCallFilter=~@reboot")


def test_a_units_own_pressure_file_is_no_tree_of_control_groups():
    at = "/sys/fs/cgroup"
    pressure = f"{at}/system.slice/a.service/memory.pressure"
    trees = [Mount(at, "/", "cgroup2", RO, "0:30"), Mount(pressure, "/a/memory.pressure", "cgroup2", RW, "0:30")]
    assert holds("ProtectControlGroups=yes", process(mounts=tuple(trees))) == {"ProtectControlGroups": Hold.ENFORCED}


def test_what_systemd_ignores_is_not_in_force():
    said = Warned("/etc/systemd/system/a.service", 2, "Failed to parse protect home value, ignoring: yes # x")
    found = check(
        look(
            "ProtectHome=yes # x\nFoo=bar",
            warned=(said, Warned(said.file, 3, "Unknown key 'Foo' in section [Service], ignoring.")),
        )
    )
    assert [each.line.key for each in found.idle] == ["ProtectHome", "Foo"]
    assert "a comment cannot stand behind a value" in found.idle[0].why
    assert row(found, "ProtectHome").value == ""


def test_of_a_list_only_the_words_that_systemd_cannot_read_are_ignored():
    said = Warned("/etc/systemd/system/a.service", 2, "Failed to parse system call, ignoring: opne")
    found = check(look("SystemCallFilter=@system-service opne", warned=(said,)))
    assert [each.words for each in found.idle] == [("opne",)]
    assert row(found, "SystemCallFilter").value == "@system-service opne"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CapabilityBoundingSet=\nAmbientCapabilities=CAP_CHOWN", "218/CAPABILITIES"),
        ("CapabilityBoundingSet=CAP_CHOWN\nAmbientCapabilities=CAP_CHOWN", ""),
        ("ExecStart=/home/app/run\nProtectHome=yes", "ExecStart= needs /home/app/run, and ProtectHome=yes hides /home"),
        ("ExecStart=/home/app/run\nProtectHome=read-only", ""),
        ("ExecStart=/opt/run\nInaccessiblePaths=-/opt", "InaccessiblePaths= hides /opt"),
        ("ProtectSystem=strict\nReadWritePaths=/", "undoes ProtectSystem=strict"),
        ("SystemCallFilter=~@privileged\nSystemCallFilter=@system-service", "denies first and allows again"),
        ("Type=notify\nRestrictAddressFamilies=AF_INET", "AF_UNIX"),
        ("Type=notify\nRestrictAddressFamilies=AF_INET AF_UNIX", ""),
        ("MemoryHigh=2G\nMemoryMax=1G", "MemoryHigh= is above MemoryMax="),
        ("PrivateNetwork=yes\nIPAddressDeny=any\nIPAddressAllow=10.0.0.0/8", "lets nobody else through"),
        ("PrivateNetwork=yes\nIPAddressDeny=any\nIPAddressAllow=localhost", ""),
        ("ExecStart=/bin/sleep 1 # one second", "arguments of the program"),
    ],
)
def test_contradictions(text, expected):
    assert expected in contradictions(text) if expected else contradictions(text) == ""


# -- what the kernel shows


def process(**facts: object) -> Confined:
    plain: dict[str, object] = {
        "pid": 7, "comm": "a", "uid": 0, "effective": ALL, "bounding": ALL, "ambient": 0, "no_new_privileges": False,
        "seccomp": 0, "filters": (), "apart": ("mnt",), "mounts": (Mount("/", "/", "ext4", RW, "8:1"),),
        "real": {path: path for path in ("/", "/usr", "/etc", "/var", "/home", "/root", "/srv")},
    }  # fmt: skip
    return Confined(**{**plain, **facts})  # type: ignore[arg-type]


def row(found: Check, name: str):
    return next(each for each in found.rows if each.name == name)


def holds(text: str, *processes: Confined, **facts: object) -> dict[str, Hold]:
    found = check(look(text, running=bool(processes), processes=processes, **facts))
    return {each.name: each.finding.hold for each in found.rows if each.value}


def test_every_process_counts():
    good, bad = process(no_new_privileges=True), process(pid=8, comm="worker")
    assert holds("NoNewPrivileges=yes", good) == {"NoNewPrivileges": Hold.ENFORCED}
    assert holds("NoNewPrivileges=yes", good, bad) == {"NoNewPrivileges": Hold.ABSENT}
    found = check(look("NoNewPrivileges=yes", running=True, processes=(good, bad)))
    assert "worker (pid 8)" in row(found, "NoNewPrivileges").finding.evidence
    assert [each.name for each in found.not_enforced] == ["NoNewPrivileges"]


@pytest.mark.parametrize(("groups", "idle"), [({0}, ["ProtectProc"]), ({53}, []), ({53, 0}, ["ProtectProc"])])
def test_a_daemon_that_gave_up_the_group_of_root_is_not_exempt(groups, idle):
    text = "ProtectProc=invisible\nCapabilityBoundingSet=~CAP_SYS_PTRACE"
    daemon = process(uid=53, groups=frozenset(groups))
    found = check(look(text, running=True, processes=(daemon,)))
    assert [each.line.key for each in found.idle] == idle


def test_mounts_that_lie_above_count():
    hidden = Mount("/home", "/systemd/inaccessible/dir", "tmpfs", RO, "0:9")
    closed = (Mount("/", "/", "ext4", RO, "8:1"), hidden, replace(hidden, point="/root"))
    text = "ProtectSystem=strict\nProtectHome=yes\nReadWritePaths=/srv\nInaccessiblePaths=/srv"
    assert holds("ProtectSystem=strict\nProtectHome=yes", process(mounts=closed)) == {
        "ProtectSystem": Hold.ENFORCED, "ProtectHome": Hold.ENFORCED,
    }  # fmt: skip
    forgotten = (*closed, Mount("/run", "/", "tmpfs", RW, "0:7"))
    real = {**process().real, "/run": "/run"}
    assert holds("ProtectSystem=strict", process(mounts=forgotten, real=real)) == {"ProtectSystem": Hold.PARTLY}
    opened = (*closed, Mount("/etc", "/etc", "ext4", RW, "8:1"))
    assert holds(text, process(mounts=opened))["ProtectSystem"] is Hold.ABSENT
    assert holds("ProtectSystem=strict\nReadWritePaths=/etc", process(mounts=opened))["ProtectSystem"] is Hold.ENFORCED
    over = (*closed, Mount("/home", "/", "ext4", RW, "8:2"))
    assert holds("ProtectHome=yes", process(mounts=over)) == {"ProtectHome": Hold.ABSENT}


def test_mounts_below_a_noexec_one_are_their_own():
    noexec = frozenset({"rw", "noexec"})
    root, own_tmp = Mount("/", "/", "ext4", noexec, "8:1"), Mount("/tmp", "/p/tmp", "ext4", RW, "8:1")
    real = {path: path for path in ("/", "/usr/bin")}

    def hold(*mounts: Mount) -> dict[str, Hold]:
        return holds("NoExecPaths=/\nExecPaths=/usr/bin", process(mounts=(root, *mounts), real=real))

    assert hold(Mount("/usr/bin", "/usr/bin", "ext4", RW, "8:1"))["NoExecPaths"] is Hold.ENFORCED
    assert hold(own_tmp)["NoExecPaths"] is Hold.PARTLY
    assert hold(replace(own_tmp, options=noexec))["NoExecPaths"] is Hold.ENFORCED
    writable = process(mounts=(root, Mount("/var", "/var", "ext4", RW, "8:1")), real=real)
    assert holds("NoExecPaths=/\nReadWritePaths=/var\nProtectSystem=strict", writable)["NoExecPaths"] is Hold.PARTLY
    # A place that is writable is not spared from NoExecPaths= for it.
    named = "NoExecPaths=/ /var\nReadWritePaths=/var\nProtectSystem=strict"
    assert holds(named, process(mounts=writable.mounts, real={**real, "/var": "/var"}))["NoExecPaths"] is Hold.PARTLY
    # What lies under another mount is not to be reached.
    assert hold(own_tmp, replace(own_tmp, options=noexec, root="/q"))["NoExecPaths"] is Hold.ENFORCED


def test_capabilities_that_are_left():
    assert holds("CapabilityBoundingSet=CAP_CHOWN", process(bounding=1)) == {"CapabilityBoundingSet": Hold.ENFORCED}
    assert holds("CapabilityBoundingSet=", process(bounding=1)) == {"CapabilityBoundingSet": Hold.ABSENT}


def test_who_sees_all_processes_all_the_same():
    mounts = (Mount("/", "/", "ext4", RW, "8:1"), Mount("/proc", "/", "proc", frozenset({"hidepid=invisible"}), "0:5"))
    assert holds("ProtectProc=invisible", process(mounts=mounts)) == {"ProtectProc": Hold.PARTLY}
    assert holds("ProtectProc=invisible", process(mounts=mounts, effective=0)) == {"ProtectProc": Hold.ENFORCED}
    in_group = process(mounts=mounts, effective=0, groups=frozenset({0, 7}))
    assert holds("ProtectProc=invisible", in_group) == {"ProtectProc": Hold.PARTLY}


def test_a_filter_that_was_not_read_is_not_called_enforced():
    text = "LockPersonality=yes"
    assert holds(text, process()) == {"LockPersonality": Hold.ABSENT}
    assert holds(text, process(seccomp=2, filters=None)) == {"LockPersonality": Hold.FILTERED}


def test_limits_and_programs():
    text = "MemoryMax=100M\nCPUQuota=50%\nTasksMax=10\nIPAddressDeny=any\nSocketBindDeny=any"
    control = {"memory.max": str(100 * 2**20), "cpu.max": "50000 100000", "pids.max": "10"}
    enforced = dict.fromkeys(("IPAddressDeny", "MemoryMax", "CPUQuota", "TasksMax"), Hold.ENFORCED)
    programs = frozenset({"sd_fw_ingress", "sd_fw_egress"})
    found = holds(text, process(), control=control, programs=programs)
    # This systemd is built without what SocketBindDeny= needs.
    assert found == {**enforced, "SocketBindDeny": Hold.ABSENT}
    loose = {"memory.max": "max", "cpu.max": "max 100000"}
    found = holds(text, process(), control=loose, programs=frozenset())
    assert set(found.values()) == {Hold.ABSENT}


def test_what_does_not_run_is_not_judged_but_by_canaries():
    vacuous = CanaryResult("MemoryMax", Standing.VACUOUS, "not so under it")
    assert holds("MemoryMax=1G\nTasksMax=9") == {"MemoryMax": Hold.NOT_RUNNING, "TasksMax": Hold.NOT_RUNNING}
    found = check(look("MemoryMax=1G\nTasksMax=9", canaries=(vacuous,)))
    assert [each.name for each in found.not_enforced] == ["MemoryMax"]
    assert [each.line.key for each in found.idle] == ["MemoryMax"]


def test_nearly_every_directive_can_be_seen():
    seen = {*enforced.CHECKS, *resources.CHECKS, *enforced.UNSEEN, *enforced.GRANTS}
    unseen = {directive.name for directive in catalogue.load()} - seen
    assert unseen == {"PrivateBPF", "RootDirectory", "IPIngressFilterPath", "IPEgressFilterPath"}
    assert seen <= {directive.name for directive in catalogue.load()}


# -- filters


def allow(*rules: tuple[int, int, int, int]) -> tuple[Rule, ...]:
    return tuple(Rule(*rule) for rule in rules)


LOAD_NUMBER, RETURN = 0x20, 0x06
ERRNO, KILL, ALLOW = 0x50001, 0x80000000, 0x7FFF0000


def denies(number: int, answer: int = ERRNO) -> tuple[Rule, ...]:
    return allow((LOAD_NUMBER, 0, 0, 0), (0x15, 0, 1, number), (RETURN, 0, 0, answer), (RETURN, 0, 0, ALLOW))


def test_the_strictest_filter_counts():
    assert filters.refused([denies(5), denies(6)], 5, architecture=1) is True
    assert filters.refused([denies(5), denies(6)], 7, architecture=1) is False
    assert filters.refused([denies(5, KILL)], 5, architecture=1) is True
    assert filters.refused([], 5, architecture=1) is False


def test_arguments_and_masks():
    # Refuses when bit 2 of the third argument's lower word is set.
    rules = allow(
        (LOAD_NUMBER, 0, 0, 16 + 2 * 8), (0x54, 0, 0, 4), (0x15, 0, 1, 4), (RETURN, 0, 0, ERRNO), (RETURN, 0, 0, ALLOW)
    )
    assert filters.refused([rules], 9, 0, 0, 7, architecture=1) is True
    assert filters.refused([rules], 9, 0, 0, 3, architecture=1) is False


def test_what_cannot_be_understood_is_not_told():
    assert filters.refused([allow((0xFF, 0, 0, 0))], 5, architecture=1) is None
    assert filters.refused([allow((LOAD_NUMBER, 0, 0, 0))], 5, architecture=1) is None


def test_a_filter_is_enforced_when_all_that_it_denies_is_refused():
    text = "SystemCallFilter=~@privileged"
    both = tuple(denies(NUMBERS[name]) for name in GROUPS_OF_CALLS["@privileged"])
    assert holds(text, process(seccomp=2, filters=both)) == {"SystemCallFilter": Hold.ENFORCED}
    assert holds(text, process(seccomp=2, filters=both[:1])) == {"SystemCallFilter": Hold.ABSENT}


def families(*allowed: int) -> tuple[Rule, ...]:
    """Refuses socket() but for these families."""
    lets = [(0x15, len(allowed) - at, 0, family) for at, family in enumerate(allowed)]
    return allow(
        (LOAD_NUMBER, 0, 0, 0), (0x15, 0, len(lets) + 2, NUMBERS["socket"]), (LOAD_NUMBER, 0, 0, 16), *lets,
        (RETURN, 0, 0, ERRNO), (RETURN, 0, 0, ALLOW),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("let", "hold"),
    [((1, 40), Hold.ENFORCED), ((1,), Hold.ENFORCED), ((1, 40, 38), Hold.ABSENT), ((1, 2), Hold.ABSENT)],
)
def test_a_family_that_is_allowed_by_name_does_not_speak_for_those_that_are_not(let, hold):
    confined = process(seccomp=2, filters=(families(*let),))
    assert holds("RestrictAddressFamilies=AF_UNIX AF_VSOCK", confined) == {"RestrictAddressFamilies": hold}


# -- score and JSON


def test_the_score_has_eight_groups_and_a_hundred_points():
    assert len(GROUPS) == 8
    assert sum(group.weight for group in GROUPS) == 100
    names = [name for group in GROUPS for name in group.shares]
    assert len(set(names)) == len(names)
    assert all(catalogue.load().get(name) is not None for name in names)


def test_what_is_not_enforced_scores_nothing():
    text = "NoNewPrivileges=yes"
    assert (
        check(look(text)).score
        == check(look(text, running=True, processes=(process(no_new_privileges=True),))).score
        == 7
    )
    assert check(look(text, running=True, processes=(process(),))).score == 0
    assert total(check(look("")).scored) == 0


def test_the_tightest_scores_a_hundred():
    text = (
        "PrivateNetwork=yes\nProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\nPrivateDevices=yes\nUser=a\n"
        "NoNewPrivileges=yes\nCapabilityBoundingSet=\nSystemCallFilter=@system-service\n"
        "SystemCallFilter=~@privileged @resources\nSystemCallArchitectures=native\nRestrictNamespaces=yes\n"
        "MemoryDenyWriteExecute=yes\nLockPersonality=yes\nProtectKernelTunables=yes\nProtectKernelModules=yes\n"
        "MemoryMax=1G\nCPUQuota=50%\nTasksMax=5\nLimitNOFILE=50"
    )
    assert check(look(text)).score == 100


def test_json_has_every_directive():
    data = json.loads(to_json(check(look("ProtectSystem=full\nProtectSystem=strict"))))
    assert [each["name"] for each in data["directives"]] == [directive.name for directive in catalogue.load()]
    by_name = {each["name"]: each for each in data["directives"]}
    assert by_name["ProtectSystem"]["value"] == "strict"
    assert by_name["ProtectHome"]["tighter"] == "ProtectHome=read-only or tmpfs or yes"
    assert data["idle"][0]["line"] == 2
    assert data["format"] == 1


def test_the_shape_of_seccomp_data():
    assert struct.calcsize("=iIQ6Q") == 64


@pytest.mark.parametrize(
    ("allow", "points", "tighter"),
    [
        ("", 10, None),
        ("IPAddressAllow=localhost", 8, None),
        ("IPAddressAllow=localhost 10.0.0.5", 5, None),
        ("IPAddressAllow=localhost 10.0.0.0/8", 5, "single addresses in IPAddressAllow= instead of 10.0.0.0/8"),
    ],
)
def test_addresses_that_are_let_through_count_as_systemd_counts_them(allow, points, tighter):
    found = check(look(f"IPAddressDeny=any\n{allow}"))
    assert found.score == points
    assert (row(found, "IPAddressDeny").tighter or None) == tighter


def test_of_a_group_that_is_nearly_denied_the_calls_left_are_named():
    many = frozenset(f"call{number}" for number in range(6))
    groups = {"@default": frozenset(), "@system-service": many, "@resources": many}
    host = replace(HOST, groups=groups)
    text = "SystemCallFilter=@system-service\nSystemCallFilter=~call1 call2 call3 call4"
    assert row(check(replace(look(text), host=host)), "SystemCallFilter").tighter == "~call0 call5"
    assert row(check(replace(look(text.partition("\n")[0]), host=host)), "SystemCallFilter").tighter == "~@resources"
