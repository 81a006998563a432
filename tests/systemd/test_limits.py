"""Limits of services that take a known amount of one thing, and what systemd makes of the limits that are written."""

import os
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


def scenario(folder: Path, what: str, *, unit: str = "", limits: str = FEW, load_s: float = 1.5) -> Scenario:
    beside = folder / "appetite"
    beside.mkdir(parents=True)
    (beside / "appetite.py").write_bytes(Path(appetite.__file__).read_bytes())
    (folder / "unit").write_text(UNIT.format(what=what) + unit)
    path = folder / "appetite.toml"
    path.write_text(
        'format = 1\nunit = "appetite.service"\nbaseline_runs = 1\nconfirm_runs = 1\nslowdown_max = 10\n'
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


def test_memory_that_is_held(tmp_path):
    found, store = fitted(tmp_path, "holds")
    assert found.state is State.CONFIRMED, found.stop
    least = appetite.HELD_MIB * MIB
    assert least <= found.limits.memory_bytes <= 1.25 * (least + (appetite.NOISE_MIB + 10) * MIB)
    again, _ = think_again(store.folder)
    assert again.limits is not None
    assert again.limits.limits == found.limits
    text = (store.derived / "appetite.service.d" / "50-harness.conf").read_text()
    assert all(f"\n{item.line}\n" in text for item in advice(found))


def test_tasks_that_are_forked(tmp_path):
    """Cut off in the middle of the limits, it goes on where it was and repeats no trial."""
    made = scenario(tmp_path / "scenario", "forks")
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
def test_processor_time_in_bursts(tmp_path):
    found, _ = fitted(tmp_path, "burns")
    truth = 100 * appetite.BURN_S / appetite.PERIOD_S
    assert truth <= found.limits.quota_percent <= 1.2 * truth


@thorough
def test_descriptors(tmp_path):
    found, _ = fitted(tmp_path, "descriptors")
    assert appetite.DESCRIPTORS < found.limits.files <= 1.3 * appetite.DESCRIPTORS


@thorough
def test_page_cache_is_no_need(tmp_path):
    found, _ = fitted(tmp_path, "caches")
    assert found.limits.memory_bytes <= 1.25 * (appetite.SMALL_MIB + 15) * MIB


@thorough
def test_a_leak_is_said_with_its_rate(tmp_path):
    found, _ = fitted(tmp_path, "leaks", load_s=4)
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


@pytest.mark.parametrize("unit", ["tiny.service", "tiny@one.service"])
def test_systemd_reads_back_what_was_meant(tmp_path, unit):
    limits = LimitSet(memory_bytes=parse_size("4160K"), quota_percent=37, period_s=1.0, tasks=41, files=876)
    lines = "".join(f"{name}={value}\n" for name, value in limits.settings())
    name = unit.replace("@one", "@")
    text = f"[Service]\nExecStart=/bin/sleep infinity\n{lines}".encode()
    with Machine(MachineSpec(files={f"/etc/systemd/system/{name}": (text, 0o644, (0, 0))})) as machine:
        service = Service(machine, unit)
        assert service.act("start", timeout_s=10) == ""
        shown = service.show(
            ["MemoryMax", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "TasksMax", "LimitNOFILE", "Slice"]
        )
        assert shown.pop("Slice") in ("system.slice", "system-tiny.slice")
        assert shown == {
            "MemoryMax": str(limits.memory_bytes),
            "CPUQuotaPerSecUSec": "370ms",
            "CPUQuotaPeriodUSec": "1s",
            "TasksMax": "41",
            "LimitNOFILE": "876",
        }
        group = service.status().control_group
        assert control_group(service.show(["Slice"])["Slice"], unit) == group


def _unit(made: Scenario):
    from harness.unit.unitfile import parse

    return parse((made.path.parent / "unit").read_text())
