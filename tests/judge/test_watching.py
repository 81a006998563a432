"""A cause is named only where the value of a line really refuses the very thing; the relaxation is the smallest."""

import re
from pathlib import Path

import pytest

from harness.judge.cause import Place
from harness.judge.denials import Denials
from harness.judge.novelty import template
from harness.judge.traces import trace
from harness.judge.watching import Report, Seen, Usage, report
from harness.observation import JournalLine
from harness.unit.unitfile import parse
from tests.deploy.provoked import PROVOKED

DIRECTORY = Place(0o755, 0, is_directory=True, read_only=False)
FILE = Place(0o644, 0, is_directory=False, read_only=False)
SECCOMP = (
    "keys was ended by signal 31 for the system call keyctl: audit: type=1326 audit(1:2): auid=0 uid=0 gid=0 ses=1 "
    'subj=kernel pid=7 comm="keys" exe="/keys" sig=31 arch=c000003e syscall=250 compat=0 ip=0x7f code=0x80000000'
)


def unit(**shown: str) -> Denials:
    """A unit that sets just these."""
    text = "[Service]\n" + "".join(f"{name}={value}\n" for name, value in shown.items())
    return Denials(shown, parse(text, source="/etc/x.service"))


def said(*messages: str, manager: bool = False) -> tuple[JournalLine, ...]:
    return tuple(JournalLine(6, "x", 7, message, manager) for message in messages)


def looked(line: str, *, places: dict[str, Place] | None = None, usage: Usage | None = None, **shown: str) -> Report:
    return report(Seen(unit(**shown), said(line), places=places or {}, usage=usage or Usage()))


def only(found: Report) -> tuple[str, tuple[str, ...]]:
    """Directive and relaxation of the first cause of the only finding."""
    (finding,) = found.findings
    return finding.causes[0].directive, finding.causes[0].relaxation


@pytest.mark.parametrize(
    ("line", "shown", "directive", "relaxation"),
    [
        (
            "cannot create /var/lib/x/f: Read-only file system",
            {"ProtectSystem": "strict"},
            "ProtectSystem",
            "ReadWritePaths=/var/lib/x",
        ),
        (
            "cannot create /etc/f: Read-only file system",
            {"ProtectSystem": "full"},
            "ProtectSystem",
            "ProtectSystem=yes",
        ),
        ("open '/srv/a b': Read-only file system", {"ReadOnlyPaths": "/srv"}, "ReadOnlyPaths", "ReadWritePaths=/srv"),
        ("sethostname: Operation not permitted", {"ProtectHostname": "yes"}, "ProtectHostname", "ProtectHostname=no"),
        (
            "setpriority: Operation not permitted",
            {"SystemCallFilter": "read setpriority:EPERM write"},
            "SystemCallFilter",
            "SystemCallFilter=setpriority",
        ),
        (
            "sendto 10.9.8.7: Operation not permitted",
            {"IPAddressDeny": "0.0.0.0/0", "IPAddressAllow": "127.0.0.0/8"},
            "IPAddressDeny",
            "IPAddressAllow=10.9.8.7",
        ),
        (
            "socket AF_INET6: Address family not supported by protocol",
            {"RestrictAddressFamilies": "AF_UNIX AF_INET"},
            "RestrictAddressFamilies",
            "RestrictAddressFamilies=AF_INET6",
        ),
        (
            "chown: Operation not permitted",
            {"CapabilityBoundingSet": "cap_kill"},
            "CapabilityBoundingSet",
            "CapabilityBoundingSet=CAP_CHOWN",
        ),
        (
            "unshare: unshare failed: Operation not permitted",
            {"RestrictNamespaces": "yes"},
            "RestrictNamespaces",
            "RestrictNamespaces=no",
        ),
        ("accept4: Too many open files", {"LimitNOFILE": "100"}, "LimitNOFILE", "LimitNOFILE=126"),
    ],
)
def test_names_the_line_and_the_smallest_relaxation(line, shown, directive, relaxation):
    places = {"/": DIRECTORY, "/var/lib/x": DIRECTORY, "/etc": DIRECTORY, "/srv": DIRECTORY}
    if directive == "ReadOnlyPaths":
        relaxation = "ReadOnlyPaths="  # of two lines for one path the stricter counts
    assert only(looked(line, places=places, **shown)) == (directive, (relaxation,))


@pytest.mark.parametrize(
    ("line", "shown", "places"),
    [
        # Read-only for everybody, and so not by the unit.
        (
            "cannot create /mnt/f: Read-only file system",
            {"ProtectSystem": "strict"},
            {"/mnt": Place(0o755, 0, True, True)},
        ),
        # Writable under these settings: it must have been something else.
        ("cannot create /srv/f: Read-only file system", {"ProtectSystem": "full", "ProtectHome": "read-only"}, {}),
        (
            "cannot create /var/lib/x: Read-only file system",
            {"ProtectSystem": "strict", "ReadWritePaths": "/var/lib"},
            {},
        ),
        # The file's own mode.
        (
            "open '/srv/f': Permission denied",
            {"User": "nobody", "CapabilityBoundingSet": "cap_kill"},
            {"/srv/f": Place(0o600, 0, False, False)},
        ),
        # Allowed by the very directive.
        ("sendto 10.9.8.7: Operation not permitted", {"IPAddressDeny": "any", "IPAddressAllow": "10.0.0.0/8"}, {}),
        (
            "sendto 10.1.2.3: Operation not permitted",
            {"IPAddressDeny": "10.1.2.3/32", "IPAddressAllow": "10.0.0.0/8"},
            {},
        ),
        ("chown: Operation not permitted", {"CapabilityBoundingSet": "cap_chown cap_kill"}, {}),
        ("the operation failed: Permission denied", {"ProtectSystem": "full", "ProtectHome": "yes"}, {}),
        ("socket: Address family not supported by protocol", {"ProtectSystem": "full"}, {}),
    ],
)
def test_does_not_guess(line, shown, places):
    if "any" in shown.values():
        shown = shown | {"IPAddressDeny": "0.0.0.0/0 ::/0"}
    (finding,) = looked(line, places=places, **shown).findings
    assert finding.causes == ()


def test_everyday_answers_are_no_refusals():
    lines = ("stat '/home/x': No such file or directory", "connect 10.9.8.7: Connection timed out", "all is well")
    for line in lines:
        assert looked(line, ProtectSystem="strict", ReadWritePaths="/x").findings == ()


def test_a_hidden_path_counts_only_where_there_is_one():
    there = {"/home": DIRECTORY, "/home/x": FILE}
    assert (
        only(looked("open '/home/x': No such file or directory", places=there, ProtectHome="yes"))[0] == "ProtectHome"
    )
    gone = {"/home": DIRECTORY}
    assert looked("open '/home/x': No such file or directory", places=gone, ProtectHome="yes").findings == ()


def test_the_kernels_line_names_the_call_and_is_held_against_the_filter():
    seen = Seen(unit(SystemCallFilter="~add_key keyctl request_key"), kernel=(SECCOMP,))
    assert only(report(seen)) == ("SystemCallFilter", ("SystemCallFilter=keyctl",))
    ended = said("x.service: Main process exited, code=dumped, status=31/SYS", manager=True)
    (finding,) = report(Seen(unit(SystemCallFilter="~add_key"), ended, kernel=(SECCOMP,))).findings
    assert finding.causes == ()
    assert only(report(Seen(unit(SystemCallFilter="~add_key"), ended))) == ("SystemCallFilter", ())


def test_a_machine_without_memory_is_not_the_units_fault():
    line = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task_memcg=/system.slice/x.service,task=x,pid=7,uid=0"
    (finding,) = report(Seen(unit(MemoryMax="1000"), kernel=(line,))).findings
    assert finding.causes == ()


@pytest.mark.parametrize(
    ("kernel", "peak_bytes", "blamed"),
    [
        ("constraint=CONSTRAINT_NONE,nodemask=(null)", 1000, False),
        ("constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg=/system.slice", 1000, False),
        ("constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg=/system.slice/x.service", None, True),
        ("", 1000, True),
        ("", 500, False),
        ("", None, False),
    ],
)
def test_what_systemd_says_of_a_kill_is_held_against_the_kernels_line_or_the_peak(kernel, peak_bytes, blamed):
    lines = (f"oom-kill:{kernel},task_memcg=/system.slice/x.service,task=x,pid=7,uid=0",) if kernel else ()
    told = said("x.service: A process of this unit has been killed by the OOM killer.", manager=True)
    limited = unit(MemoryMax="1000", ControlGroup="/system.slice/x.service")
    found = report(Seen(limited, told, kernel=lines, usage=Usage(memory_peak_bytes=peak_bytes))).findings
    assert found
    assert any(cause.directive == "MemoryMax" for item in found for cause in item.causes) == blamed


def test_two_lines_that_each_refuse_are_both_named():
    found = looked("sethostname: Operation not permitted", ProtectHostname="yes", CapabilityBoundingSet="cap_kill")
    assert [cause.directive for cause in found.findings[0].causes] == ["ProtectHostname", "CapabilityBoundingSet"]


def test_lines_of_one_shape_are_told_once_and_known_ones_not():
    lines = said(*(f"worker {n}: sethostname: Operation not permitted" for n in range(5)))
    seen = Seen(unit(ProtectHostname="yes"), lines)
    assert [finding.times for finding in report(seen).findings] == [5]
    assert report(seen, known={template("worker 1: sethostname: Operation not permitted")}).findings == ()
    assert report(seen, ignore=["^worker"]).findings == ()


def test_limits_that_run_near_are_said():
    usage = Usage(memory_bytes=95, tasks=3, files_highest=10, pressure_percent={"cpu": 40.0, "io": 1.0})
    near = report(Seen(unit(MemoryMax="100", TasksMax="10", LimitNOFILE="1024"), usage=usage)).near
    assert near == (
        "95% of MemoryMax=100 (/etc/x.service) is in use",
        "cpu: in 40 % of the last five minutes some of its tasks had to wait for it",
    )
    throttled = report(Seen(unit(CPUQuota="10%"), usage=Usage(periods=100, throttled_periods=50)))
    assert only(throttled) == ("CPUQuota", ("CPUQuota=12%",))


STRICT = {"ProtectSystem": "strict", "IPAddressDeny": "0.0.0.0/0 ::/0", "IPAddressAllow": "127.0.0.0/8"}
FEW = STRICT | {"CapabilityBoundingSet": "cap_dac_override", "RestrictAddressFamilies": "AF_UNIX AF_INET"}


@pytest.mark.parametrize(
    ("line", "directive", "relaxation"),
    [
        (
            'open() "/var/log/w/access.log" failed (30: Read-only file system)',
            "ProtectSystem",
            "ReadWritePaths=/var/log/w",
        ),
        (
            "bind() to 0.0.0.0:80 failed (13: Permission denied)",
            "CapabilityBoundingSet",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        ),
        ("setgid(33) failed (1: Operation not permitted)", "CapabilityBoundingSet", "CapabilityBoundingSet=CAP_SETGID"),
        (
            "12:01:02 # Failed opening temp-9.rdb (in server root dir /var/lib/r) for saving: Read-only file system",
            "ProtectSystem",
            "ReadWritePaths=/var/lib/r",
        ),
        (
            "error: can't bind socket: Permission denied for 127.0.0.1 port 53",
            "CapabilityBoundingSet",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        ),
        (
            'chroot("/run/s"): Operation not permitted [preauth]',
            "CapabilityBoundingSet",
            "CapabilityBoundingSet=CAP_SYS_CHROOT",
        ),
        (
            "fatal: setresuid 65534: Operation not permitted",
            "CapabilityBoundingSet",
            "CapabilityBoundingSet=CAP_SETUID",
        ),
        ("Error: EROFS: read-only file system, open '/var/lib/r/x'", "ProtectSystem", "ReadWritePaths=/var/lib/r"),
        (
            "Error: listen EACCES: permission denied 0.0.0.0:80",
            "CapabilityBoundingSet",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        ),
        (
            "java.io.FileNotFoundException: /var/lib/r/x (Read-only file system)",
            "ProtectSystem",
            "ReadWritePaths=/var/lib/r",
        ),
        (
            "listen tcp :80: bind: permission denied",
            "CapabilityBoundingSet",
            "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        ),
        ("dial tcp 10.1.2.3:5432: connect: operation not permitted", "IPAddressDeny", "IPAddressAllow=10.1.2.3"),
        ("dial tcp 10.1.2.3:5432: i/o timeout", "IPAddressDeny", "IPAddressAllow=10.1.2.3"),
        ("dial tcp 127.0.0.1:5432: i/o timeout", "", ""),
        ("socket(): Address family not supported by protocol at 12:34:56", "RestrictAddressFamilies", ""),
        (
            'thread panicked: Os { code: 30, kind: ReadOnlyFilesystem, message: "Read-only file system" }',
            "ProtectSystem",
            "",
        ),
        (
            'could not create lock file "/run/p/.s.5432.lock": Read-only file system',
            "ProtectSystem",
            "ReadWritePaths=/run/p",
        ),
        ("User admin denied access: Permission denied (publickey)", "", ""),
        ("GET /etc/shadow 403 Permission denied", "", ""),
    ],
)
def test_words_of_real_programs(line, directive, relaxation):
    directories = ("/", "/var/log/w", "/var/lib/r", "/run/p", "/run/s", "/etc")
    found = looked(line, places=dict.fromkeys(directories, DIRECTORY) | {"/etc/shadow": FILE}, **FEW).findings
    cause = found[0].causes[0] if found and found[0].causes else None
    assert (cause.directive if cause else "", " ".join(cause.relaxation) if cause else "") == (directive, relaxation)


@pytest.mark.parametrize(
    ("line", "errno", "path"),
    [
        ("bash: /srv/x: Permission denied", "EACCES", "/srv/x"),
        ("/bin/sh: 1: cannot create /etc/x: Read-only file system", "EROFS", "/etc/x"),
        ("PermissionError: [Errno 13] Permission denied: '/var/a b/c'", "EACCES", "/var/a b/c"),
        ("open(/run/x.pid) failed (EROFS)", "EROFS", "/run/x.pid"),
        ("GET /index.html took 3 ms, 10/20 done", "", "/index.html"),
    ],
)
def test_lines_are_read(line, errno, path):
    read = trace(line)
    assert (read.errno, read.path) == (errno, path)


def test_the_page_lists_what_is_provoked():
    page = (Path(__file__).parents[2] / "docs" / "watch.md").read_text().partition("## What was provoked")[2]
    rows = dict(re.findall(r"^\| `?([*A-Za-z, ]+?)=?`? \| ([a-z, -]+) \|$", page, re.MULTILINE))
    listed = {name: directive for directive, names in rows.items() for name in names.split(", ")}
    right = {item.name: item.directive or "*not known*, or nothing" for item in PROVOKED}
    listed.pop("services")
    assert listed == right


@pytest.mark.parametrize(
    ("shown", "relaxation"),
    [
        ({"ProtectSystem": "full"}, "BindReadOnlyPaths=/srv/tool"),
        ({"ProtectSystem": "strict", "BindReadOnlyPaths": "/usr/bin:/usr/bin:rbind"}, "BindReadOnlyPaths=/srv/tool"),
        ({"ProtectSystem": "strict", "ReadWritePaths": "/srv", "NoExecPaths": "/ /srv /tmp"}, "NoExecPaths=/ /tmp"),
        ({"ProtectSystem": "strict", "BindReadOnlyPaths": "/srv/tool:/srv/tool:rbind"}, ""),
        ({"ProtectSystem": "strict", "ReadWritePaths": "/srv"}, ""),
    ],
)
def test_what_may_not_be_executed_is_bound_or_no_longer_closed(shown: dict[str, str], relaxation: str) -> None:
    places = {"/srv/tool": Place(0o755, 0, is_directory=False, read_only=False), "/srv": DIRECTORY}
    found = looked("/srv/tool: Permission denied", places=places, **{"NoExecPaths": "/"} | shown)
    lines = [line for finding in found.findings for cause in finding.causes for line in cause.relaxation]
    assert lines[-1:] == ([relaxation] if relaxation else [])


ANY = "0.0.0.0/0 ::/0"


@pytest.mark.parametrize(
    ("line", "shown", "cause"),
    [
        # A path and the name of a program are no system calls.
        ("could not open '/var/named/chroot/x.pid': Permission denied", {"CapabilityBoundingSet": "cap_kill"}, ()),
        ("syslog-ng: Error setting capabilities: Operation not permitted", {"ProtectKernelLogs": "yes"}, ()),
        # Nobody changes the mode of what belongs to others; only EPERM is what these filters answer with.
        (
            "chmod: changing permissions of '/srv/f': Operation not permitted",
            {"RestrictSUIDSGID": "yes", "CapabilityBoundingSet": "cap_chown"},
            ("CapabilityBoundingSet", "CapabilityBoundingSet=CAP_FOWNER"),
        ),
        (
            "chmod: changing permissions of '/srv/f': Operation not permitted",
            {"RestrictSUIDSGID": "yes"},
            ("RestrictSUIDSGID", "RestrictSUIDSGID=no"),
        ),
        # What is named first may be a file.
        ("/var/log/syslog: Permission denied", {"ProtectKernelLogs": "yes"}, ()),
        ("/sys/fs/bpf: Operation not permitted", {"CapabilityBoundingSet": "cap_kill"}, ()),
        # systemd starts a program by its path.
        (
            "/usr/sbin/php-fpm: mprotect failed: Permission denied",
            {"MemoryDenyWriteExecute": "yes"},
            ("MemoryDenyWriteExecute", "MemoryDenyWriteExecute=no"),
        ),
        (
            "/bin/chown: changing ownership of '/srv/f': Operation not permitted",
            {"CapabilityBoundingSet": "cap_kill"},
            ("CapabilityBoundingSet", "CapabilityBoundingSet=CAP_CHOWN"),
        ),
        # The kernel itself refuses with EACCES.
        (
            "mprotect failed: Permission denied",
            {"MemoryDenyWriteExecute": "yes"},
            ("MemoryDenyWriteExecute", "MemoryDenyWriteExecute=no"),
        ),
        ("hook: executable '/srv/f': Permission denied", {"MemoryDenyWriteExecute": "yes"}, ()),
        # Packets are filtered by their peer, and binding is none.
        ("bind() to 0.0.0.0:80 failed (1: Operation not permitted)", {"IPAddressDeny": ANY}, ()),
        (
            "bind() to 0.0.0.0:80 failed (1: Operation not permitted)",
            {"IPAddressDeny": ANY, "SocketBindDeny": "any"},
            ("SocketBindDeny", "SocketBindAllow=any"),
        ),
        (
            "write udp 10.0.2.15:4123->10.0.2.3:53: write: operation not permitted",
            {"IPAddressDeny": ANY, "IPAddressAllow": "10.0.2.3/32"},
            (),
        ),
        (
            "socket() [::]:80 failed (97: Address family not supported by protocol)",
            {"RestrictAddressFamilies": "AF_INET"},
            ("RestrictAddressFamilies", "RestrictAddressFamilies=AF_INET6"),
        ),
        (
            "socket() [::]:80 failed (97: Address family not supported by protocol)",
            {"RestrictAddressFamilies": "AF_INET AF_INET6"},
            (),
        ),
        ("mkdir /.cache: read-only file system", {"ProtectSystem": "strict"}, ("ProtectSystem", "ProtectSystem=full")),
        # The soft limit is what refuses.
        (
            "accept4: Too many open files",
            {"LimitNOFILE": "524288", "LimitNOFILESoft": "1024"},
            ("LimitNOFILE", "LimitNOFILE=1281:524288"),
        ),
        # Words of JVM, PCRE, LuaJIT and Go.
        (
            "os::commit_memory(0x7f, 2555904, 1) failed; error='Operation not permitted' (errno=1)",
            {"MemoryDenyWriteExecute": "yes"},
            ("MemoryDenyWriteExecute", "MemoryDenyWriteExecute=no"),
        ),
        (
            "preg_match(): Allocation of JIT memory failed, PCRE JIT will be disabled",
            {"MemoryDenyWriteExecute": "yes"},
            ("MemoryDenyWriteExecute", "MemoryDenyWriteExecute=no"),
        ),
        (
            "runtime code generation failed, restricted kernel?",
            {"MemoryDenyWriteExecute": "yes"},
            ("MemoryDenyWriteExecute", "MemoryDenyWriteExecute=no"),
        ),
        (
            "runtime: failed to create new OS thread (have 5 already; errno=11)",
            {"TasksMax": "6"},
            ("TasksMax", "TasksMax=8"),
        ),
        (
            "java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory",
            {"TasksMax": "6"},
            ("TasksMax", "TasksMax=8"),
        ),
    ],
)
def test_words_of_well_known_programs(line, shown, cause):
    found = looked(line, places={"/": DIRECTORY, "/srv/f": Place(0o644, 105, False, False)}, **shown)
    named = [(item.directive, *item.relaxation) for finding in found.findings for item in finding.causes]
    assert named == ([cause] if cause else [])
