"""harness on a host with systemd 257 and cgroup v2 alone: in a guest, with real machines inside it.

The short form takes some minutes; `V2=all` adds the whole search of directives for `scenarios/notes.toml`, and the
longer tests. Without a tracer on purpose: a run without one must work, and in an emulator one would take longer than
the trials it saves.
"""

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.stored import think_again
from harness.unit import catalogue
from harness.unit.canary import CanaryResult, Standing
from tests.cli.command import NEEDS_TWO, few, recommendation
from tests.conftest import unavailable
from tests.guest.guest import Result, run
from tests.guest.image import GuestError
from tests.systemd import tiny

pytestmark = [pytest.mark.v2, pytest.mark.boots, pytest.mark.timeout(3600)]
whole = pytest.mark.skipif(os.environ.get("V2") != "all", reason="takes long; set V2=all")

# An emulated processor is some twenty times slower, and a test's own limit is there for what hangs.
PYTEST = ("pytest", "-p", "no:cacheprovider", "-W", "ignore::DeprecationWarning", "--timeout=1200", "--durations=5")
SHORT = (
    "tests/systemd/test_unified.py",
    "tests/systemd/test_machines.py::TestSideBySide",
    "tests/systemd/test_machines.py::test_boots_to_running_without_failed_units",
    "tests/systemd/test_machines.py::test_is_a_system_of_its_own",
    "tests/systemd/test_machines.py::test_a_service_makes_device_nodes_and_opens_the_harmless_ones",
    "tests/systemd/test_machines.py::test_writing_into_the_root_changes_no_file_of_the_host",
    "tests/systemd/test_ends.py::test_kill_of_the_systemd_inside",
    "tests/systemd/test_ends.py::test_kill_9_ends_the_machine_and_the_next_start_removes_the_rest",
)
LONG = (
    "tests/systemd/test_machines.py",
    "tests/systemd/test_canaries.py",
    "tests/systemd/test_ends.py",
    "tests/systemd/test_pool.py",
    *(f"tests/systemd/test_known_answers.py::test_finds[{name}]" for name in ("etc_new", "tmp_read")),
)


def in_guest(command: str, folder: Path, *, timeout_s: float, brought: Path | None = None) -> Result:
    """Run it there; what went wrong is printed. Ends the test where no guest can be had."""
    if shutil.which("mmdebstrap") is None:
        unavailable("mmdebstrap is not installed (`make test-v2` installs it)")
    try:
        result = run(command, folder, timeout_s=timeout_s, brought=brought)
    except GuestError as error:
        unavailable(f"no guest can be had: {error}")
    log = result.out / "log"
    print(log.read_text(errors="replace") if log.exists() else result.console[-4000:])
    assert result.status == 0
    return result


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The run folder of a small service, of which only a few directives are searched."""
    folder = tmp_path_factory.mktemp("small")
    scenario = tiny.write(folder / "scenario", tables=NEEDS_TWO, head=few())
    tune = f"harness tune brought/{scenario.name} --only directives --results out/results"
    return in_guest(f"{shlex.join(PYTEST + SHORT)} && {tune}", folder, timeout_s=900, brought=scenario.parent).out


def facts(out: Path) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The one run below `out`: its folder, what is known of the host, and the answer."""
    (file,) = (out / "results").glob("*/run.json")
    answer = json.loads((file.parent / "derived" / "recommendation.json").read_text())
    return file.parent, json.loads(file.read_text()), answer


def check_run(out: Path) -> dict[str, Any]:
    """What holds of every run there; the answer."""
    folder, run_facts, answer = facts(out)
    assert run_facts["state"] == "done"
    assert run_facts["inspection"]["cgroups"] == "v2"
    assert run_facts["inspection"]["systemd_version"] == 257
    canaries = [CanaryResult.from_json(item) for item in run_facts["canaries"]]
    assert {item.directive for item in canaries if item.standing is Standing.VACUOUS} == {"RestrictFileSystems"}
    unknown = [item.detail for item in canaries if item.standing is Standing.UNKNOWN]
    assert [detail for detail in unknown if not detail.startswith("needs systemd 258")] == []
    lines = (folder / "observations.jsonl").read_text().splitlines()
    seen = {item["trial_id"]: item for item in map(json.loads, lines)}
    assert all(item["counters"]["memory_peak_bytes"] for item in seen.values() if item["counters"]["tasks_peak"])
    assert any(item["counters"]["tasks_peak"] for item in seen.values())
    assert {item["trial"] for item in answer["settings"] if item["trial"]} <= set(seen)
    assert answer["settings"]
    assert answer["state"] == "tight"
    known = catalogue.load()
    assert all(known[item["directive"]].version <= 257 for item in answer["settings"])
    # What was observed there means the same here.
    before = recommendation(folder)
    think_again(folder)
    assert recommendation(folder) == before
    return answer


def test_machines_work_and_a_small_service_is_tuned(small):
    answer = check_run(small)
    assert len(answer["refused"]) == 2
    assert answer["exposure_after"] < answer["exposure_before"]


@whole
def test_notes_is_tuned(tmp_path):
    out = in_guest(
        "harness tune scenarios/notes.toml --only directives --results out/results", tmp_path, timeout_s=1500
    ).out
    answer = check_run(out)
    assert answer["exposure_before"] >= 9.0
    assert answer["exposure_after"] <= 1.2
    assert answer["confirmed"] == 3


@whole
def test_the_longer_tests_pass(tmp_path):
    in_guest(shlex.join(PYTEST + LONG), tmp_path, timeout_s=1800)
