"""The shipped scenarios in real machines: the baseline passes, and known traps are found where they are known to be."""

import os
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.machine import doctor
from harness.machine.inspect import inspect
from harness.observation import Observation, Stage
from harness.scenario import Scenario, load
from harness.trial.run import Trial, run_trial
from harness.unit.dropin import render
from harness.unit.start import Start, StartKind
from harness.unit.unitfile import parse_cat

pytestmark = pytest.mark.boots
SCENARIOS = Path(__file__).parents[2] / "scenarios"
NAMES = sorted(path.stem for path in SCENARIOS.glob("*.toml"))
# The services that `make test` installs; the others run with `make test-larger`.
BASIC = ("nginx", "notes", "redis")
EACH = [pytest.param(name, marks=() if name in BASIC else pytest.mark.larger) for name in NAMES]
STARTED = "start"  # where a trial ends whose unit does not start
# A unit of Type=exec is started once its program runs; one that dies then is seen then, or while it is waited for.
DIES_AT_ONCE = f"{STARTED} or ready"


class Bench:
    """One scenario, with the drop-in that undoes the sandboxing its unit is shipped with."""

    def __init__(self, name: str) -> None:
        self.scenario: Scenario = load(SCENARIOS / f"{name}.toml")
        missing = doctor.missing_packages(self.scenario.packages, Path(self.scenario.root))
        shown = ((tree.made_by, self.scenario.tree_paths[tree.target]) for tree in self.scenario.trees)
        missing += [f"`{made_by}`" for made_by, path in shown if not path.is_dir()]
        try:
            doctor.require()
        except HarnessError as error:
            missing.append(error.message)
        if missing:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"missing: {', '.join(missing)}")
        unit = parse_cat(inspect(self.scenario).unit_text)
        self.stripped = render((), Start.of(unit, StartKind.STRIPPED))

    def trial(self, *lines: str, seed: int = 1) -> Observation:
        drop_in = self.stripped + "".join(f"{line}\n" for line in lines)
        return run_trial(Trial(self.scenario, "0001", "x", drop_in, seed))


_benches: dict[str, Bench] = {}


def bench(name: str) -> Bench:
    if name not in _benches:
        _benches[name] = Bench(name)
    return _benches[name]


def ended_at(observation: Observation) -> str:
    """Name of the step that failed, `start`, or empty when all went well."""
    assert not observation.lost
    if observation.start_problem:
        return STARTED
    return next((step.name for step in observation.steps if not step.ok), "")


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_stripped_baseline_passes(name: str, seed: int) -> None:
    observation = bench(name).trial(seed=seed)
    assert ended_at(observation) == ""
    assert observation.reached is Stage.DONE
    assert not observation.stop_problem
    assert not observation.at_work.restarts
    assert observation.after_stop.result == "success"


@pytest.mark.parametrize("name", EACH)
def test_the_shipped_unit_passes(name: str) -> None:
    tried = bench(name)
    observation = run_trial(Trial(tried.scenario, "0001", "x", "", 1))
    assert ended_at(observation) == ""
    assert observation.reached is Stage.DONE


TRAPS = [
    ("redis", ("ProtectSystem=full",), "config rewrite"),
    ("redis", ("ProtectSystem=strict",), STARTED),
    ("redis", ("ReadOnlyPaths=/var/lib/redis",), "save"),
    ("redis", ("TasksMax=5",), "background save"),
    ("redis", ("SystemCallFilter=~rename",), "save"),
    ("redis", ("RestrictAddressFamilies=AF_UNIX",), STARTED),
    ("nginx", ("CapabilityBoundingSet=~CAP_CHOWN",), "requests are in the new logs"),
    ("nginx", ("SystemCallFilter=~@chown",), "requests are in the new logs"),
    ("nginx", ("ProtectSystem=strict",), STARTED),
    ("nginx", ("CapabilityBoundingSet=~CAP_DAC_OVERRIDE",), STARTED),
    ("nginx", ("CapabilityBoundingSet=~CAP_SETUID",), "ready"),
    ("nginx", ("ReadOnlyPaths=/var/lib/nginx",), "upload through the proxy, by way of the disk"),
    ("nginx", ("LimitFSIZE=5M",), "proxied answer for a slow client, by way of the disk"),
    ("nginx", ("ReadOnlyPaths=/var/cache/nginx",), "cached answer"),
    ("nginx", ("InaccessiblePaths=/var/www/html",), "default site"),
    ("notes", ("RestrictAddressFamilies=AF_UNIX",), DIES_AT_ONCE),
    ("notes", ("LimitFSIZE=1M",), "attachment"),
    ("notes", ("SystemCallFilter=~mkdir mkdirat", "SystemCallErrorNumber=EPERM"), "attachment"),
    ("notes", ("InaccessiblePaths=/usr/bin/dash",), "preview by a child process"),
    ("notes", ("SystemCallFilter=~kill",), "reload"),
    ("notes", ("ReadOnlyPaths=/var/log/notes",), DIES_AT_ONCE),
]


@pytest.mark.parametrize(("name", "lines", "step"), TRAPS, ids=[f"{name}-{lines[0]}" for name, lines, _ in TRAPS])
def test_a_known_trap_is_found_at_its_step(name: str, lines: tuple[str, ...], step: str) -> None:
    assert ended_at(bench(name).trial(*lines)) in step.split(" or ")


HARMLESS = [
    ("redis", ("ProtectHome=yes", "PrivateTmp=yes", "CapabilityBoundingSet=", "NoNewPrivileges=yes")),
    ("redis", ("ProtectSystem=strict", "ReadWritePaths=/etc/redis /var/lib/redis /var/log/redis /run/redis")),
    ("nginx", ("ProtectSystem=full", "ProtectHome=yes", "PrivateTmp=yes", "MemoryDenyWriteExecute=yes")),
    ("nginx", ("ProtectSystem=strict", "ReadWritePaths=/var /run")),
    # systemd makes StateDirectory= and LogsDirectory= writable below a read-only system (systemd.exec(5)).
    ("notes", ("ProtectSystem=strict",)),
    ("notes", ("CapabilityBoundingSet=", "RestrictAddressFamilies=AF_INET", "SystemCallFilter=@system-service")),
]


@pytest.mark.parametrize(
    ("name", "lines"), HARMLESS, ids=[f"{name}-{' '.join(lines)[:40]}" for name, lines in HARMLESS]
)
def test_what_a_service_does_not_need_passes(name: str, lines: tuple[str, ...]) -> None:
    observation = bench(name).trial(*lines)
    assert ended_at(observation) == ""
    assert observation.reached is Stage.DONE
    assert not observation.stop_problem
