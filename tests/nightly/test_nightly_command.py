"""`harness nightly` as a user or a timer calls it: exit status, what is written, and Ctrl-C."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.cli.command import NEEDS_TWO, few, finish, harness, run_folder, start, tiny

pytestmark = pytest.mark.boots


def newest(folder: Path) -> dict:
    return json.loads(max((folder / "results" / "nights").glob("*/nightly.json")).read_text())


def test_from_a_first_run_to_a_night_that_wakes_somebody(tmp_path):
    tiny.write(tmp_path, tables=NEEDS_TWO, head=few())
    assert harness("tune", "tiny.toml", folder=tmp_path).status == 0
    run = run_folder(tmp_path)
    assert harness("accept", str(run.relative_to(tmp_path)), folder=tmp_path).status == 0

    done = harness("nightly", "tiny.toml", folder=tmp_path)
    assert done.status == 0, done.err
    assert done.out.startswith("same ")
    nights = tmp_path / "results" / "nights"
    assert 'word="same"} 1\n' in (nights / "harness.prom").read_text()
    assert (nights / "index.html").exists()
    assert sorted(path.stem for path in (nights / "notebooks").iterdir()) == [
        "nightly_drift", "review_directives", "review_limits",
    ]  # fmt: skip

    tiny.write(
        tmp_path, tables=NEEDS_TWO.replace("0022", "0022 && systemctl show -p ProtectHome tiny | grep no"), head=few()
    )
    done = harness("nightly", "tiny.toml", "--search", "never", "--metrics", "other.prom", folder=tmp_path)
    assert done.status == 1
    assert "ProtectHome" in done.out
    assert "since it was accepted: the scenario: steps" in done.out
    assert 'word="no longer works"} 1\n' in (tmp_path / "other.prom").read_text()
    assert [item["word"] for item in newest(tmp_path)["services"]] == ["no longer works"]


def test_ctrl_c_ends_the_night(tmp_path, until):
    tiny.write(tmp_path, tables=NEEDS_TWO, head=few())
    process = start("nightly", "tiny.toml", folder=tmp_path)

    def searching() -> bool:
        stored = list((tmp_path / "results" / "nights").glob("*/*/observations.jsonl"))
        return bool(stored) and stored[0].read_text().count("\n") >= 2

    until(searching, within_s=90)
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process)
    assert done.status == 5
    assert "stopped by Ctrl-C; not tried: tiny" in done.out
    assert newest(tmp_path)["stopped"] == "stopped by Ctrl-C"
    assert not any(tiny.is_running(pid) for pid in tiny.descendants(process.pid))
