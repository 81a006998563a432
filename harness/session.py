"""One run from the command line's point of view: its folder, its resumption, its interruption, its written answer."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import harness
from harness import stored
from harness.attempts import Attempts
from harness.bare import start_of
from harness.errors import BaselineError, BudgetError, Interrupted, MachineError, UsageError
from harness.inspection import Inspection
from harness.judge.rules import judge
from harness.judge.verdict import Verdict
from harness.machine import canaries, doctor, shell
from harness.machine.inspect import inspect, version_number
from harness.machine.leftovers import remove_leftovers
from harness.observation import Observation
from harness.results.earlier import Earlier
from harness.results.folder import Run
from harness.results.recommendation import Answer
from harness.results.store import Store
from harness.scenario import Scenario
from harness.search.result import Progress, Stop
from harness.trial.pool import Pool
from harness.trial.run import Trial, run_trial
from harness.tune import Limits, Only, Walk
from harness.unit import catalogue, dropin
from harness.unit.canary import CanaryResult
from harness.unit.unitfile import parse, parse_cat

STOPPED = "stopped by Ctrl-C"
GO_ON = "run the same command again: it goes on where it stopped and repeats no trial"


@dataclass(frozen=True)
class Listener:
    """Who is told how a run goes on; the default tells nobody."""

    phase: Callable[[str, Progress | None], None] = lambda phase, progress: None
    observation: Callable[[Observation], None] = lambda observation: None
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class Options:
    """What the user may say about a run beside the scenario."""

    results: Path = Path("results")
    workers: int = 0
    max_trials: int | None = None
    max_minutes: float | None = None
    fresh: bool = False
    only: Only = Only.BOTH
    earlier: Path | None = None
    full: bool = False

    @property
    def machines(self) -> int:
        """Machines side by side: as asked, or one per processor."""
        return self.workers or len(os.sched_getaffinity(0))


def check_ready(scenario: Scenario) -> None:
    """Raise before any work starts when this host or the root tree lacks something.

    UsageError names every missing program or package, with the line that installs them.
    """
    doctor.require()
    missing = doctor.missing_packages(scenario.packages, Path(scenario.root))
    if missing:
        where = "" if scenario.root == "/" else f" in {scenario.root}"
        raise UsageError(
            f"{scenario.path}: packages not installed{where}: {', '.join(missing)}",
            hint=f"apt-get install --no-install-recommends {' '.join(missing)}",
        )
    for shown in scenario.trees:
        if not scenario.tree_paths[shown.target].is_dir():
            raise UsageError(f"{scenario.path}: there is no directory {shown.source}", hint=f"run `{shown.made_by}`")


@dataclass(frozen=True)
class Session:
    """One run while it is open: its folder is locked, and Ctrl-C ends it in order."""

    scenario: Scenario
    store: Store
    inspection: Inspection
    pool: Pool
    options: Options
    listener: Listener

    def walk(self) -> Walk:
        """A walk over the run from its beginning: what is stored is served, what is missing is tried."""
        began = time.monotonic()
        spent_s = self.spent_s

        def expired() -> bool:
            most = self.options.max_minutes
            return self.pool.stopped or (most is not None and time.monotonic() - began > 60 * most)

        def heard(observation: Observation) -> None:
            self.store.update(duration_s=round(spent_s + time.monotonic() - began, 1))
            self.listener.observation(observation)

        attempts = Attempts(self.store, self.scenario, self.pool)
        attempts.heard = heard
        return Walk(
            self.scenario,
            self.inspection,
            attempts,
            self.pool.workers,
            stored.tree_of(self.store, self.scenario),
            limits=Limits(max_trials=self.options.max_trials, expired=expired),
            heard=self.listener.phase,
            **stored.parts(self.store),
        )

    def finish(self) -> Answer:
        """Walk to the end and write the answer. Raises BudgetError once a partial one is written."""
        spent_s, began = self.spent_s, time.monotonic()
        walk = self.walk()
        walk.canaries = _canaries(self.store, self.scenario, self.inspection, self.listener)
        try:
            answer = walk.run(spent_s=spent_s + time.monotonic() - began)
        except BaselineError:
            # Stored, its trials would fail the same way for ever: what was mended may be outside the scenario.
            self.store.update(state="failed")
            raise
        except MachineError as error:
            if not self.pool.stopped:
                raise
            self.store.update(state="partial", stop=STOPPED)
            raise Interrupted(f"{STOPPED} before the baseline was done: nothing is decided yet", hint=GO_ON) from error
        stored.write_derived(self.store, answer)
        if self.pool.stopped or answer.result.stop is not Stop.TIGHT or answer.is_cut_off:
            why = STOPPED if self.pool.stopped else answer.stop
            self.store.update(state="partial", stop=why)
            raise (Interrupted if self.pool.stopped else BudgetError)(
                f"stopped before the end ({why}); what is sure so far is in {self.store.derived}",
                hint=GO_ON,
            )
        ended = {"stop": answer.result.stop.value, "trials": answer.trials, "duration_s": round(answer.duration_s, 1)}
        self.store.update(state="done", **ended)
        return answer

    @property
    def spent_s(self) -> float:
        """Time that the run took so far, in all its sessions."""
        return float(self.store.facts.get("duration_s", 0.0))


@contextmanager
def opened(scenario: Scenario, options: Options, listener: Listener) -> Iterator[Session]:
    """A new run of a scenario, or one that was cut off, open to be worked on.

    Raises HarnessError of every kind; Ctrl-C outside the trials becomes BudgetError.
    """
    check_ready(scenario)
    for path in remove_leftovers():
        listener.note(f"removed what an earlier run left: {path}")
    store = _open(scenario, options, listener)
    store.lock()
    try:
        inspection = _inspection(store, scenario, listener)
        pool = Pool(int(store.facts["workers"]))
        with interruptible(pool, listener):
            if options.earlier is not None and "earlier" not in store.facts:
                earlier = Earlier.of(Run.open(options.earlier), scenario, inspection, full=options.full)
                store.keep_earlier_baseline(earlier.baseline)
                store.update(earlier=earlier.to_facts())
            yield Session(scenario, store, inspection, pool, options, listener)
    except KeyboardInterrupt as error:
        # Before or after the walk, or asked twice: nothing is in flight any more, and what was stored is safe.
        raise Interrupted(STOPPED, hint=GO_ON) from error
    finally:
        store.unlock()


def tune(scenario: Scenario, options: Options, listener: Listener | None = None) -> tuple[Answer, Store]:
    """Tune one scenario, or go on with a run of it that was cut off, and write the answer.

    Raises HarnessError of every kind; a partial answer is written before BudgetError.
    """
    with opened(scenario, options, listener or Listener()) as session:
        return session.finish(), session.store


def _open(scenario: Scenario, options: Options, listener: Listener) -> Store:
    identity = scenario.identity() + ("" if options.only is Only.BOTH else f" {options.only.value}")
    if options.earlier is not None:
        identity += f" from {options.earlier.resolve()}{' in full' if options.full else ''}"
    if not options.fresh:
        store = Store.unfinished(options.results, scenario.name, identity)
        if store is not None:
            listener.note(f"going on with {store.folder}")
            return store
    facts = {
        "identity": identity,
        "scenario_data": json.loads(scenario.model_dump_json(exclude_unset=True)),
        "scenario_path": str(scenario.path),
        "files": scenario.digests(),
        "workers": options.machines,
        "seed": scenario.seed,
        "only": options.only.value,
        "given": _given(scenario, options, listener) if options.only is Only.LIMITS else [],
        "argv": sys.argv[1:],
        "harness": harness.__version__,
        "git_commit": _git_commit(),
    }
    return Store.create(options.results, scenario.name, facts)


def _given(scenario: Scenario, options: Options, listener: Listener) -> list[str]:
    """Labels of what the newest finished run of the same scenario tightened: limits are found on top of that."""
    for file in sorted(options.results.glob(f"{scenario.name}-*/derived/recommendation.json"), reverse=True):
        store = Store.open(file.parents[1])
        same = store.facts.get("identity") in (scenario.identity(), f"{scenario.identity()} directives")
        if same and store.facts["state"] == "done":
            listener.note(f"limits on top of what {store.folder} tightened")
            settings = json.loads(file.read_text(encoding="utf-8"))["settings"]
            return [str(item["label"]) for item in settings]
    listener.note("no finished run of this scenario: limits on top of nothing tightened")
    return []


def _git_commit() -> str:
    """Commit of the checkout this package runs from, "" when it is not one."""
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _inspection(store: Store, scenario: Scenario, listener: Listener) -> Inspection:
    if "inspection" not in store.facts:
        listener.phase("inspect", None)
        store.update(inspection=inspect(scenario).to_facts())
    return Inspection.from_facts(store.facts["inspection"])


def host_canaries() -> tuple[CanaryResult, ...]:
    """The canaries in a machine made from this host's own root tree."""
    banner = shell.run(["systemctl", "--version"]).text
    return canaries.examine(Path("/"), version=version_number(banner))


def _canaries(store: Store, scenario: Scenario, inspection: Inspection, listener: Listener) -> tuple[CanaryResult, ...]:
    """Which directives are really enforced in this host's machines; asked once for a run."""
    if "canaries" not in store.facts:
        listener.phase("canaries", None)
        version, capabilities = inspection.systemd_version, frozenset(scenario.capabilities)
        results = canaries.examine(Path(scenario.root), version=version, capabilities=capabilities)
        store.update(canaries=[result.to_json() for result in results])
    return tuple(CanaryResult.from_json(data) for data in store.facts["canaries"])


@contextmanager
def interruptible(pool: Pool, listener: Listener) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the trials in flight and end the walk in order; a second one ends at once."""
    handled = ExitStack()

    def stop(signum: int, frame: object) -> None:
        handled.close()
        listener.note("stopping: closing the machines and writing what is known (again to stop at once)")
        pool.stop()

    with handled:
        handled.enter_context(shell.handling(dict.fromkeys((signal.SIGINT, signal.SIGTERM), stop)))
        yield


def try_once(scenario: Scenario, drop_in: str) -> tuple[Observation, Verdict]:
    """Run one trial of a scenario and judge it without a baseline: the unit as shipped under a drop-in.

    Without a drop-in ("") it is a baseline trial: where a search would begin.
    """
    check_ready(scenario)
    inspection = inspect(scenario)
    text = drop_in or dropin.render((), start_of(scenario, inspection))
    observation = run_trial(Trial(scenario, "0001", "by-hand", text, scenario.seed))
    verdict = judge(scenario, observation, catalogue=catalogue.load())
    known = _directives_set(inspection.unit_text, drop_in) if drop_in else set()
    suspects = tuple(name for name in verdict.suspects if name.partition("=")[0].partition(" ")[0] in known)
    return observation, replace(verdict, suspects=suspects)


def _directives_set(unit_text: str, drop_in: str) -> set[str]:
    """Names of the directives that a unit or its drop-in sets, with what they bring: only these can be to blame."""
    assigned = {a.key for a in (*parse_cat(unit_text).assignments, *parse(drop_in).assignments)}
    found = {directive.name for directive in catalogue.load() if assigned & set(directive.keys)}
    return found | {"NoNewPrivileges"} if found else found  # a filter of a service with a user brings it
