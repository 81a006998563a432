"""What is kept of the nights, and for how long."""

import pytest

from harness import nightly
from harness.errors import UsageError
from harness.results import accepted, nights
from harness.results.judgement import Word
from harness.results.nights import Night, Service
from tests.systemd import tiny

NAMES = [f"202601{day:02}-020000" for day in range(1, 6)]


def night(name: str, word: Word = Word.SAME) -> Night:
    limits = ({"directive": "MemoryMax", "value": "22M", "number": 23068672},)
    service = Service("notes", "notes.service", word, "why", causes=("kernel: 1 → 2",), limits=limits, exposure=0.9)
    return Night(name, "2026-01-01T02:00:00+00:00", 60.0, 7, ("notes",), (service,))


@pytest.fixture
def results(tmp_path):
    for name in NAMES:
        night(name).write(tmp_path)
    return tmp_path


def test_they_come_back_as_they_were_written(results):
    assert list(nights.read(results)) == [night(name) for name in NAMES]


def test_a_night_that_was_cut_off_is_passed_over(results):
    (nights.folder_of(results) / "20260106-020000").mkdir()
    (nights.folder_of(results) / NAMES[0] / "nightly.json").write_text("{")
    assert [item.name for item in nights.read(results)] == NAMES[1:]


def test_the_oldest_go(results):
    deleted = nights.prune(results, 2)
    assert [path.name for path in deleted] == NAMES[:3]
    assert [item.name for item in nights.read(results)] == NAMES[3:]


def test_the_newest_never_goes(results):
    nights.prune(results, 0)
    assert [item.name for item in nights.read(results)] == NAMES[-1:]


def test_tonight_stays_although_the_clock_was_set_back(results):
    tonight = night("20200101-000500")
    tonight.write(results)
    assert nights.prune(results, len(NAMES), spare=tonight.name) == []
    assert [path.name for path in nights.prune(results, 2, spare=tonight.name)] == NAMES[:3]
    assert [item.name for item in nights.read(results)] == [tonight.name, *NAMES[3:]]


def test_what_one_service_brings_with_it_does_not_end_the_night(tmp_path):
    one = tiny.write(tmp_path)
    other = one.with_name("other.toml")
    other.write_text("format = 1\n")
    file = accepted.path_of(tmp_path, "tiny")
    file.parent.mkdir()
    file.write_text("[" * 100_000)  # nobody foresees that: it is no error of JSON
    spent = nightly.run([one, other], nightly.Plan(tmp_path, seed=1))
    assert {item.scenario: item.word for item in spent.services} == {"tiny": Word.UNDECIDED, "other": Word.UNDECIDED}
    assert any(item.reason.startswith("could not be tried: RecursionError") for item in spent.services)
    assert list(nights.read(tmp_path)) == [spent]


def test_only_what_a_night_made_is_deleted(results, tmp_path):
    folder = nights.folder_of(results)
    for name in ("notebooks", "20260101", "mine-20260101-020000"):
        (folder / name).mkdir()
    (folder / "20250101-020000").symlink_to(tmp_path)
    (folder / "20250102-020000").write_text("a file")
    nights.prune(results, 1)
    left = {path.name for path in folder.iterdir()}
    assert left == {NAMES[-1], "notebooks", "20260101", "mine-20260101-020000", "20250101-020000", "20250102-020000"}


def test_one_at_a_time(tmp_path):
    with nights.lock(tmp_path), pytest.raises(UsageError, match="in use by another night"), nights.lock(tmp_path):
        pass
    with nights.lock(tmp_path):
        pass


def test_broken_ones(results):
    assert night(NAMES[0]).broken == []
    assert [item.scenario for item in night(NAMES[0], Word.BROKEN).broken] == ["notes"]
