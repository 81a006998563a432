"""Trials side by side, each in a process of its own; a process that is lost costs its own trial and no other."""

import contextlib
import ctypes
import multiprocessing
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from multiprocessing import forkserver, util
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from harness.machine.leftovers import new_name, new_scratch
from harness.observation import Observation
from harness.trial.run import Trial, run_trial

PR_SET_PDEATHSIG = 1  # prctl(2)
STOP_TIMEOUT_S = 10.0


class _Ended(BaseException):
    """SIGTERM in a trial's process: unwinds it, so that its machine is closed."""


def _end(signum: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: the second must not interrupt the closing
    raise _Ended


def _work(trial: Trial, out: Connection) -> None:
    # Ctrl-C is the parent's to handle; the end of the parent, even by `kill -9`, ends the trial in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    with contextlib.suppress(_Ended):
        out.send(run_trial(trial))


@cache
def _start_server() -> None:
    """Start the process that all trials are forked from.

    Its socket lies where the next start looks for leftovers: after `kill -9` nobody else would remove it.
    """
    folder = str(new_scratch(f"{new_name()}-pool"))
    util.Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-200)  # after multiprocessing's own
    before, tempfile.tempdir = tempfile.tempdir, folder
    try:
        forkserver.set_forkserver_preload(["harness.trial.run"])
        forkserver.ensure_running()
    finally:
        tempfile.tempdir = before


class Pool:
    """Runs batches of trials on at most `workers` machines at once."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._context = multiprocessing.get_context("forkserver")
        self._running: dict[Connection, tuple[int, BaseProcess]] = {}
        self.stopped = False

    def run(self, trials: Sequence[Trial], *, done: Callable[[Observation], None]) -> list[Observation]:
        """Run all; the observations come back in the order of `trials`. `done` hears of each as it ends."""
        results: dict[int, Observation] = {}
        try:
            for number, observation in self._ended(trials):
                results[number] = observation
                done(observation)
        except BaseException:
            self._abandon()  # the disk is full, or Ctrl-C came a second time
            raise
        return [results.get(number) or _lost(trial, "stopped") for number, trial in enumerate(trials)]

    def _ended(self, trials: Sequence[Trial]) -> Iterator[tuple[int, Observation]]:
        """Number and observation of each trial as it ends; after `stop` none is started any more."""
        waiting = list(enumerate(trials))
        while True:
            while waiting and len(self._running) < self.workers and not self.stopped:
                self._start(*waiting.pop(0))
            if not self._running:
                return
            for connection in wait(list(self._running)):
                assert isinstance(connection, Connection)
                number, process = self._running.pop(connection)
                yield number, self._receive(trials[number], connection, process)

    def _start(self, number: int, trial: Trial) -> None:
        _start_server()
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(trial, theirs))
        process.start()
        theirs.close()
        self._running[ours] = (number, process)
        if self.stopped:
            process.terminate()  # `stop` came while it was starting

    def _receive(self, trial: Trial, connection: Connection, process: BaseProcess) -> Observation:
        try:
            observation: Observation = connection.recv()
        except EOFError:
            process.join()
            why = "stopped" if self.stopped else f"the trial's process ended with status {process.exitcode}"
            observation = _lost(trial, why)
        finally:
            connection.close()
        process.join(STOP_TIMEOUT_S)
        return observation

    def stop(self) -> None:
        """End the running trials; their machines are closed, and `run` returns them as lost."""
        self.stopped = True
        for _, process in list(self._running.values()):
            process.terminate()

    def _abandon(self) -> None:
        """End the running trials and forget them, but see their machines closed."""
        self.stop()
        for _, process in list(self._running.values()):
            process.join(STOP_TIMEOUT_S)
        self._running.clear()


def _lost(trial: Trial, why: str) -> Observation:
    return Observation(
        trial_id=trial.trial_id,
        candidate_id=trial.candidate_id,
        seed=trial.seed,
        repeat=trial.repeat,
        purpose=trial.purpose,
        tightenings=trial.tightenings,
        lost=why,
    )
