import pytest

from harness.judge.culprits import evidence, suspects
from harness.unit import catalogue
from tests.judge.facts import line, observation, step


def pointed_at(text: str, *, from_manager: bool = False) -> tuple[str, ...]:
    return suspects(observation(steps=(), journal=(line(text, 3, from_manager=from_manager),)), catalogue.load())


@pytest.mark.parametrize(
    ("text", "directive"),
    [
        ('open() "/etc/redis/redis.conf" failed (30: Read-only file system)', "ProtectSystem"),
        ("mkdir /var/lib/x: Read-only file system", "ProtectSystem"),
        ("socket() failed (97: Address family not supported by protocol)", "RestrictAddressFamilies"),
        ("OSError: [Errno EAFNOSUPPORT] socket", "RestrictAddressFamilies"),
        ("sched_setscheduler: Operation not permitted", "RestrictRealtime"),
        ("unshare(CLONE_NEWUSER): Operation not permitted", "RestrictNamespaces"),
        ("sethostname: Operation not permitted", "ProtectHostname"),
        ("mmap(PROT_EXEC): Operation not permitted", "MemoryDenyWriteExecute"),
        ("connect() to 10.1.2.3:80 failed (101: Network is unreachable): connect", "PrivateNetwork"),
        ("cannot open /dev/kmsg: Permission denied", "ProtectKernelLogs"),
        ("settimeofday: Operation not permitted", "ProtectClock"),
        ('chown("/var/log/nginx") failed (1: Operation not permitted)', "CapabilityBoundingSet -CAP_CHOWN"),
        ("setgroups: Operation not permitted", "PrivateUsers"),
        ("fork: Resource temporarily unavailable", "TasksMax"),
        ("accept4() failed (24: Too many open files)", "LimitNOFILE"),
        (
            'audit: type=1326 audit(1.2:3): auid=0 uid=0 pid=7 comm="x" sig=31 arch=c000003e syscall=41',
            "SystemCallFilter",
        ),
    ],
)
def test_what_the_service_says(text, directive):
    assert directive in pointed_at(text)


@pytest.mark.parametrize(
    ("text", "directive"),
    [
        ("tiny.service: Main process exited, code=exited, status=226/NAMESPACE", "ProtectSystem"),
        ("tiny.service: Main process exited, code=exited, status=218/CAPABILITIES", "CapabilityBoundingSet"),
        ("tiny.service: Main process exited, code=dumped, status=31/SYS", "SystemCallFilter"),
        ("tiny.service: Main process exited, code=killed, status=31/SYS", "SystemCallFilter"),
        ("tiny.service: Main process exited, code=exited, status=217/USER", "DynamicUser"),
    ],
)
def test_what_the_manager_says(text, directive):
    assert directive in pointed_at(text, from_manager=True)


@pytest.mark.parametrize(
    "text", ["all is well", "listening on 0.0.0.0:80", "status=0/SUCCESS", "wrote /etc/redis.conf"]
)
def test_nothing_to_point_to(text):
    assert pointed_at(text) == ()


def test_paths_are_whole():
    assert "ProtectSystem" not in pointed_at("/data/etcetera: Read-only file system in /usrlocal")


def test_silence_until_a_time_limit_is_what_a_blocked_address_looks_like():
    hung = observation(steps=(step("ask", "no end within 5 s", timed_out=True),))
    assert suspects(hung, catalogue.load()) == ("IPAddressDeny", "PrivateNetwork")


def test_the_most_telling_comes_first():
    seen = observation(
        kernel=("kernel line",),
        steps=(
            step("fine", stdout="not this"),
            step("it", "exit status 1", stderr="\n".join("12345678"), stdout="out"),
        ),
        start_problem="did not start",
        journal=(
            line("own words"),
            line("manager", 5, from_manager=True),
            line("chatter", 6, from_manager=True),
            line(" "),
        ),
    )
    lines = evidence(seen)
    assert lines == ["kernel line", "4", "5", "6", "7", "8", "out", "did not start", "manager", "own words"]


def test_named_most_often_first():
    lines = (
        line("mmap: Operation not permitted"),
        line("mprotect: Operation not permitted"),
        line("sched_setscheduler: EPERM"),
    )
    found = suspects(observation(journal=lines), catalogue.load())
    assert found.index("MemoryDenyWriteExecute") < found.index("RestrictRealtime")


READ_ONLY = 'open() "/var/www/store/1.bin" failed (30: Read-only file system), client: 127.0.0.1'
CLOSED = ("ReadWritePaths -/var/www", "ReadWritePaths -/var", "ReadWritePaths -/var/log", "ProtectSystem=strict")
PROGRAMS = ("ExecPaths -/usr/bin/mv", "ExecPaths -/usr/bin/rm", "ProtectSystem=strict")


@pytest.mark.parametrize(
    ("text", "tried", "expected"),
    [
        (READ_ONLY, CLOSED, ("ReadWritePaths -/var/www",)),
        (READ_ONLY, CLOSED[1:], ("ReadWritePaths -/var",)),
        ("/run/x/y: Read-only file system", ("ReadOnlyPaths -/run",), ("ReadOnlyPaths -/run",)),
        ("sh: 1: mv: Permission denied", PROGRAMS, ("ExecPaths -/usr/bin/mv",)),
        ("PermissionError: [Errno 13] Permission denied: 'mv'", PROGRAMS, ("ExecPaths -/usr/bin/mv",)),
        ("stat(/srv/a): No such file or directory", ("InaccessiblePaths -/srv",), ("InaccessiblePaths -/srv",)),
    ],
)
def test_what_closes_the_very_path_explains_it_alone(text, tried, expected):
    told = observation(steps=(), journal=(line(text, 3),), tightenings=tried)
    assert suspects(told, catalogue.load()) == expected


def test_a_program_that_ran_and_was_refused_something_is_not_the_refused_one():
    told = observation(steps=(), journal=(line("mv: cannot open x: Permission denied", 3),), tightenings=PROGRAMS)
    assert "ExecPaths -/usr/bin/mv" not in suspects(told, catalogue.load())


def test_a_path_that_nothing_closes_points_to_directives():
    told = observation(steps=(), journal=(line(READ_ONLY, 3),), tightenings=("ReadWritePaths -/var/lib",))
    assert "ProtectSystem" in suspects(told, catalogue.load())
