"""One trial: a candidate's drop-in, a fresh machine, one pass of the scenario, one observation.

A pure function of its `Trial`: everything it needs travels in it, so that another process can run it. It always returns
an observation that says how far it got, however it went wrong; it judges nothing.
"""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from harness.errors import MachineError
from harness.machine import processes, quiet
from harness.machine.boot import Machine, MachineSpec
from harness.machine.kernel import KernelLog
from harness.machine.service import Service, journal_lines, shortened
from harness.machine.tracer import Tracer
from harness.machine.tracer import available as tracing_available
from harness.observation import Counters, JournalLine, Observation, Process, Stage, StepResult
from harness.scenario import Check, Companion, LifeCycle, Scenario
from harness.trial.workload import Workload, environment
from harness.unit.dropin import FILE_NAME as DROP_IN
from harness.unit.exposure import overall

KEPT_LINES = 400
KEPT_FILE_LINES = 100
LOG_BYTES = 256 * 1024
AnyCheck = TypeVar("AnyCheck", bound=Check)


@dataclass(frozen=True)
class Trial:
    """What one trial is made of.

    `trace` asks for a pass under the tracer, where there is one. `patience_s` shortens the time limits of steps by
    name, from what the baseline needed. `folder` is where the raw journal and kernel lines go; None keeps none.
    """

    scenario: Scenario
    trial_id: str
    candidate_id: str
    drop_in: str
    seed: int
    repeat: int = 0
    purpose: str = ""
    tightenings: tuple[str, ...] = ()
    trace: bool = False
    patience_s: dict[str, float] = field(default_factory=dict)
    folder: Path | None = None


class _Stop(Exception):
    """The trial has seen enough: a step failed. Carries nothing; the record holds what happened."""


class _Record:
    """What a trial collects on its way; becomes an observation at the end."""

    def __init__(self, trial: Trial) -> None:
        self.observation = Observation(
            trial_id=trial.trial_id,
            candidate_id=trial.candidate_id,
            seed=trial.seed,
            repeat=trial.repeat,
            purpose=trial.purpose,
            tightenings=trial.tightenings,
        )
        self.steps: list[StepResult] = []
        self.processes: dict[tuple[int, int, int, int], Process] = {}
        self.host_pids: set[int] = set()
        self.sockets: set[str] = set()
        self.cgroup_ids: set[int] = set()
        self.counters = Counters()

    def update(self, **values: object) -> None:
        self.observation = replace(self.observation, **values)  # type: ignore[arg-type]

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long the block takes, however it ends, as `durations_s[name]`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.observation.durations_s[name] = time.monotonic() - began

    def step(self, result: StepResult) -> None:
        """Keep a step's result; a failed one ends the workload."""
        self.steps.append(result)
        if not result.ok:
            raise _Stop

    def see(self, service: Service, *, at: str) -> None:
        """Note the unit's processes and sockets now."""
        pids = service.pids()
        self.host_pids.update(pids)
        if (cgroup_id := service.cgroup_id()) is not None:
            self.cgroup_ids.add(cgroup_id)
        for process in processes.snapshot(service.machine.leader, pids, seen_at=at):
            self.processes.setdefault((process.pid, process.uid, process.gid, process.capabilities), process)
        self.sockets.update(processes.sockets(service.machine.leader, pids))


def run_trial(trial: Trial) -> Observation:
    """Run one trial to its end. Raises nothing of the machine's: a lost one is an observation with `lost` set."""
    record = _Record(trial)
    durations = record.observation.durations_s
    with record.timed("total"):
        try:
            machine = Machine(_spec(trial))
            with ExitStack() as stack:
                tracer = stack.enter_context(Tracer()) if trial.trace and tracing_available() else None
                kernel = stack.enter_context(KernelLog())
                stack.enter_context(machine)
                with record.timed("inside"):
                    _in_machine(trial, machine, record)
                    with record.timed("collect"):
                        _collect(trial, machine, record, kernel)
                machine.check_space()
                if tracer is not None:
                    record.update(seen=tracer.seen(record.cgroup_ids))
            durations.update(machine.durations_s)
        except MachineError as error:
            record.update(lost=f"{error.message}")
    record.update(
        steps=tuple(record.steps),
        processes=tuple(record.processes.values()),
        listening=tuple(sorted(record.sockets)),
        counters=record.counters,
    )
    return record.observation


def _spec(trial: Trial) -> MachineSpec:
    scenario = trial.scenario
    files = dict(scenario.machine_files())
    if trial.drop_in:
        files[f"/etc/systemd/system/{scenario.unit}.d/{DROP_IN}"] = (trial.drop_in.encode(), 0o644, (0, 0))
    units = {scenario.unit, *(companion.unit for companion in scenario.companions if companion.unit)}
    return MachineSpec(
        root=Path(scenario.root),
        files=files,
        keep_units=frozenset(unit for unit in units if quiet.is_masked(unit)),
        capabilities=frozenset(scenario.capabilities),
        addresses=scenario.addresses,
    )


def _in_machine(trial: Trial, machine: Machine, record: _Record) -> None:
    record.update(reached=Stage.BOOTED)
    service = Service(machine, trial.scenario.unit)
    workload = Workload(machine, environment(seed=trial.seed, unit=trial.scenario.unit))
    try:
        for companion in trial.scenario.companions:
            _start_companion(companion, machine, workload, record)
        _start(trial, service, workload, record)
        _work(trial, service, workload, record)
    except _Stop:
        pass
    _take_counters(service, record)
    record.update(at_work=service.status().state)
    _stop(trial, service, record)
    if all(step.ok for step in record.steps) and not record.observation.start_problem:
        try:
            for check in trial.scenario.after:
                record.step(workload.run(_patient(trial, check), name=check.name, part="after", repeat=check.repeat))
            record.update(reached=Stage.DONE)
        except _Stop:
            pass


def _start_companion(companion: Companion, machine: Machine, workload: Workload, record: _Record) -> None:
    name = companion.unit or f"{companion.name}.service"
    if companion.unit is not None:
        done = machine.run(["systemctl", "start", companion.unit])
    else:
        keep = ["systemd-run", "--quiet", f"--unit={name}", "--slice=harness.slice"]
        keep += [f"--setenv={key}={value}" for key, value in workload.env.items()]
        done = machine.run([*keep, "sh", "-c", companion.run or ""])
    problem = ""
    if done.status != 0:
        said = machine.run(["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=5", f"--unit={name}"]).text
        problem = f"the companion did not start: {done.error_text} {said}".strip()[:400]
    record.step(StepResult(name, "companion", "functional", problem, done.status, done.duration_s))
    if companion.ready is not None:
        record.step(workload.poll(companion.ready, name=f"{name} ready", part="companion"))


def _start(trial: Trial, service: Service, workload: Workload, record: _Record) -> None:
    limit_s = trial.patience_s.get("start", trial.scenario.start_timeout_s)
    with record.timed("start"):
        problem = service.act("start", timeout_s=limit_s)
    status = service.status()
    if not problem and status.state.active_state not in ("active", "activating", "reloading"):
        ended = status.state.active_state == "inactive" and status.state.result == "success"
        problem = "" if ended else f"the unit is {status.state.active_state} ({status.state.result}) after its start"
    record.see(service, at="start")
    if problem:
        record.update(start_problem=problem)
        raise _Stop
    record.update(reached=Stage.STARTED)
    with record.timed("ready"):
        record.step(workload.poll(_patient(trial, trial.scenario.ready, "ready"), name="ready", part="ready"))
    service.status()  # a forking service has its final processes only now
    record.see(service, at="ready")
    record.update(reached=Stage.READY)


def _work(trial: Trial, service: Service, workload: Workload, record: _Record) -> None:
    with record.timed("steps"):
        for step in trial.scenario.steps:
            check = _patient(trial, step)
            before_s = processes.cpu_s(service.pids())
            done = workload.run(check, name=step.name, part="steps", kind=step.kind.value, repeat=step.repeat)
            record.step(replace(done, service_cpu_s=max(0.0, processes.cpu_s(service.pids()) - before_s)))
            record.see(service, at=step.name)
    record.update(reached=Stage.STEPS)
    with record.timed("life_cycle"):
        for action in trial.scenario.life_cycle:
            _act(trial, action, service, workload, record)
            record.see(service, at=action.name)
    with record.timed("exposure"):
        record.update(reached=Stage.LIFE_CYCLE, exposure=_exposure(service))


def _exposure(service: Service) -> float | None:
    text = service.exposure_text()
    return overall(text) if text else None


def _act(trial: Trial, action: LifeCycle, service: Service, workload: Workload, record: _Record) -> None:
    if action.do == "run":
        record.step(workload.run(_patient(trial, action), name=action.name, part="life-cycle"))
        return
    began = time.monotonic()
    if action.do == "restart":
        _take_counters(service, record)
    arguments = ("--kill-who=main", f"--signal={action.signal}") if action.do == "signal" else ()
    verb = "kill" if action.do == "signal" else action.do
    problem = service.act(verb, *arguments, timeout_s=action.timeout_s)
    duration_s = time.monotonic() - began
    record.step(StepResult(action.name, "life-cycle", "functional", problem, None, duration_s))
    if action.do != "signal":
        service.status()
        record.step(
            workload.poll(
                _patient(trial, trial.scenario.ready, "ready"), name=f"{action.name}: ready again", part="life-cycle"
            )
        )


def _patient(trial: Trial, check: AnyCheck, name: str = "") -> AnyCheck:
    """The check with its time limit shortened to what the baseline showed to be ample."""
    limit_s = trial.patience_s.get(name or getattr(check, "name", ""))
    return check if limit_s is None else check.model_copy(update={"timeout_s": min(limit_s, check.timeout_s)})


def _take_counters(service: Service, record: _Record) -> None:
    record.see(service, at="counters")
    record.counters = record.counters.merged(service.counters())


def _stop(trial: Trial, service: Service, record: _Record) -> None:
    with record.timed("stop"):
        problem = service.act("stop", timeout_s=trial.scenario.stop_timeout_s)
    record.update(after_stop=service.status().state, stop_problem=problem)
    if record.observation.reached is Stage.LIFE_CYCLE:
        record.update(reached=Stage.STOPPED)


def _collect(trial: Trial, machine: Machine, record: _Record, kernel: KernelLog) -> None:
    pids = frozenset(process.pid for process in record.processes.values())
    comms = {process.comm for process in record.processes.values()}
    records = Service(machine, trial.scenario.unit).journal()
    lines = _cut(journal_lines(records, trial.scenario.unit, pids))
    written = machine.overlay.changed()
    lines += _log_files(machine, written)
    kernel_lines = kernel.lines(machine.name, record.host_pids, comms)
    record.update(
        journal=tuple(lines),
        kernel=tuple(kernel_lines[-KEPT_LINES:]),
        written=tuple(written),
    )
    if trial.folder is not None:
        try:
            _write_raw(trial.folder, trial.drop_in, journal=records, kernel=kernel_lines)
        except OSError as error:
            raise MachineError(f"cannot keep what was seen in {trial.folder}: {error}") from error


def _cut(lines: list[JournalLine]) -> list[JournalLine]:
    """The last lines, but all of the manager's: a chatty service must not push out why it failed."""
    rest = [line for line in lines if not line.from_manager][-KEPT_LINES:]
    kept = {id(line) for line in rest}
    return [line for line in lines if line.from_manager or id(line) in kept]


def _write_raw(folder: Path, drop_in: str, *, journal: Iterable[dict[str, object]], kernel: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DROP_IN).write_text(drop_in, encoding="utf-8")
    _write_lines(folder / "journal.jsonl", (json.dumps(item) for item in journal))
    _write_lines(folder / "kernel.txt", kernel)


def _log_files(machine: Machine, written: Iterable[str]) -> list[JournalLine]:
    """What was appended to log files: many services log there and not to the journal."""
    lines = []
    for path in written:
        if path.startswith("/var/log/"):
            for text in machine.overlay.added_text(path, most_bytes=LOG_BYTES).splitlines()[-KEPT_FILE_LINES:]:
                message = shortened(text)
                lines.append(JournalLine(priority=6, identifier=path, pid=None, message=message, from_manager=False))
    return lines


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(line + "\n" for line in lines)
