"""Data frames of the committed sample run: what is documented is there, and figures are those of the run.

`python -m tests.results.test_frames` writes the tables of docs/review.md anew.
"""

import json
import shutil

import pandas as pd
import pytest

from harness.results import folder, frames
from harness.results.columns import TABLES
from harness.results.folder import Run
from harness.results.judgement import Word
from harness.results.nights import Night, Service
from tests.report import sample

DOCS = sample.PROJECT / "docs" / "review.md"
OF_RUNS = [name for name in TABLES if name != "nights"]


def documented() -> str:
    """The tables as docs/review.md has them."""
    text = ""
    for name, columns in TABLES.items():
        text += f"### {name}\n\n| column | dtype | unit | what |\n|---|---|---|---|\n"
        text += "".join(
            f"| `{column}` | {item.dtype} | {item.unit} | {item.what} |\n" for column, item in columns.items()
        )
        text += "\n"
    return text.rstrip() + "\n"


def test_every_column_is_documented():
    assert DOCS.read_text().partition("### runs")[2] == documented().partition("### runs")[2]


@pytest.mark.parametrize("name", OF_RUNS)
def test_columns_and_dtypes(name):
    frame = getattr(frames, name)(sample.sample())
    assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == {
        column: item.dtype for column, item in TABLES[name].items()
    }
    assert len(frame)


@pytest.mark.parametrize("name", OF_RUNS)
def test_of_no_run_there_are_no_rows(name):
    frame = getattr(frames, name)()
    assert list(frame.columns) == list(TABLES[name])
    assert len(frame) == 0


def test_samples_are_those_of_the_trials_for_limits():
    samples = frames.samples(sample.sample())
    told = sample.sample().recommendation["limits"]["runs"]
    for role in ("measured", "confirming"):
        assert set(samples[samples["role"].eq(role)]["trial"]) == set(told[role])
    assert set(samples[samples["censored"]]["trial"]) == set(told["censored"])


def test_processor_use_is_what_the_counter_says():
    """Over a whole trial, use in percent times 100 ms steps is about the time that the counter counted."""
    samples = frames.samples(sample.sample())
    run = samples[samples["trial"].eq(samples["trial"].iloc[0]) & samples["incarnation"].eq(1)]
    known = run[run["cpu_percent"].notna()]
    mean = float((known["cpu_percent"] * known["time_s"].diff()).sum() / known["time_s"].diff().sum())
    used_s = float(known["cpu_usage_usec"].iloc[-1] - known["cpu_usage_usec"].iloc[0]) / 1e6
    assert mean == pytest.approx(100 * used_s / float(known["time_s"].iloc[-1] - known["time_s"].iloc[0]), rel=0.15)


def test_runs_for_limits_need_what_the_limit_was_fitted_to():
    run = sample.sample()
    limits = frames.limits(run).set_index("directive")
    used = frames.limit_runs(run)
    measured = used[used["role"].eq("measured") & used["outcome"].eq("pass")]
    assert measured["needed_bytes"].max() == limits.loc["MemoryMax", "largest"]
    assert measured["tasks"].max() == limits.loc["TasksMax", "largest"]


def test_what_a_smaller_limit_would_risk():
    runs = pd.DataFrame(
        {
            "role": ["measured"] * 4 + ["tried"],
            "censored": ["", "", "busy", "busy", ""],
            "needed_bytes": pd.array([10, 20, 15, 40, 99], dtype="Int64"),
        }
    )
    told = frames.risked(runs, column="needed_bytes", values=[12, 30])
    # At 12 the censored 15 is above for sure; at 30 it may have been, and does not count.
    assert told.to_dict("records") == [
        {"limit": 12, "runs": 4, "above": 3, "share": 0.75},
        {"limit": 30, "runs": 3, "above": 1, "share": 1 / 3},
    ]


def test_decisions_side_by_side():
    table = frames.decisions(frames.directives(sample.sample()))
    refused = {item["directive"] for item in sample.sample().recommendation["refused"]}
    assert {name for name, text in table["notes"].items() if "refused" in text} == refused


def test_nights(tmp_path):
    limits = ({"directive": "TasksMax", "value": "7", "number": 7},)
    services = tuple(Service(name, name, Word.SAME, "", limits=limits, exposure=0.9) for name in ("a", "b"))
    Night("20260101-020000", "2026-01-01T02:00:00+00:00", 1.0, 1, ("a", "b"), services).write(tmp_path)
    frame = frames.nights(tmp_path)
    assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == {
        column: item.dtype for column, item in TABLES["nights"].items()
    }
    assert frame["tasks_max"].to_list() == [7, 7]
    assert frame["word"].to_list() == ["same", "same"]


class TestNewest:
    @pytest.fixture
    def results(self, tmp_path):
        for day, where in ((1, tmp_path), (2, tmp_path / "nights" / "20260102-020000")):
            run = sample.copied(where, f"notes-2026010{day}-000000")
            sample.edit(run / "run.json", lambda facts, day=day: facts.update(started_at=f"2026-01-0{day}"))
        return tmp_path

    def test_runs_of_nights_count(self, results):
        assert [run.name for run in folder.runs_in(results)] == ["notes-20260101-000000", "notes-20260102-000000"]
        assert folder.newest_in(results)["notes"].name == "notes-20260102-000000"

    def test_with_limits(self, results):
        newer = next((results / "nights").glob("*/notes-*"))
        sample.edit(newer / "derived" / "recommendation.json", lambda data: data.update(limits=None))
        assert folder.newest_in(results, with_limits=True)["notes"].name == "notes-20260101-000000"

    def test_what_recommends_nothing_is_passed_over(self, results):
        shutil.rmtree(results / "notes-20260101-000000" / "derived")
        (results / "other-20260101-000000").mkdir()
        (results / "other-20260101-000000" / "run.json").write_text(json.dumps({"format": 99}))
        assert [run.name for run in folder.runs_in(results)] == ["notes-20260102-000000"]


def test_a_torn_samples_file_is_no_sample(tmp_path):
    run = sample.copied(tmp_path)
    trial = sample.sample().recommendation["limits"]["runs"]["measured"][0]
    path = run / "trials" / trial / "samples.parquet"
    path.write_bytes(path.read_bytes()[:100])
    assert trial not in set(frames.samples(Run.open(run))["trial"])


if __name__ == "__main__":
    kept = DOCS.read_text().replace("<!-- tables -->\n", "### runs\n").partition("### runs")[0]
    DOCS.write_text(kept + documented())
