"""harness on a host with systemd 257 and cgroup v2 alone: in a guest, with real machines inside it.

The short form takes some minutes; `V2=all` adds the whole tune of `scenarios/notes.toml`, directives and limits, and
the longer tests. Without a tracer on purpose: a run without one must work, and in an emulator one would take longer
than the trials it saves.
"""

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness import samples
from harness.observation import Observation
from harness.stored import think_again
from harness.unit import catalogue
from harness.unit.canary import CanaryResult, Standing
from harness.unit.quantity import MIB
from tests.cli.command import NEEDS_TWO, few, recommendation
from tests.conftest import unavailable
from tests.guest.guest import Result, run
from tests.guest.image import PROJECT, GuestError
from tests.services.appetite import HELD_MIB, NOISE_MIB
from tests.systemd import test_limits, tiny

pytestmark = [pytest.mark.v2, pytest.mark.boots, pytest.mark.timeout(5400)]
whole = pytest.mark.skipif(os.environ.get("V2") != "all", reason="takes long; set V2=all")

# An emulated processor is some twenty times slower, and a test's own limit is there for what hangs.
PYTEST = ("pytest", "-p", "no:cacheprovider", "-W", "ignore::DeprecationWarning", "--timeout=1200", "--durations=5")
# So much longer may a step of a scenario take there.
PATIENCE = 6
SHORT = (
    "tests/systemd/test_unified.py",
    "tests/systemd/test_machines.py::test_boots_to_running_without_failed_units",
    "tests/systemd/test_limits.py::test_samples_are_taken_and_kept",
    "tests/systemd/test_ends.py::test_kill_9_ends_the_machine_and_the_next_start_removes_the_rest",
)
# What is deployed: units of the machine's own systemd are looked at, changed and watched.
DEPLOYED = ("tests/systemd/test_check.py", "tests/deploy/test_apply.py", "tests/deploy/test_watch.py")
LONG = (
    "tests/systemd/test_machines.py",
    "tests/systemd/test_canaries.py",
    "tests/systemd/test_ends.py",
    "tests/systemd/test_pool.py",
    "tests/systemd/test_limits.py::test_systemd_reads_back_what_was_meant",
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


def notes(folder: Path) -> Path:
    """The scenario `notes`, with fewer runs for its limits and less load: all takes twenty times as long there."""
    shutil.copytree(PROJECT / "scenarios" / "notes", folder / "notes")
    workload = folder / "notes" / "workload.py"
    workload.write_text(re.sub(r"LOAD_ROUNDS = \d+", "LOAD_ROUNDS = 400", workload.read_text()))
    path = folder / "notes.toml"
    few_runs = "runs = 5\nconfirm_runs = 4\nmax_trials = 32\nmemory_high = true\n"
    text = (PROJECT / "scenarios" / "notes.toml").read_text()
    patient = re.sub(r"timeout_s = (\d+)", lambda found: f"timeout_s = {PATIENCE * int(found[1])}", text)
    path.write_text(f"{patient}\n[limits]\n{few_runs}")
    return path


@whole
def test_limits_that_only_v2_has(tmp_path):
    """What is held is known: the limit by which it is slowed down lies close above that."""
    made = appetite("holds", tmp_path / "scenario")
    tune = f"harness tune brought/{made.name} --only limits --results out/results"
    out = in_guest(tune, tmp_path, timeout_s=1800, brought=made.parent).out
    _, run_facts, answer = facts(out)
    assert (run_facts["state"], run_facts["inspection"]["cgroups"]) == ("done", "v2")
    check_limits(out, answer["limits"])
    high = next(item for item in answer["limits"]["limits"] if item["directive"] == "MemoryHigh")
    assert HELD_MIB * MIB <= high["number"] <= 1.25 * (HELD_MIB + NOISE_MIB + 10) * MIB


def appetite(what: str, folder: Path) -> Path:
    """The scenario of a service that takes a known amount of something."""
    few_runs = test_limits.FEW + "memory_high = true\n"
    made = test_limits.scenario(folder, what, limits=few_runs, load_s=1, alone=["CPUQuota"])
    return made.path


@whole
def test_notes_is_tuned_with_directives_and_limits(tmp_path):
    (tmp_path / "scenario").mkdir()
    path = notes(tmp_path / "scenario")
    tune = f"harness tune brought/{path.name} --results out/results"
    out = in_guest(tune, tmp_path, timeout_s=5000, brought=path.parent).out
    answer = check_run(out)
    assert answer["exposure_before"] >= 9.0
    assert answer["exposure_after"] <= 1.2
    assert answer["confirmed"] == 3
    check_limits(out, answer["limits"])


def check_limits(out: Path, found: dict[str, Any]) -> None:
    """Limits that only cgroup v2 has are there, and what only it counts was seen and used."""
    assert found["state"] == "confirmed", found["stop"]
    values = {item["directive"]: item for item in found["limits"]}
    assert {"MemoryHigh", "MemoryMax", "TasksMax"} <= set(values)
    assert values["MemoryHigh"]["number"] < values["MemoryMax"]["number"]
    folder, _, _ = facts(out)
    lines = (folder / "observations.jsonl").read_text().splitlines()
    seen = [Observation.from_json(line) for line in lines]
    measured = [item for item in seen if item.purpose == "measure"]
    assert all(item.counters.memory_peak_bytes for item in measured)
    killed = [item for item in seen if item.purpose == "cliff" and item.counters.oom_kills]
    assert killed
    assert {"oom-kill"} <= {state.result for item in killed for state in (item.at_work, item.after_stop)}
    frame = samples.read(folder / "trials" / measured[0].trial_id)
    assert frame is not None
    for column in ("memory_pressure_usec", "cpu_pressure_usec", "memory_kernel_bytes", "cpu_usage_usec"):
        assert frame[column].notna().any(), column


@whole
def test_the_longer_tests_pass(tmp_path):
    in_guest(shlex.join(PYTEST + LONG), tmp_path, timeout_s=1800)


@whole
@pytest.mark.parametrize("path", DEPLOYED)
def test_what_is_deployed_is_checked_changed_and_watched(tmp_path, path):
    in_guest(shlex.join([*PYTEST, path]), tmp_path, timeout_s=3000)


# The timer's random delay would take up to an hour. It is stopped once it has fired: a night takes longer than a minute
# there, and the timer would start the next one at once.
BY_TIMER = """\
set -e
harness tune brought/tiny.toml --only directives --results out/results
harness accept out/results/tiny-* --results out/results
harness nightly brought/tiny.toml --results out/results --search never --install --yes --calendar minutely
mkdir -p /etc/systemd/system/harness-nightly.timer.d
printf '[Timer]\\nRandomizedDelaySec=0\\n' >/etc/systemd/system/harness-nightly.timer.d/now.conf
systemd-analyze verify harness-nightly.service harness-nightly.timer
systemctl daemon-reload
systemctl start harness-nightly.timer
until test "$(systemctl show -P ExecMainStartTimestampMonotonic harness-nightly.service)" != 0; do sleep 1; done
systemctl stop harness-nightly.timer
until test "$(systemctl show -P ExecMainExitTimestampMonotonic harness-nightly.service)" != 0; do sleep 5; done
systemctl show harness-nightly.service -p Result -p ExecMainStatus -p NRestarts >out/service
journalctl -u harness-nightly.service -o cat --no-pager >out/journal
"""


@whole
def test_a_night_is_spent_by_the_timer_that_was_installed(tmp_path):
    made = tiny.write(tmp_path / "scenario", tables=NEEDS_TWO, head=few())
    out = in_guest(BY_TIMER, tmp_path, timeout_s=2700, brought=made.parent).out
    shown = (out / "service").read_text()
    assert {"Result=success", "ExecMainStatus=0"} <= set(shown.split()), (out / "journal").read_text()
    (file,) = (out / "results" / "nights").glob("*/nightly.json")
    assert [item["word"] for item in json.loads(file.read_text())["services"]] == ["same"]
    assert (out / "results" / "nights" / "index.html").exists()
