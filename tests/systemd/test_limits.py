"""Limits of services that take a known amount of one thing, and what systemd makes of the limits that are written."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness import samples
from harness.errors import BudgetError
from harness.limits.advice import advice
from harness.limits.found import Found, State
from harness.limits.limitset import LimitSet
from harness.machine.boot import Machine, MachineSpec
from harness.machine.sampler import control_group
from harness.machine.service import Service
from harness.results.store import Store
from harness.scenario import Scenario, load
from harness.session import Options, tune
from harness.stored import think_again
from harness.trial.run import Trial, run_trial
from harness.tune import Only
from harness.unit.quantity import MIB, parse_size
from tests.services import appetite

pytestmark = pytest.mark.boots
UNIT = """\
[Service]
Type=exec
ExecStart=/usr/bin/python3 -ISB /harness-scenario/appetite.py {what}
RuntimeDirectory=appetite
TimeoutStopSec=5
"""
FEW = "runs = 5\nconfirm_runs = 2\nmax_trials = 30\n"
thorough = pytest.mark.skipif(os.environ.get("KNOWN_ANSWERS") != "all", reason="KNOWN_ANSWERS=all runs it")


def scenario(
    folder: Path, what: str, *, unit: str = "", limits: str = FEW, load_s: float = 1.5, alone: Sequence[str] = ()
) -> Scenario:
    left = ", ".join(f'{name} = "not what this is about"' for name in alone)
    beside = folder / "appetite"
    beside.mkdir(parents=True)
    (beside / "appetite.py").write_bytes(Path(appetite.__file__).read_bytes())
    (folder / "unit").write_text(UNIT.format(what=what) + unit)
    path = folder / "appetite.toml"
    path.write_text(
        'format = 1\nunit = "appetite.service"\nbaseline_runs = 1\nconfirm_runs = 1\nslowdown_max = 10\n'
        f"leave_alone = {{ {left} }}\n"
        'files = [{ source = "unit", target = "/etc/systemd/system/appetite.service" }]\n'
        '[ready]\nrun = "test -e /run/appetite/ready"\n'
        f'[[steps]]\nname = "a while"\nkind = "load"\nrun = "sleep {load_s}"\n[limits]\n{limits}'
    )
    return load(path)


def fitted(tmp_path: Path, what: str, **kinds: object) -> tuple[Found, Store]:
    options = Options(results=tmp_path / "results", workers=2, only=Only.LIMITS)
    answer, store = tune(scenario(tmp_path / "scenario", what, **kinds), options)  # type: ignore[arg-type]
    assert answer.limits is not None
    return answer.limits, store


@pytest.mark.alone
def test_memory_that_is_held(tmp_path):
    found, store = fitted(tmp_path, "holds", load_s=0.5, limits=FEW + "memory_high = true\n")
    assert found.state is State.CONFIRMED, found.stop
    least = appetite.HELD_MIB * MIB
    fitted_bytes = found.limits.memory_high_bytes or found.limits.memory_bytes
    assert least <= fitted_bytes <= 1.25 * (least + (appetite.NOISE_MIB + 10) * MIB)
    unified = store.facts["inspection"]["cgroups"] == "v2"
    assert (found.limits.memory_high_bytes is not None) == unified
    assert any(note.startswith("no MemoryHigh=") for note in found.notes) != unified
    again, _ = think_again(store.folder)
    assert again.limits is not None
    assert again.limits.limits == found.limits
    text = (store.derived / "appetite.service.d" / "50-harness.conf").read_text()
    assert all(f"\n{item.line}\n" in text for item in advice(found))


@pytest.mark.alone
def test_tasks_that_are_forked(tmp_path):
    """Cut off in the middle of the limits, it goes on where it was and repeats no trial."""
    made = scenario(tmp_path / "scenario", "forks", load_s=0.5, alone=["CPUQuota", "MemoryMax"])
    options = Options(results=tmp_path / "results", workers=2, only=Only.LIMITS)
    with pytest.raises(BudgetError):
        tune(made, replace(options, max_trials=8))
    answer, store = tune(made, options)
    ids = [observation.trial_id for observation in store.observations()]
    assert sorted(ids) == sorted(set(ids))
    assert len(ids) == answer.trials
    found = answer.limits
    assert found.state is State.CONFIRMED, found.stop
    assert found.tasks_cliff.worked == appetite.CHILDREN + 1
    assert found.limits.tasks <= appetite.CHILDREN + 1 + 2


@thorough
@pytest.mark.alone
def test_processor_time_in_bursts(tmp_path):
    found, _ = fitted(tmp_path, "burns", alone=["MemoryMax"])
    truth = 100 * appetite.BURN_S / appetite.PERIOD_S
    assert truth <= found.limits.quota_percent <= 1.2 * truth


@thorough
@pytest.mark.alone
def test_where_stalls_are_allowed_the_quota_is_over_a_second(tmp_path):
    """What takes 30 ms in every 100 takes as much of every second, so that nothing is gained; and nothing is lost."""
    found, store = fitted(tmp_path, "burns", limits=FEW + "stalls = true\n", load_s=3, alone=["MemoryMax"])
    truth = 100 * appetite.BURN_S / appetite.PERIOD_S
    assert found.state is State.CONFIRMED, found.stop
    assert found.limits.period_s == 1.0
    assert truth <= found.limits.quota_percent <= 1.2 * truth
    assert "\nCPUQuotaPeriodSec=1s\n" in (store.derived / "appetite.service.d" / "50-harness.conf").read_text()


@thorough
@pytest.mark.alone
@pytest.mark.parametrize(("unit", "said"), [("User=nobody\n", "dedicated_user = true\n"), ("DynamicUser=yes\n", "")])
def test_processes_of_a_user_of_its_own(tmp_path, unit, said):
    alone = ["CPUQuota", "MemoryMax"]
    found, _ = fitted(tmp_path, "forks", unit=unit, limits=FEW + said, load_s=0.5, alone=alone)
    assert found.state is State.CONFIRMED, found.stop
    assert appetite.CHILDREN + 1 <= found.limits.processes == found.limits.tasks


@thorough
@pytest.mark.alone
def test_the_units_own_limit_bounds_the_answer_and_censors_the_baseline(tmp_path):
    unit, alone = f"TasksMax={appetite.CHILDREN + 1}\n", ["CPUQuota", "MemoryMax"]
    found, _ = fitted(tmp_path, "forks", unit=unit, load_s=0.5, alone=alone)
    assert found.state is State.CONFIRMED, found.stop
    assert found.limits.tasks == appetite.CHILDREN + 1
    assert any("are censored (tasks came up against TasksMax=)" in note for note in found.notes)


@thorough
@pytest.mark.alone
def test_descriptors(tmp_path):
    found, _ = fitted(tmp_path, "descriptors", load_s=0.5, alone=["CPUQuota", "MemoryMax"])
    assert appetite.DESCRIPTORS < found.limits.files <= 1.3 * appetite.DESCRIPTORS


@thorough
@pytest.mark.alone
def test_page_cache_is_no_need(tmp_path):
    found, _ = fitted(tmp_path, "caches", alone=["CPUQuota"])
    assert found.limits.memory_bytes <= 1.25 * (appetite.SMALL_MIB + 15) * MIB


@thorough
@pytest.mark.alone
def test_a_leak_is_said_with_its_rate(tmp_path):
    found, _ = fitted(tmp_path, "leaks", load_s=4, alone=["CPUQuota"])
    assert found.leak is not None
    assert found.limits.memory_bytes is None
    assert found.leak.bytes_per_s == pytest.approx(MIB, rel=0.25)


def test_samples_are_taken_and_kept(tmp_path):
    made = scenario(tmp_path / "scenario", "forks")
    text = LimitSet().drop_in("[Service]\n", _unit(made))
    observation = run_trial(Trial(made, "0001", "x", text, 1, sampled=True, folder=tmp_path / "trial"))
    assert all(step.ok for step in observation.steps), observation.steps
    frame = samples.read(tmp_path / "trial")
    assert list(frame.columns) == list(samples.COLUMNS)
    assert frame["tasks"].max() == appetite.CHILDREN + 1
    assert frame["memory_anon_bytes"].max() > MIB
    assert frame["cpu_usage_usec"].max() > 0
    assert observation.sampling.samples == len(frame)
    peaks = [process.memory_peak_bytes for process in observation.processes]
    assert len(peaks) == appetite.CHILDREN + 1
    assert MIB < max(peaks) < 64 * MIB


@pytest.mark.parametrize("unit", ["tiny.service", "tiny@one.service"])
def test_systemd_reads_back_what_was_meant(tmp_path, unit):
    sizes = {"memory_bytes": parse_size("4160K"), "memory_high_bytes": parse_size("3M")}
    limits = LimitSet(**sizes, quota_percent=37, period_s=1.0, tasks=41, files=876, processes=43)
    lines = "".join(f"{name}={value}\n" for name, value in limits.settings())
    name = unit.replace("@one", "@")
    text = f"[Service]\nExecStart=/bin/sleep infinity\n{lines}".encode()
    with Machine(MachineSpec(files={f"/etc/systemd/system/{name}": (text, 0o644, (0, 0))})) as machine:
        service = Service(machine, unit)
        assert service.act("start", timeout_s=10) == ""
        quota = ["CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec"]
        shown = service.show(["MemoryHigh", "MemoryMax", *quota, "TasksMax", "LimitNOFILE", "LimitNPROC", "Slice"])
        assert shown.pop("Slice") in ("system.slice", "system-tiny.slice")
        assert shown == {
            "MemoryHigh": str(limits.memory_high_bytes),
            "MemoryMax": str(limits.memory_bytes),
            "CPUQuotaPerSecUSec": "370ms",
            "CPUQuotaPeriodUSec": "1s",
            "TasksMax": "41",
            "LimitNOFILE": "876",
            "LimitNPROC": "43",
        }
        group = service.status().control_group
        assert control_group(service.show(["Slice"])["Slice"], unit) == group


def _unit(made: Scenario):
    from harness.unit.unitfile import parse

    return parse((made.path.parent / "unit").read_text())
