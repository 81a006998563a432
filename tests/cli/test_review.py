"""`list`, `diff` and `accept` as a user calls them; nothing is booted."""

import json

import pytest

from tests.cli.command import harness
from tests.report import sample


@pytest.fixture
def results(tmp_path):
    """Two runs, of which the later one lost a setting."""
    folder = tmp_path / "results"
    sample.copied(folder, "notes-20260101-000000")
    later = sample.copied(folder, "notes-20260102-000000")

    def change(data):
        gone = next(item for item in data["settings"] if item["label"] == "UMask=0077")
        data["settings"].remove(gone)
        data["refused"].append({**gone, "trial": "0042", "reason": "step save: file cannot be shared", "evidence": []})

    sample.edit(later / "derived" / "recommendation.json", change)
    drop_in = later / "derived" / "notes.service.d" / "50-harness.conf"
    drop_in.write_text(drop_in.read_text().replace("UMask=0077\n", "UMask=0022\n"))
    return folder


def test_list(results, tmp_path):
    done = harness("list", folder=tmp_path)
    assert done.status == 0
    assert [line.split()[0] for line in done.out.splitlines() if line.split()[0].startswith("notes")] == [
        "notes-20260101-000000", "notes-20260102-000000",
    ]  # fmt: skip
    assert "no runs of redis in" in harness("list", "--scenario", "redis", folder=tmp_path).out


def test_diff(results, tmp_path):
    done = harness("diff", "results/notes-20260101-000000", "results/notes-20260102-000000", folder=tmp_path)
    assert done.status == 0
    assert "lost   UMask=0077  trial 0042, step save: file cannot be shared" in done.out
    assert "-UMask=0077\n+UMask=0022" in done.out


def test_no_difference(results, tmp_path):
    done = harness("diff", *["results/notes-20260101-000000"] * 2, folder=tmp_path)
    assert "the same settings and limits" in done.out


def test_runs_of_two_units_are_not_compared(results, tmp_path):
    sample.edit(results / "notes-20260102-000000" / "run.json", lambda facts: facts["scenario_data"].update(unit="x"))
    done = harness("diff", *map(str, sorted(results.iterdir())), folder=tmp_path)
    assert done.status == 2
    assert "is of notes.service" in done.error


def test_accept(results, tmp_path):
    done = harness("accept", "results/notes-20260101-000000", "--note", "looked at", folder=tmp_path)
    assert done.status == 0
    assert "results/accepted/notes.json" in done.out
    assert json.loads((results / "accepted" / "notes.json").read_text())["note"] == "looked at"
    assert "accepted" in harness("list", folder=tmp_path).out


def test_what_is_no_run_cannot_be_accepted(tmp_path):
    done = harness("accept", str(tmp_path), folder=tmp_path)
    assert done.status == 2
    assert "is not a run folder" in done.error


def test_a_night_without_scenarios(tmp_path):
    done = harness("nightly", folder=tmp_path)
    assert done.status == 2
    assert "no scenario in scenarios/" in done.error


def test_two_scenarios_of_one_name(tmp_path):
    done = harness("nightly", "a/one.toml", "b/one.toml", folder=tmp_path)
    assert done.status == 2
    assert "more than one scenario is called one" in done.error
