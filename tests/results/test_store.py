import fcntl
import json

import pytest

from harness.errors import UsageError
from harness.observation import JournalLine, Observation, Stage, StepResult
from harness.results.store import Store, write_whole

GARBAGE = '\x1b[31m \x00 \ufffd \u2028 \U0001f600 "quoted" \\ \r'


def observation(trial_id: str = "0001", **facts) -> Observation:
    return Observation(trial_id, "candidate", 1, 0, **facts)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.create(tmp_path, "tiny", {"identity": "abc"})


def test_a_run_folder_says_what_it_is(store):
    facts = json.loads((store.folder / "run.json").read_text())
    assert (facts["format"], facts["scenario"], facts["state"], facts["identity"]) == (1, "tiny", "running", "abc")
    assert store.folder.name.startswith("tiny-")
    assert Store.open(store.folder).facts == facts


def test_two_runs_in_one_second_have_folders_of_their_own(tmp_path):
    assert len({Store.create(tmp_path, "tiny", {}).folder for _ in range(3)}) == 3


def test_what_is_appended_comes_back_the_same_and_in_order(store):
    written = [
        observation(f"{number:04d}", reached=Stage.DONE, journal=(JournalLine(3, "x", None, GARBAGE, False),))
        for number in range(1, 6)
    ]
    for item in written:
        store.append(item)
    assert list(Store.open(store.folder).observations()) == written


def test_one_line_each_whatever_they_hold(store):
    step = StepResult(GARBAGE, "steps", "load", "", 0, 1.0, stdout=GARBAGE * 100, stderr="\n" * 100)
    store.append(observation(steps=(step,), durations_s={"total": 1.5}))
    store.append(observation("0002"))
    assert len((store.folder / "observations.jsonl").read_bytes().split(b"\n")) == 3


def test_lone_surrogates_do_no_harm(store):
    store.append(observation(start_problem="\udcff"))
    assert next(store.observations()).start_problem == "\udcff"


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_torn_last_line_is_cut_off_when_the_folder_is_locked(store, cut):
    for number in (1, 2):
        store.append(observation(f"{number:04d}"))
    file = store.folder / "observations.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    again = Store.open(store.folder)
    assert [item.trial_id for item in again.observations()] == ["0001"]  # reading alone ignores it
    again.lock()
    again.append(observation("0003"))
    again.unlock()
    assert [item.trial_id for item in again.observations()] == ["0001", "0003"]


def test_a_torn_only_line(store):
    (store.folder / "observations.jsonl").write_bytes(b'{"trial_id": "00')
    store.lock()
    assert list(store.observations()) == []
    store.unlock()


@pytest.mark.parametrize("text", ["{}", "not json", '{"format": 2}', '{"format": 1}', ""])
def test_a_damaged_line_is_named(store, text):
    store.append(observation())
    with (store.folder / "observations.jsonl").open("a") as file:
        file.write(text + "\n")
    with pytest.raises(UsageError, match=r"observations\.jsonl:2") as caught:
        list(store.observations())
    assert "--fresh" in caught.value.hint


@pytest.mark.parametrize("data", [b"[]", b'"text"', b"1", b"\xff\xfe"])
def test_a_line_of_another_kind_is_named(store, data):
    store.append(observation())
    with (store.folder / "observations.jsonl").open("ab") as file:
        file.write(data + b"\n")
    with pytest.raises(UsageError, match=r"observations\.jsonl"):
        list(store.observations())


@pytest.mark.parametrize("text", ["", "{", '{"format": 2}', "{}"])
def test_damaged_facts_are_refused(store, text):
    (store.folder / "run.json").write_text(text)
    with pytest.raises(UsageError, match="tiny"):
        Store.open(store.folder)


@pytest.mark.parametrize("text", ["null", "[]", '"text"', "1"])
def test_facts_of_another_kind_are_refused(store, text):
    (store.folder / "run.json").write_text(text)
    with pytest.raises(UsageError, match="tiny"):
        Store.open(store.folder)


def test_no_run_folder(tmp_path):
    with pytest.raises(UsageError, match="not a run folder"):
        Store.open(tmp_path)


class TestLock:
    def test_only_one_may_hold_it(self, store):
        store.lock()
        with pytest.raises(UsageError, match="in use"):
            Store.open(store.folder).lock()
        store.unlock()
        other = Store.open(store.folder)
        other.lock()
        other.unlock()

    def test_a_dead_holder_does_not_hold_it(self, store):
        (store.folder / "lock").touch()
        store.lock()
        store.unlock()

    def test_who_fails_to_lock_does_not_unlock_for_the_holder(self, store):
        store.lock()
        second = Store.open(store.folder)
        with pytest.raises(UsageError):
            second.lock()
        with pytest.raises(UsageError):
            Store.open(store.folder).lock()
        store.unlock()

    def test_a_lock_opened_before_the_end_of_the_holder_still_excludes(self, store):
        """The second opens the file, the first lets go, a third comes: not both the second and the third hold it."""
        store.lock()
        with (store.folder / "lock").open("w") as second:
            store.unlock()
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with pytest.raises(UsageError):
                Store.open(store.folder).lock()


class TestUnfinished:
    def make(self, tmp_path, name="tiny", **facts):
        store = Store.create(tmp_path, name, {"identity": "abc"})
        store.update(**facts)
        return store

    @pytest.mark.parametrize("state", ["running", "partial"])
    def test_goes_on_with_what_was_cut_off(self, tmp_path, state):
        store = self.make(tmp_path, state=state)
        found = Store.unfinished(tmp_path, "tiny", "abc")
        assert found is not None
        assert found.folder == store.folder

    @pytest.mark.parametrize("state", ["done", "failed"])
    def test_not_with_what_has_ended(self, tmp_path, state):
        self.make(tmp_path, state=state)
        assert Store.unfinished(tmp_path, "tiny", "abc") is None

    def test_not_with_another_identity(self, tmp_path):
        self.make(tmp_path)
        assert Store.unfinished(tmp_path, "tiny", "other") is None

    def test_not_with_another_scenario_whose_name_begins_alike(self, tmp_path):
        self.make(tmp_path, name="tiny-too")
        assert Store.unfinished(tmp_path, "tiny", "abc") is None

    def test_only_with_the_newest(self, tmp_path):
        self.make(tmp_path)
        self.make(tmp_path, state="done")
        assert Store.unfinished(tmp_path, "tiny", "abc") is None

    @pytest.mark.parametrize("state", ["running", "done", "failed"])
    def test_past_one_of_another_identity(self, tmp_path, state):
        older = self.make(tmp_path, state="partial")
        self.make(tmp_path, identity="abc limits", state=state)
        found = Store.unfinished(tmp_path, "tiny", "abc")
        assert found is not None
        assert found.folder == older.folder

    def test_a_damaged_one_is_passed_over(self, tmp_path):
        older = self.make(tmp_path)
        (self.make(tmp_path).folder / "run.json").write_text("{")
        found = Store.unfinished(tmp_path, "tiny", "abc")
        assert found is not None
        assert found.folder == older.folder

    def test_no_results_yet(self, tmp_path):
        assert Store.unfinished(tmp_path / "none", "tiny", "abc") is None


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "file"
    write_whole(path, "one")
    write_whole(path, "two")
    assert path.read_text() == "two"
    assert [item.name for item in path.parent.iterdir()] == ["file"]


def test_a_full_disk_is_told_with_the_file(store):
    (store.folder / "observations.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        store.append(observation())
    assert "observations.jsonl" in str(caught.value)
