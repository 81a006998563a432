"""Where candidates become observations: stored ones first, then real trials.

The n-th request for a candidate takes its n-th stored observation, and none is given out twice. The search asks for the
same candidates as long as it hears the same verdicts, so walking a stored run again needs no machine, and resuming is
walking again until something is not stored.
"""

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.observation import Observation
from harness.results.store import Store
from harness.scenario import Scenario
from harness.trial.pool import Pool
from harness.trial.run import Trial
from harness.unit.unitfile import UnitFile

ID_DIGITS = 12
OBSERVE = "observe"
# Phases whose trials are sampled. They run one at a time, on a host that other work leaves alone where it can be had.
SAMPLED = frozenset({"measure", "cliff", "knee", "quota", "confirm-limits"})
QUIET_WAIT_S = 10.0
QUIET_WAIT_IN_ALL_S = 120.0
# A candidate, traced or not.
Key = tuple[str, bool]


@dataclass(frozen=True)
class Request:
    """A candidate to try: its drop-in, the labels of its tightenings, the phase that asks, and the unit to trace."""

    drop_in: str
    tightenings: tuple[str, ...] = ()
    purpose: str = "search"
    trace: UnitFile | None = None

    @property
    def traced(self) -> bool:
        """Whether it runs under the tracer."""
        return self.purpose == OBSERVE

    @property
    def sampled(self) -> bool:
        """Whether what the unit uses is sampled."""
        return self.purpose in SAMPLED

    @property
    def candidate_id(self) -> str:
        """Hash of the drop-in text."""
        return hashlib.sha256(self.drop_in.encode()).hexdigest()[:ID_DIGITS]


def seed_of(scenario: Scenario, candidate_id: str, repeat: int) -> int:
    """Seed of one trial: the same for the same scenario, candidate and repeat, different for every repeat."""
    digest = hashlib.sha256(f"{scenario.seed}/{candidate_id}/{repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


class Attempts:
    """Serves observations from a store, and runs in `pool` what is not there; without a pool that is lost."""

    def __init__(self, store: Store, scenario: Scenario, pool: Pool | None) -> None:
        self._store = store
        self._scenario = scenario
        self._pool = pool
        self._stored: dict[tuple[Key, int], Observation] = {}
        self._given: set[tuple[Key, int]] = set()
        self._next_id = 1
        for observation in store.observations():
            self._next_id = max(self._next_id, int(observation.trial_id) + 1)
            if not observation.lost:
                self._stored[_key(observation), observation.repeat] = observation
        self._waited_s = 0.0
        self.patience_s: dict[str, float] = {}
        self.heard: Callable[[Observation], None] = lambda observation: None

    @property
    def trials(self) -> int:
        """Trials asked for so far whose machine was not lost, stored ones included."""
        return len(self._given)

    def run(self, requests: Sequence[Request]) -> list[Observation]:
        """One observation for each request, in order; what is not stored is run side by side."""
        results: list[Observation | None] = []
        trials: list[Trial] = []
        for request in requests:
            key = request.candidate_id, request.traced
            repeat = next(number for number in itertools.count() if (key, number) not in self._given)
            self._given.add((key, repeat))
            stored = self._stored.get((key, repeat))
            results.append(stored)
            if stored is None:
                trials.append(self._trial(request, repeat))
        fresh = self._run_fresh(trials)
        return [result if result is not None else next(fresh) for result in results]

    def folder(self, observation: Observation) -> Path:
        """Where the raw files of its trial are."""
        return self._store.trial_folder(observation.trial_id)

    def _trial(self, request: Request, repeat: int) -> Trial:
        trial_id = f"{self._next_id:04d}"
        self._next_id += 1
        return Trial(
            scenario=self._scenario,
            trial_id=trial_id,
            candidate_id=request.candidate_id,
            drop_in=request.drop_in,
            seed=seed_of(self._scenario, request.candidate_id, repeat),
            repeat=repeat,
            purpose=request.purpose,
            tightenings=request.tightenings,
            trace=request.trace,
            sampled=request.sampled,
            quiet_wait_s=min(QUIET_WAIT_S, max(0.0, QUIET_WAIT_IN_ALL_S - self._waited_s)),
            patience_s=self.patience_s,
            folder=self._store.trial_folder(trial_id),
        )

    def _run_fresh(self, trials: Sequence[Trial]) -> Iterator[Observation]:
        if self._pool is None:
            observations = [
                Observation(item.trial_id, item.candidate_id, item.seed, item.repeat, item.purpose, lost="not stored")
                for item in trials
            ]
        else:
            observations = self._pool.run(trials, done=self._keep)
        for observation in observations:
            if observation.lost:
                # It says nothing of the candidate: the next request for it is the same trial again.
                self._given.discard((_key(observation), observation.repeat))
            else:
                self._stored[_key(observation), observation.repeat] = observation
            yield observation

    def _keep(self, observation: Observation) -> None:
        if observation.sampling is not None:
            self._waited_s += observation.sampling.waited_s
        if observation.lost != "stopped":
            self._store.append(observation)
        self.heard(observation)


def _key(observation: Observation) -> Key:
    return observation.candidate_id, observation.purpose == OBSERVE


def labels(keys: Collection[object]) -> tuple[str, ...]:
    """Labels of tightenings, sorted, as observations keep them."""
    return tuple(sorted(str(getattr(key, "label", key)) for key in keys))
