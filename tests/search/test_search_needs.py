"""What candidates must spare, from what was seen: known answers for each kind of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.judge.baseline import Baseline
from harness.observation import OWN_ADDRESS, Observation, Process, Seen
from harness.scenario import Scenario
from harness.search.needs import Tree, Used, asked_of_tree, item_risks, needs_of, own_programs
from harness.search.writable import writable_paths
from harness.unit.catalogue import load
from harness.unit.listed import members, plain
from harness.unit.needs import Emptied, Needs
from harness.unit.start import Start, StartKind
from harness.unit.tightening import Tightening
from harness.unit.unitfile import parse
from tests.judge.facts import observation

UNIT = "[Service]\nExecStart=!/usr/sbin/thing --serve\nExecReload=kill -HUP $MAINPID\nRuntimeDirectory=thing\n"
TREE: Tree = dict.fromkeys(
    (
        "/etc",
        "/etc/thing",
        "/run",
        "/srv",
        "/usr/bin",
        "/usr/lib",
        "/usr/sbin",
        "/var/lib",
        "/var/lib/thing",
        "/var/log",
    ),
    "directory",
) | {"/usr/sbin/thing": "/usr/bin/python3", "/usr/bin/kill": "file", "/usr/bin/head": "file", "/dev/fuse": "file"}
SEEN = Seen(
    calls=(),
    capabilities=None,
    families=("AF_INET",),
    peers=("127.0.0.1", "::1", "::ffff:10.1.2.3", "203.0.113.7"),
    opened=("/etc/thing/conf", "relative", "/usr/lib/libc.so.6"),
    opened_for_writing=("/var/lib/thing/data", "/dev/fuse", "/run/thing/socket"),
    executed=("/usr/bin/head", "/usr/local/bin/head", "/usr/bin/kill"),
    namespaces=(),
    writable_code=False,
)

SCENARIO = Scenario.model_validate(
    {"unit": "thing.service", "steps": [{"name": "it", "run": "true"}], "path": Path("x")}
)


def needs(*written: str, seen: Seen | None = SEEN, text: str = UNIT, has_user: bool = True, tree: Tree = TREE) -> Needs:
    baseline = Baseline.of([replace(observation(), written=written, listening=("tcp 0.0.0.0:80", "udp [::]:40000"))])
    return needs_of(SCENARIO, parse(text), baseline, seen, tree=tree, idle=("/etc/idle",), has_user=has_user)


def test_a_path_becomes_the_directory_of_the_package() -> None:
    there = ["/etc", "/var/lib", "/var/lib/thing", "/etc/one"]
    written = ["/var/lib/thing/a/b", "/etc/one", "/etc/idle", "/proc/1/oom_score_adj", "/tmp/systemd-private-x/tmp/a"]
    assert writable_paths(written, before=["/etc/idle"], existing=there) == ("/etc/one", "/var/lib/thing")


def test_what_companions_had_made_when_the_service_started_is_there() -> None:
    runs = [
        replace(observation(), written=("/var/spool/thing/a",), made_before=made)
        for made in (("/var/spool/thing", "/var/spool/late"), ("/var/spool/thing",))
    ]

    def writable(*observations: Observation) -> tuple[str, ...]:
        baseline = Baseline.of(observations)
        return needs_of(SCENARIO, parse(UNIT), baseline, None, tree=TREE, idle=(), has_user=True).writable

    assert writable(*runs) == ("/var/spool/thing",)
    assert writable(*(replace(run, made_before=()) for run in runs)) == ()


def test_a_log_that_is_moved_away_needs_its_directory() -> None:
    there = ["/var/log", "/var/log/vsftpd.log"]
    assert writable_paths(["/var/log/vsftpd.log"], before=["/etc/idle"], existing=there) == ("/var/log/vsftpd.log",)
    written = ["/var/log/vsftpd.log", "/var/log/vsftpd.log.1"]
    assert writable_paths(written, before=["/etc/idle"], existing=there) == ("/var/log",)


def test_a_file_that_a_new_one_is_renamed_over_is_not_excepted() -> None:
    there = ["/etc", "/etc/one", "/etc/two"]
    assert writable_paths(["/etc/one", "/etc/two"], before=["/etc/idle"], existing=there) == ("/etc/one", "/etc/two")
    assert writable_paths(["/etc/one", "/etc/one.new"], before=["/etc/idle"], existing=there) == ()
    assert writable_paths(["/etc/one", "/etc/idle"], before=["/etc/idle"], existing=there) == ("/etc/one",)


@pytest.mark.parametrize(
    ("path", "excepted"),
    [("/run/new.pid", "/run"), ("/run/thing.d/x", "/run"), ("/tmp/deep/x", "/tmp"), ("/var/tmp/x", "/var/tmp")],
)
def test_where_files_come_and_go_the_whole_is_excepted(path: str, excepted: str) -> None:
    assert writable_paths([path], before=[], existing=["/run", "/tmp", "/tmp/deep"]) == (excepted,)
    # What lies in the whole needs no exception of its own.
    inner = "/run/own/x" if excepted == "/run" else path
    assert writable_paths([path, inner], before=[], existing=["/run", "/run/own", "/tmp"]) == (excepted,)


def test_what_the_unit_has_made_for_it_needs_no_exception() -> None:
    assert needs("/var/lib/thing/data").writable == ("/var/lib/thing",)
    declared = needs("/var/lib/thing/data", text=UNIT + "StateDirectory=thing\n")
    assert declared.writable == ()
    assert Emptied("/var/lib", (), ("/var/lib/thing",)) in declared.emptied


def test_a_directory_that_is_not_there_yet_is_made_by_systemd_or_its_parent_is_open() -> None:
    seen = replace(SEEN, opened_for_writing=("/var/lib/fresh/data",))
    assert needs("/var/lib/fresh/data", seen=seen).directories == (("StateDirectory", "fresh"),)
    root = needs("/var/lib/fresh/data", seen=seen, has_user=False)
    assert (root.directories, "/var/lib" in root.writable) == ((), True)
    assert not [place for place in root.emptied if place.path == "/var/lib"]


def test_only_what_something_was_written_in_is_a_directory_for_systemd_to_make() -> None:
    """`StandardOutput=append:/var/log/thing.log` makes a file, of which systemd would make a directory."""
    relative = replace(SEEN, opened_for_writing=("fresh/data",))
    for seen in (relative, None):
        found = needs("/var/log/thing.log", "/var/lib/fresh/data", seen=seen)
        assert (found.directories, found.writable) == ((("StateDirectory", "fresh"),), ("/var/log",))
        assert needs("/var/lib/two words/data", "/var/lib/a:b/data", seen=seen).directories == ()


def test_a_file_that_root_makes_below_a_shared_directory_needs_that_open() -> None:
    seen = replace(SEEN, opened_for_writing=("/var/lib/thing-state",))
    assert needs("/var/lib/thing-state", seen=seen, has_user=False).writable == ("/var/lib",)


def test_specifiers_of_what_the_unit_has_made() -> None:
    text = UNIT.replace("RuntimeDirectory=thing", "RuntimeDirectory=%p-x")
    seen = replace(SEEN, opened_for_writing=("/run/thing-x/pid",))
    assert needs("/run/thing-x/pid", text=text, seen=seen).writable == ()
    assert needs("/run/thing/pid", text=text, seen=seen).writable == ("/run",)


@pytest.mark.parametrize("name", ["two words", "no\xa0break", "a\tb", "wide\u3000", "back\\slash", "a\\x20b", "é"])
def test_odd_names_of_directories_can_be_listed(name: str) -> None:
    path = f"/srv/{name}"
    found = needs(f"{path}/file", tree={**TREE, path: "directory"}, seen=None)
    assert found.writable == (path,)
    (item,) = (item for item in members(load()["ReadWritePaths"], Start(StartKind.SHIPPED), found))
    assert plain(item) == path
    assert Tightening.from_label(f"ReadWritePaths -{item}").items == (item,)


@pytest.mark.parametrize("name", ["two\nlines", "latin\udce9"])
def test_what_no_unit_file_can_name_is_left(name: str) -> None:
    assert needs(f"/srv/{name}/file", tree={**TREE, f"/srv/{name}": "directory"}, seen=None).writable == ()


def test_a_directory_that_a_companion_made_is_not_the_units() -> None:
    assert needs("/var/lib/database/file").directories == ()
    assert "/var/lib" not in needs("/var/lib/database/file", has_user=False).writable
    relative = replace(SEEN, opened_for_writing=("database/file",))
    assert needs("/var/lib/database/file", seen=relative).directories == (("StateDirectory", "database"),)
    assert needs("/var/lib/database/file", seen=None).directories == (("StateDirectory", "database"),)


def test_unused_places_are_hidden_and_little_used_ones_emptied() -> None:
    found = needs("/var/lib/thing/data")
    assert found.hidden == ("/srv", "/var/log")
    assert found.emptied == (Emptied("/var/lib", (), ("/var/lib/thing",)),)
    assert "/run" in found.read_only


def test_a_place_with_a_used_file_in_it_stays_as_it_is() -> None:
    found = needs("/var/lib/thing/data", "/var/log/thing.log", tree={**TREE, "/var/log/thing.log": "file"})
    assert "/var/log" not in found.hidden
    assert "/var/log" not in [place.path for place in found.emptied]


def test_programs_are_those_that_are_there_and_what_runs_them() -> None:
    found = needs()
    assert found.own_programs == ("/usr/sbin/thing", "/usr/bin/kill", "/usr/bin/python3")
    assert found.programs == ("/usr/bin/head",)
    assert found.executable == ("/usr/bin", "/usr/lib", "/usr/sbin")


def test_a_command_line_may_have_prefixes_and_quotes() -> None:
    unit = parse('[Service]\nExecStartPre=-+/bin/a b\nExecStart="/opt/my thing" c\nExecStop=@/bin/d e\nExecStop=\n')
    assert own_programs(unit) == ("/opt/my thing", "/bin/a")


def test_devices_ports_and_peers() -> None:
    found = needs()
    assert found.devices == (("/dev/fuse", "rw"),)
    assert found.ports == ("tcp:80",)
    assert found.peers == ("10.1.2.3", "203.0.113.7")


def test_a_port_that_every_run_has_is_the_services_own() -> None:
    runs = [replace(observation(), listening=("tcp 0.0.0.0:64738", f"udp [::]:{port}")) for port in (40000, 40001)]
    found = needs_of(SCENARIO, parse(UNIT), Baseline.of(runs), SEEN, tree=TREE, idle=(), has_user=True)
    assert (found.ports, found.outward) == (("tcp:64738",), ("tcp 0.0.0.0:64738",))


@pytest.mark.parametrize(
    ("sockets", "outward"),
    [
        (("tcp 127.0.0.1:80", "tcp [::1]:80", "udp 0.0.0.0:40000", "unix"), ()),
        (("tcp [::ffff:127.0.0.1]:80",), ()),
        (("tcp 127.0.0.1:53", f"tcp {OWN_ADDRESS}:53"), ("tcp *:53",)),
        (("tcp 0.0.0.0:80", "tcp [::]:80", "tcp 10.1.2.3:81"), ("tcp 0.0.0.0:80", "tcp 10.1.2.3:81", "tcp [::]:80")),
    ],
)
def test_what_others_can_reach(sockets: tuple[str, ...], outward: tuple[str, ...]) -> None:
    baseline = Baseline.of([replace(observation(), listening=sockets[:1])])
    found = needs_of(SCENARIO, parse(UNIT), baseline, SEEN, tree=TREE, idle=(), has_user=True, listening=sockets)
    assert found.outward == outward


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("[Service]\nCapabilityBoundingSet=~CAP_SYS_TIME\n", ()),
        ("[Service]\nCapabilityBoundingSet=CAP_CHOWN cap_sys_time\n", ("CAP_SYS_TIME",)),
        ("[Service]\nAmbientCapabilities=CAP_SYS_TIME\nAmbientCapabilities=\n", ()),
        ("[Unit]\nConditionCapability=CAP_SYS_TIME\nConditionCapability=\n[Service]\n", ("CAP_SYS_TIME",)),
        ("[Unit]\nConditionCapability=!CAP_SYS_TIME\n[Service]\n", ()),
    ],
)
def test_what_the_unit_asks_for_and_no_machine_has(text: str, asked: tuple[str, ...]) -> None:
    baseline = Baseline.of([observation()])
    withheld = ("CAP_SYS_MODULE", "CAP_SYS_TIME")
    unit = parse(text + UNIT)
    found = needs_of(SCENARIO, unit, baseline, SEEN, tree=TREE, idle=(), has_user=True, withheld=withheld)
    assert found.asked == asked


def test_what_a_wrapper_starts_and_stays_is_the_units_own() -> None:
    process = Process(pid=7, comm="a-very-long-nam", uid=1, gid=1, capabilities=0, seen_at="start", sightings=9)
    baseline = Baseline.of([replace(observation(), processes=(process,))])
    ran = ("/usr/bin/a-very-long-name-of-it", "/usr/bin/head")
    tree = {**TREE, **dict.fromkeys(ran, "file")}
    found = needs_of(SCENARIO, parse(UNIT), baseline, replace(SEEN, executed=ran), tree=tree, idle=(), has_user=True)
    assert "/usr/bin/a-very-long-name-of-it" in found.own_programs
    assert found.programs == ("/usr/bin/head",)
    # A helper of a program that stays itself is a question.
    itself = replace(process, pid=8, comm="thing")
    baseline = Baseline.of([replace(observation(), processes=(process, itself))])
    found = needs_of(SCENARIO, parse(UNIT), baseline, replace(SEEN, executed=ran), tree=tree, idle=(), has_user=True)
    assert "/usr/bin/a-very-long-name-of-it" in found.programs


def test_without_a_tracer_only_what_was_written_is_known() -> None:
    found = needs("/var/lib/thing/data", seen=None)
    assert (found.peers, found.programs, found.devices) == (None, (), ())
    assert found.writable == ("/var/lib/thing",)


def test_what_the_service_was_not_seen_to_write_was_written_by_the_workload() -> None:
    found = needs("/var/lib/thing/data", "/etc/thing/by-hand")
    chances = item_risks(found, Baseline.of([observation()]), SEEN)
    assert chances["ReadWritePaths /etc/thing"] < 0.5
    assert "ReadWritePaths /var/lib/thing" not in chances


def test_a_directory_of_many_programs_that_ran_is_likely_needed() -> None:
    many = replace(SEEN, executed=tuple(f"/usr/bin/{name}" for name in "abcdefg"))
    assert item_risks(needs(seen=many), Baseline.of([observation()]), many)["ExecPaths /usr/bin"] == 0.9
    assert "ExecPaths /usr/bin" not in item_risks(needs(), Baseline.of([observation()]), SEEN)


def test_all_that_is_thought_about_is_asked_of_the_tree() -> None:
    asked = set(asked_of_tree(Used.of(Baseline.of([observation()]), SEEN), parse(UNIT)))
    assert {
        "/usr/sbin/thing",
        "/usr/bin/kill",
        "/usr/bin/head",
        "/dev/fuse",
        "/var/lib/thing",
        "/srv",
        "/usr/bin",
    } <= asked
