import itertools
import string
from pathlib import PurePosixPath
from typing import cast

from harness.machine.overlay import Overlay
from harness.observation import JournalLine
from harness.trial.record import KEPT_LINES, _distinct, _log_files, bounded, readable


def test_of_too_many_lines_the_middle_goes() -> None:
    lines = [f"{number:09}" for number in range(1000)]
    kept = bounded(lines, most=90)
    assert kept == [*lines[:5], *lines[-5:]]


def test_a_start_of_many_lines_is_kept_whole() -> None:
    words = ["".join(pair) for pair in itertools.product(string.ascii_lowercase, repeat=2)]
    lines = [JournalLine(6, "x", 7, f"running boot step {word}", from_manager=False) for word in words]
    assert [line.message for line in _distinct(lines * 2, most=KEPT_LINES)] == [line.message for line in lines]


def test_few_lines_are_kept_whole() -> None:
    lines = ["a" * 40, "b" * 50]
    assert bounded(lines, most=90) == lines


def test_one_line_that_is_too_long_is_not_kept_by_half() -> None:
    assert bounded(["a", "b" * 100, "c"], most=20) == ["a", "c"]


def test_a_path_that_is_no_utf_8_can_be_written() -> None:
    assert readable(["/srv/caf\udce9", "/srv/é"]) == ("/srv/caf\ufffd", "/srv/é")


def test_logs_that_have_a_disk_of_their_own_are_read() -> None:
    class Linked:
        def resolve(self, path: str) -> PurePosixPath:
            return PurePosixPath("data/log") if path == "/var/log" else PurePosixPath(path[1:])

        def added_text(self, path: str, *, most_bytes: int) -> str:
            return "a line\n"

    lines = _log_files(cast(Overlay, Linked()), ["/data/log/app.log", "/data/logs", "/etc/x"])
    assert [(line.identifier, line.message) for line in lines] == [("/data/log/app.log", "a line")]
