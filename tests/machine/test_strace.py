"""What a log of strace is read as. The lines are of strace 6.1, made with the options of `harness.machine.strace`."""

import pytest

from harness.machine.strace import LOG, UNTOLD, files, seen
from harness.unit.unitfile import parse

LINES = """\
1409  execve("/usr/sbin/thing", ["/usr/sbin/thing", "-f"], 0x7ffd /* 5 vars */) = 0
1409  openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3
1409  openat(AT_FDCWD, "/var/lib/a \\"b\\" \\303\\274", O_WRONLY|O_CREAT|O_TRUNC, 0644) = 4
1409  openat(AT_FDCWD, "/cut/off"..., O_RDONLY) = 3
1409  openat(AT_FDCWD, "/etc/refused", O_RDWR|O_CREAT, 0644) = -1 EACCES (Permission denied)
1409  mkdir("/var", 0755) = -1 EEXIST (File exists)
1409  mkdir("/var/lib/made", 0755) = 0
1409  rename("/var/lib/old", "/var/lib/new") = 0
1409  mmap(NULL, 8192, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_DENYWRITE, 3, 0x26000) = 0x7f
1409  socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 5
1409  connect(5, {sa_family=AF_INET, sin_port=htons(27017), sin_addr=inet_addr("10.77.0.2")}, 16) = 0
1410  connect(6, {sa_family=AF_INET6, sin6_port=htons(80), inet_pton(AF_INET6, "fd00::1", &sin6_addr)} <unfinished ...>
1410  <... connect resumed>)            = 0
1410  bind(7, {sa_family=AF_UNIX, sun_path="/run/thing.sock"}, 110) = 0
1410  clone(child_stack=NULL, flags=CLONE_NEWPID|CLONE_NEWNS|SIGCHLD) = 1411
1410  setpriority(PRIO_PROCESS, 0, -5)  = -1 EACCES (Permission denied)
1410  mlock(0x7f, 4096) = -1 EPERM (Operation not permitted)
1410  mlock(0x7f, 4096) = 0
1410  setgroups(0, NULL <unfinished ...>
1410  <... setgroups resumed>)          = -1 EPERM (Operation not permitted)
1410  +++ exited with 0 +++
""".splitlines()


def test_what_was_used() -> None:
    found = seen(LINES)
    assert found is not None
    told = "execve openat mkdir rename mmap socket connect bind clone setpriority mlock setgroups".split()
    assert {*told} == {*found.calls} - {*UNTOLD}
    # One that was cut in two lines is not said to have been refused each time.
    assert found.refused == ("setpriority",)
    assert found.capabilities is None
    assert found.families == ("AF_INET",)
    assert found.peers == ("10.77.0.2", "fd00::1")
    assert found.opened == ("/etc/ld.so.cache",)
    assert found.opened_for_writing == (
        "/run/thing.sock",
        '/var/lib/a "b" \u00fc',
        "/var/lib/made",
        "/var/lib/new",
    )
    assert found.executed == ("/usr/sbin/thing",)
    assert found.namespaces == ("mnt", "pid")
    assert not found.writable_code
    assert found.tracer == "strace"


@pytest.mark.parametrize(
    "line",
    ["1 mmap(NULL, 4096, PROT_WRITE|PROT_EXEC, MAP_PRIVATE) = 0x7f", "1 mprotect(0x7f, 4096, PROT_READ|PROT_EXEC) = 0"],
)
def test_code_that_was_written(line) -> None:
    found = seen([line])
    assert found is not None
    assert found.writable_code


@pytest.mark.parametrize(
    "line",
    [
        '1 openat2(AT_FDCWD, "/srv/made", {flags=O_WRONLY|O_CREAT, mode=0644, resolve=0}, 24) = 3',
        '1 creat("/srv/made", 0644) = 3',
        '1 mknodat(AT_FDCWD, "/srv/made", S_IFIFO|0644) = 0',
    ],
)
def test_every_way_to_make_a_file(line) -> None:
    found = seen([line])
    assert found is not None
    assert found.opened_for_writing == ("/srv/made",)


def test_an_empty_log_tells_nothing() -> None:
    assert seen([]) is None


@pytest.mark.parametrize(("command", "prefix"), [("/bin/thing -x", ""), ("-!/bin/thing -x", "-!")])
def test_the_command_is_wrapped_behind_its_prefixes(command, prefix) -> None:
    brought = files(parse(f"[Service]\nExecStart={command}\n"), "thing.service")
    (path,) = brought.keys() - {LOG}
    text = brought[path][0].decode()
    assert path == "/etc/systemd/system/thing.service.d/60-harness-trace.conf"
    assert f"\nExecStart={prefix}/usr/bin/strace " in text
    assert text.rstrip().endswith("-- /bin/thing -x")


def test_a_command_with_a_name_of_its_own_is_left_alone() -> None:
    assert files(parse("[Service]\nExecStart=@/bin/thing other-name\n"), "thing.service") == {}
