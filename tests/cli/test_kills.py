"""`kill -9` at random moments: the same command goes on, loses and repeats nothing, and ends with the same answer.

`KILLS=50` kills as often as the acceptance asks for; `KILL_SEED` draws other moments.
"""

import os
import random
import signal
import time

import pytest

from harness.machine.leftovers import remove_leftovers
from tests.cli.command import observations, recommendation, run_folder, start, tiny
from tests.cli.test_interruption import assert_resumes, timed, write  # noqa: F401

pytestmark = [pytest.mark.boots, pytest.mark.timeout(600)]
KILLS = int(os.environ.get("KILLS", "1"))
SEED = int(os.environ.get("KILL_SEED", "1"))


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_a_random_moment(tmp_path, number, timed, until):  # noqa: F811
    """The moment is anywhere in the run, the looking at the unit and the writing of the answer included."""
    undisturbed, whole_s = timed
    moment_s = random.Random(f"{SEED}/{number}").uniform(0.0, 1.0) * whole_s
    write(tmp_path)
    (temporary := tmp_path / "temporary").mkdir()
    process = start("tune", "tiny.toml", folder=tmp_path, env={"TMPDIR": str(temporary)})
    deadline = time.monotonic() + moment_s
    until(lambda: time.monotonic() >= deadline or process.poll() is not None, within_s=moment_s + 60)
    family = tiny.descendants(process.pid)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    until(lambda: not any(tiny.is_running(pid) for pid in family), within_s=60)
    if not list((tmp_path / "results").glob("*/observations.jsonl")):
        # Before the first trial ended: there is nothing to lose, and the same command begins.
        again = start("tune", "tiny.toml", folder=tmp_path)
        again.communicate(timeout=300)
        assert again.returncode == 0
    elif '"state": "done"' in (run_folder(tmp_path) / "run.json").read_text():
        assert observations(run_folder(tmp_path))
        remove_leftovers()  # as any next start does; this run needs none
    else:
        assert_resumes(tmp_path, undisturbed)
    assert recommendation(run_folder(tmp_path)) == undisturbed
    assert list(temporary.iterdir()) == []
    assert tiny.Traces.of(process.pid).scratch == ()
