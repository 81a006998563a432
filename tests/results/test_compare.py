"""What differs between two recommendations, and what changed around a service."""

import copy
from dataclasses import replace

import pytest

from harness.results.accepted import Accepted, limits_of
from harness.results.compare import causes, differences, moves
from tests.report import sample


@pytest.fixture
def before():
    return sample.sample().recommendation


@pytest.fixture
def after(before):
    return copy.deepcopy(before)


def told(before, after) -> list[str]:
    return [f"{item.change}: {item.what}" for item in differences(before, after)]


def test_a_run_does_not_differ_from_itself(before, after):
    assert differences(before, after) == []


def test_what_is_lost_says_why(before, after):
    gone = next(item for item in after["settings"] if item["label"] == "ProtectSystem=strict")
    after["settings"].remove(gone)
    after["refused"].append({**gone, "trial": "0042", "reason": "step save: no", "evidence": []})
    (found,) = differences(before, after)
    assert (found.change, found.what, found.why) == ("lost", "ProtectSystem=strict", "trial 0042, step save: no")
    assert told(after, before) == ["gained: ProtectSystem=strict"]


def test_a_place_that_only_one_of_them_knows_is_opened_or_closed(before, after):
    place = {"directive": "ReadWritePaths", "items": ["/srv/new"], "label": "ReadWritePaths -/srv/new"}
    after["refused"].append({**place, "trial": "0042", "reason": "EROFS", "evidence": []})
    assert told(before, after) == ["opened: ReadWritePaths -/srv/new"]
    assert told(after, before) == ["closed: ReadWritePaths -/srv/new"]


def test_a_place_that_was_never_open_is_not_gained_by_closing_it(before, after):
    after["settings"].append({"directive": "ReadWritePaths", "label": "ReadWritePaths -/srv/new", "trial": "0042"})
    assert told(before, after) == []


@pytest.mark.parametrize(("factor", "moved"), [(1.0, False), (1.2, False), (1.4, True), (0.5, True)])
def test_limits_move_by_more_than_fits_differ(before, after, factor, moved):
    item = next(item for item in limits_of(after) if item["directive"] == "MemoryMax")
    item["cliff_worked"], item["value"] = int(item["cliff_worked"] * factor), "other"
    assert [found.what.partition(":")[0] for found in moves(before, after)] == ["MemoryMax"] * moved


def test_one_task_more_of_three_is_no_move(before, after):
    for data, number in ((before, 3), (after, 4)):
        next(item for item in limits_of(data) if item["directive"] == "TasksMax")["cliff_worked"] = number
    assert moves(before, after) == []


def test_a_limit_that_only_one_of_them_has(before, after):
    after["limits"]["limits"] = [item for item in limits_of(after) if item["directive"] != "MemoryMax"]
    assert [item.what for item in moves(before, after)] == [f"MemoryMax: {limits_of(before)[0]['value']} → none"]


def test_the_margin_above_the_cliff_is_no_move(before, after):
    next(item for item in limits_of(after) if item["directive"] == "MemoryMax")["number"] *= 2
    assert moves(before, after) == []


def test_a_limit_without_a_cliff_is_compared_by_its_number(before, after):
    item = next(item for item in limits_of(after) if item["directive"] == "LimitNOFILE")
    item["number"] *= 2
    assert [found.what.partition(":")[0] for found in moves(before, after)] == ["LimitNOFILE"]


@pytest.mark.parametrize(("runs", "moved"), [(10, ["CPUQuota"]), (0, [])])
def test_what_was_timed_on_a_busy_host_does_not_move(before, after, runs, moved):
    item = next(item for item in limits_of(after) if item["directive"] == "CPUQuota")
    item["cliff_worked"], item["fitted_to"]["runs"] = 2 * item["cliff_worked"], runs
    assert [found.what.partition(":")[0] for found in moves(before, after)] == moved


def test_a_run_without_limits_moves_none(before, after):
    after["limits"] = None
    assert moves(before, after) == []


class TestCauses:
    @pytest.fixture
    def accepted(self):
        return Accepted.of_run(sample.sample())

    @pytest.fixture
    def facts(self):
        return copy.deepcopy(sample.sample().facts)

    def test_nothing_changed(self, accepted, facts):
        assert causes(accepted, facts) == []

    def test_packages_of_the_scenario_come_first(self, accepted, facts):
        accepted = replace(accepted, inspection={**accepted.inspection, "installed": {"libc6": "1", "python3": "3.11"}})
        facts["inspection"]["packages"] = {"python3": "3.13"}
        facts["inspection"]["installed"] = {"libc6": "2", "python3": "3.13", "new": "1"}
        old = accepted.inspection["packages"]["python3"]
        assert causes(accepted, facts) == [
            f"package python3: {old} → 3.13", "package libc6: 1 → 2", "package new: none → 1",
        ]  # fmt: skip

    def test_many_packages_are_counted(self, accepted, facts):
        accepted = replace(accepted, inspection={**accepted.inspection, "installed": {"a": "1"}})
        facts["inspection"]["installed"] = {"a": "1", **{f"p{number}": "1" for number in range(30)}}
        assert causes(accepted, facts)[-1] == "22 more packages"
        assert len(causes(accepted, facts)) == 9

    @pytest.mark.parametrize("name", ["kernel", "systemd", "cgroups"])
    def test_what_it_runs_on(self, accepted, facts, name):
        old, facts["inspection"][name] = facts["inspection"][name], "another"
        assert causes(accepted, facts) == [f"{name}: {old} → another"]

    def test_the_unit_and_the_harness(self, accepted, facts):
        facts["inspection"]["unit_text"] += "\n"
        facts["git_commit"] = "f" * 40
        found = causes(accepted, facts)
        assert found[0] == "the unit notes.service"
        assert found[1].endswith(f"→ {'f' * 12}")

    def test_another_identity_alone_is_a_new_harness(self, accepted, facts):
        facts["identity"] = "another"
        assert causes(accepted, facts) == []

    def test_files_and_keys_of_the_scenario(self, accepted, facts):
        path = "/usr/local/lib/notes/notes.py"
        facts["files"] = {**facts["files"], path: "changed", "/etc/new": "1"}
        facts["scenario_data"]["slowdown_max"] = 3
        assert causes(accepted, facts) == [
            "file /etc/new of the scenario: new", f"file {path} of the scenario: changed", "the scenario: slowdown_max",
        ]  # fmt: skip
