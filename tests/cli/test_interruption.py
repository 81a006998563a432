"""A run that is stopped or killed in the middle goes on where it was, and ends as if nothing had happened."""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import (
    NEEDS_TWO,
    few,
    finish,
    harness,
    leftovers,
    observations,
    recommendation,
    run_folder,
    start,
    tiny,
)

pytestmark = [pytest.mark.boots, pytest.mark.alone]


def write(folder: Path) -> Path:
    return tiny.write(folder, tables=NEEDS_TWO, head=few())


@pytest.fixture(scope="module")
def timed(tmp_path_factory) -> tuple[dict[str, Any], float]:
    """What the same scenario ends with when nothing happens, and after how many seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write(folder)
    began = time.monotonic()
    done = harness("tune", "tiny.toml", folder=folder)
    took_s = time.monotonic() - began
    assert done.status == 0, done.err
    answer = recommendation(run_folder(folder))
    assert answer["refused"] == ["PrivateTmp=yes", "UMask=0027"]
    assert answer["state"] == "tight"
    return answer, took_s


@pytest.fixture
def undisturbed(timed) -> dict[str, Any]:
    """What the same scenario ends with when nothing happens."""
    return timed[0]


@pytest.fixture
def running(tmp_path, until):
    """A run in the middle of its search: the process, and how many trials were stored at least."""
    write(tmp_path)
    process = start("tune", "tiny.toml", folder=tmp_path)

    def searching() -> bool:
        stored = list((tmp_path / "results").glob("*/observations.jsonl"))
        return bool(stored) and stored[0].read_text().count("\n") >= 4

    until(searching, within_s=60)
    yield process
    if process.poll() is None:
        process.kill()
        process.communicate()


def assert_resumes(folder: Path, undisturbed: dict[str, Any]) -> None:
    run = run_folder(folder)
    before = (run / "observations.jsonl").read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    done = harness("tune", "tiny.toml", folder=folder)
    assert done.status == 0, done.err
    assert "going on with" in done.err
    assert run_folder(folder) == run
    assert (run / "observations.jsonl").read_bytes().startswith(whole)
    kept = [item for item in observations(run) if not item["lost"]]
    tried = Counter((item["candidate_id"], item["purpose"] == "observe", item["repeat"]) for item in kept)
    assert set(tried.values()) == {1}
    assert len({item["trial_id"] for item in observations(run)}) == len(observations(run))
    assert recommendation(run) == undisturbed


def test_ctrl_c(tmp_path, running, undisturbed, until):
    before = leftovers()
    os.killpg(running.pid, signal.SIGINT)
    done = finish(running)
    assert done.status == 5
    assert "stopped by Ctrl-C" in done.error
    assert "run the same command again" in done.hint
    until(lambda: not leftovers() - before)
    run = run_folder(tmp_path)
    assert json.loads((run / "run.json").read_text())["state"] == "partial"
    assert json.loads((run / "derived/recommendation.json").read_text())["state"] == "partial"
    assert (run / "observations.jsonl").read_text().endswith("\n")
    assert not [item for item in observations(run) if item["lost"]]
    assert_resumes(tmp_path, undisturbed)


def test_ctrl_c_in_the_baseline(tmp_path, undisturbed, until):
    write(tmp_path)
    process = start("tune", "tiny.toml", folder=tmp_path)
    # The canaries are looked at before; the first file of a trial is there once the baseline runs.
    until(lambda: list((tmp_path / "results").glob("*/observations.jsonl")), within_s=60)
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process)
    assert done.status == 5
    assert "stopped by Ctrl-C" in done.error
    assert "run the same command again" in done.hint
    assert_resumes(tmp_path, undisturbed)


def test_kill_9(tmp_path, running, undisturbed, until):
    before = leftovers()
    family = tiny.descendants(running.pid)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    until(lambda: not any(tiny.is_running(pid) for pid in family))
    # Machines close by themselves; the folder of the socket that trials were started by waits for the next start.
    until(lambda: not [path for path in leftovers() - before if "-pool-" not in path])
    assert_resumes(tmp_path, undisturbed)
    until(lambda: not leftovers() - before)


def test_kill_9_of_everything(tmp_path, running, undisturbed, until):
    """Workers too: what they leave is removed at the next start."""
    family = [running.pid, *tiny.descendants(running.pid)]
    for pid in family:
        if tiny.is_running(pid):
            os.kill(pid, signal.SIGKILL)
    running.communicate()
    until(lambda: not any(tiny.is_running(pid) for pid in family))
    assert_resumes(tmp_path, undisturbed)
    until(lambda: not [path for path in leftovers() if tiny.owner(Path(path)) in family])


def test_ctrl_c_twice(tmp_path, running, until):
    before = leftovers()
    family = tiny.descendants(running.pid)
    os.killpg(running.pid, signal.SIGINT)
    os.killpg(running.pid, signal.SIGINT)
    done = finish(running)
    assert done.status == 5
    until(lambda: not any(tiny.is_running(pid) for pid in family))
    until(lambda: not leftovers() - before)


def test_ctrl_c_while_looking_at_the_unit(tmp_path, until):
    write(tmp_path)
    before = leftovers()
    process = start("tune", "tiny.toml", folder=tmp_path)
    until(lambda: [pid for pid in tiny.descendants(process.pid) if "nspawn" in tiny.command(pid)])
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process)
    assert done.status == 5
    until(lambda: not leftovers() - before)


def test_a_finished_run_is_not_gone_on_with(tmp_path, undisturbed):
    tiny.write(tmp_path, head=few())
    assert harness("tune", "tiny.toml", folder=tmp_path).status == 0
    again = harness("tune", "tiny.toml", "--max-trials", "3", folder=tmp_path)
    assert "going on with" not in again.err
    assert len(list((tmp_path / "results").iterdir())) == 2
