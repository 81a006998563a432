"""Nights on real machines: a service that is as it was, and the same one after it was changed on purpose."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness import nightly
from harness.nightly import Plan, Search
from harness.results import accepted as accepted_file
from harness.results import nights
from harness.results.accepted import Accepted
from harness.results.folder import Run
from harness.results.judgement import Word
from harness.results.nights import Service
from harness.scenario import load
from harness.session import Options, tune
from harness.tune import Only
from tests.nightly import changing

pytestmark = [pytest.mark.boots, pytest.mark.usefixtures("examined_once")]
LIMITS = {"MemoryMax": ("80M", 80 * 2**20), "TasksMax": ("14", 14)}


@pytest.fixture(scope="module")
def accepted(tmp_path_factory) -> Path:
    """A results folder in which the first version was tuned, and accepted together with limits of it."""
    folder = tmp_path_factory.mktemp("accepted")
    results = folder / "results"
    scenario = load(changing.write(folder, limits=False))
    _, store = tune(scenario, Options(results=results, workers=2, only=Only.DIRECTIVES))
    made = Accepted.of_run(Run.open(store.folder))
    assert "ProtectSystem=strict" in made.labels
    limits = [{"directive": name, "value": text, "number": number} for name, (text, number) in LIMITS.items()]
    lines = "".join(f"{name}={text}\n" for name, (text, _) in LIMITS.items())
    recommendation = {**made.recommendation, "limits": {"limits": limits}}
    replace(made, drop_in=made.drop_in + lines, recommendation=recommendation).write(results)
    return results


@pytest.fixture
def spend(accepted, tmp_path):
    """`spend(search, **changes)` spends a night on the service, changed like that, and returns what it said."""
    shutil.copytree(accepted / "accepted", tmp_path / "results" / "accepted")

    def night(search: Search = Search.NEVER, *, minutes_each: float | None = None, **changes: object) -> Service:
        path = changing.write(tmp_path, limits=False, **changes)
        plan = Plan(tmp_path / "results", workers=2, search=search, minutes_each=minutes_each)
        found = nightly.run([path], plan)
        (service,) = found.services
        return service

    return night


def test_unchanged_it_is_the_same_after_a_few_trials(spend):
    service = spend(Search.CHANGED)
    assert service.word is Word.SAME, service.reason
    assert service.causes == ()
    assert service.trials == 5
    assert service.exposure == service.exposure_accepted


def test_unchanged_a_search_says_the_same(spend):
    service = spend(Search.ALWAYS)
    assert service.word is Word.SAME, service.reason
    assert service.differences == ()


@pytest.mark.parametrize(
    ("changes", "directive", "why"),
    [
        ({"writes": "/etc/changing-state"}, "ProtectSystem", "/etc/changing-state"),
        ({"children": 24}, "TasksMax", "fork rejected"),
        ({"held_mib": 84}, "MemoryMax", "oom-kill"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_it_needs_now_and_may_not_is_named(spend, changes, directive, why):
    service = spend(**changes)
    assert service.word is Word.BROKEN, service.reason
    assert {line.partition("=")[0] for line in service.culprits} == {directive}
    assert why in service.reason
    assert "without it the rest passed 3 of 3" in service.reason
    assert service.causes == ("file /usr/local/lib/changing/changing.py of the scenario: changed",)


def test_a_broken_service_is_tuned_anew(spend, tmp_path):
    service = spend(Search.CHANGED, writes="/etc/changing-state")
    assert service.word is Word.BROKEN
    assert any(item.startswith("lost: ProtectSystem=full") for item in service.differences)
    (night,) = nights.read(tmp_path / "results")
    run = nights.folder_of(tmp_path / "results") / night.name / service.run
    assert (run / "derived" / "report.html").exists()
    assert Run.open(run).recommendation["state"] == "tight"


def test_what_it_needs_no_longer_can_be_closed(spend):
    service = spend(Search.CHANGED, writes="")
    assert service.word is Word.TIGHTER, service.reason
    assert "ReadWritePaths -/var/lib" in service.reason


def test_a_service_that_is_broken_by_itself(spend):
    service = spend(Search.CHANGED, writes="/no/such/folder")
    assert service.word is Word.BROKEN
    assert "without any tightening too" in service.reason
    assert service.culprits == ()


def test_what_cannot_be_tried_is_undecided_and_the_night_goes_on(spend, tmp_path):
    good = changing.write(tmp_path / "good", limits=False).rename(tmp_path / "good" / "good.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("format = 1\n")
    spend()
    night = nightly.run([bad, good], Plan(tmp_path / "results", workers=2, seed=3, search=Search.NEVER))
    assert sorted(night.order) == ["bad", "good"]
    words = {item.scenario: item for item in night.services}
    assert words["bad"].word is words["good"].word is Word.UNDECIDED
    assert "could not be tried" in words["bad"].reason
    assert words["good"].reason.startswith("nothing was accepted yet")
    stored = json.loads((nights.folder_of(tmp_path / "results") / night.name / nights.FILE_NAME).read_text())
    assert stored["seed"] == 3
    assert stored["order"] == list(night.order)


def test_past_the_deadline_nothing_is_begun(spend, tmp_path):
    path = changing.write(tmp_path, limits=False)
    night = nightly.run([path], Plan(tmp_path / "results", minutes=0.0))
    (service,) = night.services
    assert service.word is Word.UNDECIDED
    assert "deadline" in service.reason
    assert service.trials == 0


def test_past_its_own_deadline_a_service_is_undecided(spend, tmp_path):
    service = spend(minutes_each=1e-6)
    assert service.word is Word.UNDECIDED
    assert service.reason.startswith("what was accepted was not tried")


def test_accepted_file_is_left_as_it_was(spend, accepted, tmp_path):
    spend(writes="/etc/changing-state")
    assert accepted_file.read(tmp_path / "results", "changing") == accepted_file.read(accepted, "changing")
