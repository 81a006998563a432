import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.novelty import is_trouble, news, shape, template, templates
from tests.judge.facts import line


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12345:M 24 Nov 2026 04:05:06.789 * Ready to accept", "77:M 25 Dec 2026 14:15:16.001 * Ready to accept"),
        ("2026/11/24 04:05:06 [notice] 17#17: worker 18", "2027/01/02 14:05:06 [notice] 231#231: worker 9"),
        ('127.0.0.1 - - [24/Nov/2026:04:05:06 +0000] "GET /a"', '10.1.2.3 - - [02/Jan/2027:14:15:16 +0000] "GET /a"'),
        ("request 0b1cb8f0-94ff-4ec3-8fc4-1b6be0e8a1f0 done", "request 4aa76c0e-13a6-4f35-bf6e-6dd31cbd6dd5 done"),
        ("segfault at 0x7f3a ip 00007f2a5b1c", "segfault at 0xdeadbeef ip 00005a1b2c3d"),
        ("cannot open /tmp/tmpk3j5x9ab/file", "cannot open /tmp/tmpq8w2e7zz/file"),
        ("commit 3f2a9c1d7e", "commit 00b1e2d3f4a5"),
        ("took 1.25 s,  2 tries", "took 17 s, 41 tries"),
        ("[Errno 13] Permission denied: '/var/www/x'", "[Errno 30] Read-only file system: '/var/www/x'"),
        ("open '/x' EACCES", "open '/x' EROFS"),
        ("auth failed: session=<Wm9vMSBVnKt/AAAB>", "auth failed: session=<k3PzcB9QxLm/ZZ7q>"),
        ("1tF3kQ-00000000abc-1X2Y == a@b defer", "1tG0Zz-00000007xyz-4QrS == a@b defer"),
        ("no session 9m4e2mr0ui3e8a215n4g", "no session c8b8m4h2qj5fd3k1q0s0"),  # xid
        ("no job 01ARZ3NDEKTSV4RRFFQ69G5FAV", "no job 01BX5ZZKBKACTAV9WEVGEMMVRZ"),  # ULID
        ("slow query: 987.6µs", "slow query: 1.2ms"),  # durations as Go writes them
        ("slow query: 450ms", "slow query: 1m2.5s"),
        ("fsync took too long (1h0m3s)", "fsync took too long (3s)"),
        ("slow query: 450 ms", "slow query: 1.2 s"),
        ("could not sync for 1 second", "could not sync for 3.5 seconds"),
        ("no memory: 98304 bytes", "no memory: 102400 bytes"),
        ("low on memory: 800K left", "low on memory: 1.2M left"),
        ("low on memory: 512 KiB left", "low on memory: 1.5 GiB left"),
        ("clock is off by -0.003", "clock is off by 0.017"),
        ("clock is off by +12, load=-3", "clock is off by 7, load=4"),
        ("-0.5% of clock [-3]", "12% of clock [4]"),
        ("took 1.5e-05 of 3", "took 2 of 3.5"),
        ("cannot open tmpk3j5x9ab", "cannot open tmpabcdefgh"),  # tempfile of Python
        ("cannot open /tmp/tmp.AbCdEfGhIj", "cannot open /tmp/tmp.x1Y2z3W4v5"),  # mktemp(1)
        ("11/24/2026 4:05:06 AM warning", "12/25/2026 2:15:16 PM warning"),
        ("at 4:05am: late", "at 11:15pm: late"),
        ("Tuesday: no backup", "Wednesday: no backup"),
        ("Sat, 28 Nov: no backup", "Thursday, 3 Dec: no backup"),
    ],
)
def test_what_changes_from_run_to_run_makes_no_difference(one, other):
    assert template(one) == template(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Permission denied", "No such file or directory"),
        ("open /etc/app.conf failed", "open /var/app.conf failed"),
        ("decade", "facade"),  # words of hexadecimal letters are words
        ("accepted", "refused"),
        ("sha256 refused", "sha512x refused"),
        ("open /usr/lib/x failed", "open /usr/lib/y failed"),
        ("timed out after 5s: reading", "timed out after 5s: writing"),
        ("cannot spare 5 s", "cannot spare 5 B"),
        ("low on memory: 800K left", "low on disk: 800K left"),
        ("read: -EACCES", "read: -ENOENT"),
        ("no worker-a", "no worker+a"),
        ("cannot mount tmpfs", "cannot mount tmpfiles"),
        ("internationalization failed", "telecommunications failed"),  # as long as an id
        ("no libavformat58", "no libavcodec58"),
        ("I am not permitted", "I pm not permitted"),
        ("Monitor failed", "Friend failed"),
        ("Sunrise failed", "Saturn failed"),
        ("child exited with code 0", "child exited with code 1"),
        ("failed: java.lang.NoSuchMethodError", "failed: java.lang.NoSuchFieldError"),
    ],
)
def test_what_is_said_makes_a_difference(one, other):
    assert template(one) != template(other)


@pytest.mark.parametrize(
    "message",
    [
        "[warn] could not build the table",
        "1:M # Can't save in background: fork: Resource temporarily unavailable, failed",
        'open() "/var/log/x" failed (13: Permission denied)',
        "Operation not permitted",
        "Read-only file system",
        "FATAL:  could not write lock file",
        "panic: runtime",
        "an ERROR: bad thing",
        "connection refused",
        "Address family not supported by protocol",
        "AH00052: child pid 27 exit signal Bad system call (31)",
        "worker exited on signal 31",
        "SEVERE [main] org.apache.Thing.start",
        "12:00 WRN it is slow",
        "W0729 12:00:00.1 1 store.go:33] it is slow",
        "Os { code: 1, kind: PermissionDenied }",
        "upstream timeout",
        "access forbidden by rule",
        "(configfile.c.2579) server.upload-dirs doesn't exist: /var/cache/x",
        "java.nio.file.AccessDeniedException: /var/lib/tomcat9/temp/x",
        "java.lang.OutOfMemoryError: Metaspace",
        "OSError: [Errno 38] Function not implemented",
        "2 failures while saving",
        "read(): Bad file descriptor",
        "worker 12 exited with status 1",
        "child 4 was killed by signal 9",
    ],
)
def test_trouble_by_its_words(message):
    assert is_trouble(line(message))


@pytest.mark.parametrize(
    "message",
    [
        "Ready to accept connections",
        "worker started",
        "errno is not set",
        "a terrible day",
        "E2E tests: 7 of 7",
        "keepalive_timeout 65",
        "worker 12 exited with status 0",
    ],
)
def test_no_trouble(message):
    assert not is_trouble(line(message))


def test_random_names_without_a_digit_are_masked_as_well():
    """As dovecot names its sessions, mosquitto its clients and mkstemp(3) its files: of each one template."""
    rng = random.Random(1)
    letters = string.ascii_letters

    def drawn(count: int) -> str:
        return "".join(rng.choice(letters) for _ in range(count))

    for text, count in (("session=<{}/AAAB>", 12), ("New client mosq-{} connected", 18), ("cannot read /x/foo.{}", 6)):
        made = [drawn(count) for _ in range(500)]
        mixed = [name for name in made if re.search("[a-z][A-Z]", name)]
        assert len({template(text.format(name)) for name in mixed}) == 1


@given(
    st.text(alphabet="abeX:-/.,x msK 0123456789", max_size=30), st.text(alphabet="0123456789", min_size=30, max_size=30)
)
def test_lines_of_one_shape_have_one_template(message, digits):
    other = "".join(new if old.isdigit() else old for old, new in zip(message, digits, strict=False))
    assert shape(message) != shape(other) or template(message) == template(other)


def test_trouble_by_its_level():
    assert is_trouble(line("all is well", 4))
    assert not is_trouble(line("all is well", 5))


def test_news_is_trouble_that_the_baseline_never_had():
    known = templates([line("cannot lock 17"), line("warning: old")])
    lines = [line("cannot lock 99"), line("hello"), line("cannot write 1"), line("cannot write 2"), line("denied")]
    assert [item.message for item in news(lines, known=known)] == ["cannot write 1", "denied"]


def test_what_was_a_notice_before_is_no_news_as_a_warning():
    known = templates([line("table is full", 6)])
    assert news([line("table is full", 3)], known=known) == []


def test_lines_can_be_ignored():
    assert news([line("cannot ping a"), line("cannot pong b")], known=(), ignore=["ping", "^b"]) == [
        line("cannot pong b")
    ]


def test_of_a_traceback_the_line_that_tells_comes_first():
    said = [
        "Traceback (most recent call last):",
        '  File "/srv/x.py", line 3, in <module>',
        '    open("/etc/denied")',
        "PermissionError: [Errno 13] Permission denied: '/etc/denied'",
    ]
    told = [entry.message for entry in news([line(message) for message in said], known=())]
    assert told[0] == said[-1]
    assert sorted(told) == sorted([said[0], said[2], said[3]])
