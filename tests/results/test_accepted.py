"""What a person accepts of a run, and what it is read back as."""

import json

import pytest

from harness.errors import UsageError
from harness.results import accepted
from harness.results.accepted import Accepted
from harness.results.folder import Run
from tests.report import sample


def test_it_comes_back_as_it_was_written(tmp_path):
    made = Accepted.of_run(sample.sample(), note="looked at")
    assert made.write(tmp_path) == tmp_path / "accepted" / "notes.json"
    assert accepted.read(tmp_path, "notes") == made
    assert made.note == "looked at"


def test_the_drop_in_is_what_was_tried(tmp_path):
    made = Accepted.of_run(sample.sample())
    lines = made.drop_in.splitlines()
    assert lines[0] == "[Service]"
    assert not [line for line in lines if line.startswith("#")]
    limits = [line for line in lines if line not in made.without_limits.splitlines()]
    assert {line.partition("=")[0] for line in limits} == {
        "MemoryMax", "MemorySwapMax", "CPUQuota", "TasksMax", "LimitNOFILE",
    }  # fmt: skip
    assert made.has_limits


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data.update(state="partial"), "is partial"),
        (lambda data: data.update(state="unconfirmed"), "is unconfirmed"),
        (lambda data: data["limits"].update(state="partial"), "cut off while limits were fitted"),
    ],
)
def test_only_what_is_tight_and_confirmed_can_be_accepted(tmp_path, change, told):
    run = sample.copied(tmp_path)
    sample.edit(run / "derived" / "recommendation.json", change)
    with pytest.raises(UsageError, match=told):
        Accepted.of_run(Run.open(run))


def test_a_run_without_a_recommendation(tmp_path):
    run = sample.copied(tmp_path)
    (run / "derived" / "recommendation.json").unlink()
    with pytest.raises(UsageError, match="holds no recommendation") as caught:
        Accepted.of_run(Run.open(run))
    assert "harness tune" in caught.value.hint


def test_nothing_was_accepted(tmp_path):
    assert accepted.read(tmp_path, "notes") is None


@pytest.mark.parametrize("text", ["", "[]", '{"format": 99}', '{"format": 1, "other": 2}'])
def test_a_damaged_file_is_said(tmp_path, text):
    path = accepted.path_of(tmp_path, "notes")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(UsageError, match="cannot read"):
        accepted.read(tmp_path, "notes")


def test_it_needs_nothing_of_the_run(tmp_path):
    text = Accepted.of_run(sample.sample()).write(tmp_path).read_text()
    assert "canaries" not in json.loads(text)["recommendation"]
    assert len(text) < 100_000
