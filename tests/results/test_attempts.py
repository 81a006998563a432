"""Requests become observations: what is stored is not run again, and what was lost does not count."""

from collections.abc import Callable, Sequence

import pytest

from harness.attempts import Attempts, Request, seed_of
from harness.observation import Observation, Stage
from harness.results.store import Store
from harness.scenario import Scenario
from harness.trial.run import Trial

SCENARIO = Scenario.model_validate({"unit": "tiny.service", "steps": [{"name": "it", "run": "true"}]})
ONE, OTHER = Request("[Service]\nUMask=0077\n", ("UMask=0077",)), Request("[Service]\n")


class FakePool:
    """Runs nothing; `lose` says for each trial why it is lost, "" when it is not."""

    def __init__(self, lose: Callable[[Trial], str] = lambda trial: "") -> None:
        self.lose = lose
        self.ran: list[Trial] = []

    def run(self, trials: Sequence[Trial], *, done: Callable[[Observation], None]) -> list[Observation]:
        self.ran += trials
        made = [
            Observation(
                item.trial_id,
                item.candidate_id,
                item.seed,
                item.repeat,
                item.purpose,
                item.tightenings,
                reached=Stage.DONE,
                lost=self.lose(item),
            )
            for item in trials
        ]
        for observation in reversed(made):  # they end in any order
            done(observation)
        return made


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.create(tmp_path, "tiny", {})


def attempts(store: Store, pool: FakePool | None) -> Attempts:
    return Attempts(store, SCENARIO, pool)  # type: ignore[arg-type]


def test_answers_come_in_the_order_of_the_requests(store):
    pool = FakePool()
    found = attempts(store, pool).run([ONE, OTHER, ONE])
    assert [item.candidate_id for item in found] == [ONE.candidate_id, OTHER.candidate_id, ONE.candidate_id]
    assert [item.trial_id for item in found] == ["0001", "0002", "0003"]
    assert len(list(store.observations())) == 3


def test_repeats_have_seeds_of_their_own(store):
    found = attempts(store, FakePool()).run([ONE] * 20 + [OTHER] * 20)
    assert len({item.seed for item in found}) == 40
    assert [item.repeat for item in found] == [*range(20), *range(20)]


def test_a_seed_depends_on_scenario_candidate_and_repeat_and_nothing_else():
    seeded = SCENARIO.model_copy(update={"seed": 2})
    assert seed_of(SCENARIO, "a", 0) == seed_of(SCENARIO, "a", 0)
    assert (
        len({seed_of(SCENARIO, "a", 0), seed_of(SCENARIO, "a", 1), seed_of(SCENARIO, "b", 0), seed_of(seeded, "a", 0)})
        == 4
    )
    assert all(0 <= seed_of(SCENARIO, "a", repeat) < 2**31 for repeat in range(100))


def test_what_is_stored_is_not_run_again(store):
    first = attempts(store, FakePool()).run([ONE, ONE, OTHER])
    pool = FakePool()
    again = attempts(store, pool)
    assert again.run([ONE, ONE, OTHER]) == first
    assert pool.ran == []
    assert again.trials == 3
    assert [item.repeat for item in again.run([ONE])] == [2]
    assert [item.trial_id for item in pool.ran] == ["0004"]


def test_nothing_is_given_out_twice_after_a_lost_trial(store):
    pool = FakePool(lambda trial: "the machine vanished" if trial.trial_id == "0001" else "")
    asked = attempts(store, pool)
    assert [item.lost for item in asked.run([ONE, ONE])] == ["the machine vanished", ""]
    (further,) = asked.run([ONE])
    assert (further.trial_id, further.repeat, asked.trials) == ("0003", 0, 2)


def test_a_lost_trial_is_kept_and_does_not_count(store):
    losing = attempts(store, FakePool(lambda trial: "the machine vanished"))
    losing.run([ONE])
    assert losing.trials == 0
    assert [item.lost for item in store.observations()] == ["the machine vanished"]
    pool = FakePool()
    again = attempts(store, pool)
    (found,) = again.run([ONE])
    assert (found.lost, found.repeat, found.trial_id) == ("", 0, "0002")
    assert again.trials == 1
    assert found.seed == next(store.observations()).seed  # the same trial once more


def test_a_stopped_trial_leaves_no_trace(store):
    stopping = attempts(store, FakePool(lambda trial: "stopped"))
    stopping.run([ONE])
    assert list(store.observations()) == []


def test_of_two_repeats_one_is_lost(store):
    """What is stored stays with its repeat, whichever of them was lost."""
    attempts(store, FakePool(lambda trial: "lost" if trial.repeat == 0 else "")).run([ONE, ONE])
    pool = FakePool()
    found = attempts(store, pool).run([ONE, ONE])
    assert [item.repeat for item in pool.ran] == [0]
    assert [item.repeat for item in found] == [0, 1]
    assert found[0].seed != found[1].seed


def test_without_a_pool_what_is_not_stored_is_lost(store):
    first = attempts(store, FakePool()).run([ONE])
    alone = attempts(store, None)
    assert alone.run([ONE]) == first
    assert alone.run([OTHER])[0].lost == "not stored"
    assert len(list(store.observations())) == 1


def test_whoever_listens_hears_of_new_trials_only(store):
    attempts(store, FakePool()).run([ONE])
    heard: list[str] = []
    again = attempts(store, FakePool())
    again.heard = lambda observation: heard.append(observation.trial_id)
    again.run([ONE, OTHER])
    assert heard == ["0002"]


def test_a_trial_carries_all_that_it_needs(store):
    pool = FakePool()
    waiting = attempts(store, pool)
    waiting.patience_s = {"it": 3.0}
    waiting.run([ONE])
    (trial,) = pool.ran
    assert (trial.scenario, trial.drop_in, trial.tightenings) == (SCENARIO, ONE.drop_in, ONE.tightenings)
    assert trial.patience_s == {"it": 3.0}
    assert trial.folder == store.trial_folder("0001")
