"""Trials side by side in processes of their own: what happens to one is no other's business."""

import os
import signal
import threading

import pytest

from harness.machine.cgroup import hierarchies
from harness.observation import Stage
from harness.trial.pool import Pool
from harness.trial.run import Trial
from tests.systemd import tiny

pytestmark = pytest.mark.boots
LONG = '[[steps]]\nname = "long"\nrun = "if [ $HARNESS_SEED = 1 ]; then sleep 1000; fi"\ntimeout_s = 60\n'


@pytest.fixture
def trials(tmp_path) -> list[Trial]:
    """Two: the first takes very long, the second ends at once."""
    scenario = tiny.scenario(tmp_path, tables=LONG)
    return [Trial(scenario, f"{seed:04d}", "tiny", "", seed=seed) for seed in (1, 2)]


def sleeping() -> list[int]:
    """Processes of the long step."""
    return [pid for pid in tiny.descendants(os.getpid()) if tiny.command(pid) == "sleep 1000"]


def workers() -> set[int]:
    """Processes that own a machine."""
    names = [path for tree in hierarchies() for path in tiny.directories(tree.mountpoint)]
    ours = set(tiny.descendants(os.getpid()))
    return {pid for path in names if (pid := tiny.owner(path)) in ours}


def when_sleeping(until, act) -> threading.Thread:
    def wait() -> None:
        until(sleeping, within_s=60)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def assert_nothing_left(owners: set[int], until) -> None:
    until(lambda: not any(tiny.is_running(pid) for pid in owners))
    assert tiny.Traces.of(*owners).cgroups == ()
    assert tiny.Traces.of(*owners).scratch == ()


def test_stop_ends_what_runs_and_keeps_what_is_done(trials, until):
    pool = Pool(2)
    owners: set[int] = set()
    done: list[str] = []

    def stop() -> None:
        until(lambda: "0002" in done, within_s=60)
        owners.update(workers())
        pool.stop()

    thread = when_sleeping(until, stop)
    first, second = pool.run(trials, done=lambda observation: done.append(observation.trial_id))
    thread.join()
    assert first.lost == "stopped"
    assert second.lost == ""
    assert second.reached is Stage.DONE
    assert set(done) == {"0001", "0002"}
    assert_nothing_left(owners, until)


def test_after_a_stop_nothing_is_started(trials):
    pool = Pool(2)
    pool.stop()
    assert [item.lost for item in pool.run(trials, done=lambda observation: None)] == ["stopped", "stopped"]


def test_a_killed_worker_costs_its_own_trial(trials, until):
    owners: set[int] = set()

    def kill() -> None:
        owners.update(workers())
        for pid in owners:
            os.kill(pid, signal.SIGKILL)

    thread = when_sleeping(until, kill)
    first, second = Pool(1).run(trials, done=lambda observation: None)
    thread.join()
    assert first.lost == "the trial's process ended with status -9"
    assert second.lost == ""


def test_a_failure_to_keep_a_trial_ends_the_others(trials, until):
    owners: set[int] = set()

    def full(observation) -> None:
        until(sleeping, within_s=60)
        owners.update(workers())
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        Pool(2).run(trials, done=full)
    assert owners
    assert_nothing_left(owners, until)
