"""One trial: a candidate's drop-in, a fresh machine, one pass of the scenario, one observation.

A pure function of its `Trial`: everything it needs travels in it, so that another process can run it. It always returns
an observation that says how far it got, however it went wrong; it judges nothing.
"""

import stat
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from harness.errors import MachineError
from harness.machine import host, processes, quiet, strace, tree
from harness.machine.boot import Machine, MachineSpec
from harness.machine.family import Family
from harness.machine.inspect import applied
from harness.machine.kernel import KernelLog
from harness.machine.sampler import Sampler, control_group
from harness.machine.service import Service
from harness.machine.tracer import Tracer
from harness.machine.tracer import available as tracing_available
from harness.observation import OWN_ADDRESS, Observation, Seen, Stage, StepResult
from harness.scenario import Check, Companion, LifeCycle, Scenario
from harness.trial.record import Record, StopTrial, readable
from harness.trial.workload import Workload, environment
from harness.unit.dropin import FILE_NAME as DROP_IN
from harness.unit.exposure import overall
from harness.unit.needs import below
from harness.unit.unitfile import UnitFile

# How many times as long a service may take under strace.
STRACE_TIMES = 10.0
AnyCheck = TypeVar("AnyCheck", bound=Check)


@dataclass(frozen=True)
class Trial:
    """What one trial is made of.

    `trace` is the unit when a traced pass is asked for: by BPF, or by strace where the root tree has it. `sampled` asks
    for samples of what the unit uses, after waiting at most `quiet_wait_s` for the host to become quiet. `patience_s`
    shortens the time limits of steps by name, from what the baseline needed; all are `slow_times` as long.
    `folder` is where the raw journal, kernel lines and samples go; None keeps none.
    """

    scenario: Scenario
    trial_id: str
    candidate_id: str
    drop_in: str
    seed: int
    repeat: int = 0
    purpose: str = ""
    tightenings: tuple[str, ...] = ()
    trace: UnitFile | None = None
    sampled: bool = False
    quiet_wait_s: float = 0.0
    patience_s: dict[str, float] = field(default_factory=dict)
    slow_times: float = 1.0
    folder: Path | None = None


def run_trial(trial: Trial) -> Observation:
    """Run one trial to its end. Raises nothing of the machine's: a lost one is an observation with `lost` set."""
    record = Record(
        Observation(
            trial_id=trial.trial_id,
            candidate_id=trial.candidate_id,
            seed=trial.seed,
            repeat=trial.repeat,
            purpose=trial.purpose,
            tightenings=trial.tightenings,
        )
    )
    durations = record.observation.durations_s
    # A time limit that is ample on a quiet host is not on a busy one.
    crowding = host.crowding()
    trial = replace(trial, patience_s={name: limit_s * crowding for name, limit_s in trial.patience_s.items()})
    with record.timed("total"):
        waited_s = host.await_quiet(trial.quiet_wait_s) if trial.sampled else 0.0
        try:
            with ExitStack() as stack:
                wanted = trial.trace is not None and tracing_available()
                tracer = stack.enter_context(Tracer()) if wanted else None
                attached = tracer is not None and tracer.attached[0]
                if trial.trace is not None and not attached:
                    trial = replace(trial, slow_times=STRACE_TIMES)
                machine = Machine(_spec(trial, with_strace=not attached))
                kernel = stack.enter_context(KernelLog())
                stack.enter_context(machine)
                family = stack.enter_context(Family(machine.pids()))
                with record.timed("inside"):
                    _in_machine(trial, machine, record, waited_s=waited_s)
                    with record.timed("collect"):
                        record.host_pids |= family.pids
                        raw = record.collect(trial.scenario.unit, machine=machine, kernel=kernel)
                        if trial.folder is not None:
                            raw.write(trial.folder, trial.drop_in)
                machine.check_space()
                seen = None
                if tracer is not None and attached:
                    # What never had a cgroup while it was looked at, such as a command that runs once, was not seen.
                    seen = tracer.seen(record.cgroup_ids) if record.cgroup_ids else None
                elif trial.trace is not None and (log := machine.path(strace.LOG)).exists():
                    with log.open(errors="replace") as lines:
                        seen = strace.seen(lines)
                record.update(seen=seen and _in_place(seen, machine))
            durations.update(machine.durations_s)
            if trial.folder is not None:
                record.write_samples(trial.folder)
        except MachineError as error:
            record.update(lost=f"{error.message}")
    return record.finished()


def _in_place(seen: Seen, machine: Machine) -> Seen:
    """Its paths with the links of their directories followed, such as /var/run."""

    def placed(paths: tuple[str, ...]) -> tuple[str, ...]:
        found = (tree.in_place(machine.path("/"), path) if _is_plain(path) else path for path in paths)
        return tuple(sorted(set(found)))

    written = placed(seen.opened_for_writing)
    return replace(
        seen,
        opened=placed(seen.opened),
        opened_for_writing=written,
        executed=placed(seen.executed),
        shared=tuple(path for path in written if _is_plain(path) and _is_shared(path, machine)),
    )


def _is_shared(path: str, machine: Machine) -> bool:
    """Whether a file that the trial made for longer than a moment can be read by others."""
    if below(path, "/tmp", "/var/tmp") or (machine.spec.root / path.lstrip("/")).exists():
        return False
    try:
        info = machine.path(path).lstat()
    except OSError:
        return False
    return stat.S_ISREG(info.st_mode) and info.st_mode & 0o044 != 0


def _is_plain(path: str) -> bool:
    """Absolute, and no name that means something else to each process."""
    return path.startswith("/") and not below(path, "/proc", "/sys", "/dev")


def _spec(trial: Trial, *, with_strace: bool) -> MachineSpec:
    scenario = trial.scenario
    files = dict(scenario.machine_files())
    if trial.trace is not None and with_strace and strace.available(Path(scenario.root)):
        files |= strace.files(trial.trace, scenario.unit)
    files |= applied(Path(scenario.root), scenario.unit)
    if trial.drop_in:
        files[f"/etc/systemd/system/{scenario.unit}.d/{DROP_IN}"] = (trial.drop_in.encode(), 0o644, (0, 0))
    units = {scenario.unit, *(companion.unit for companion in scenario.companions if companion.unit)}
    return MachineSpec(
        root=Path(scenario.root),
        files=files,
        keep_units=frozenset(unit for unit in units if quiet.is_masked(unit)),
        capabilities=frozenset(scenario.capabilities),
        addresses=scenario.addresses,
        loopback=(OWN_ADDRESS,) if trial.trace is not None else (),
        trees=scenario.tree_paths,
    )


def _in_machine(trial: Trial, machine: Machine, record: Record, *, waited_s: float) -> None:
    record.update(reached=Stage.BOOTED)
    service = Service(machine, trial.scenario.unit)
    with ExitStack() as stack:
        if trial.sampled:
            group = control_group(service.show(["Slice"]).get("Slice", ""), trial.scenario.unit)
            record.sampler = stack.enter_context(Sampler(machine, group, waited_s=waited_s))
        _lifetime(trial, service, record)


def _lifetime(trial: Trial, service: Service, record: Record) -> None:
    machine = service.machine
    workload = Workload(machine, environment(seed=trial.seed, unit=trial.scenario.unit))
    try:
        for companion in trial.scenario.companions:
            _start_companion(companion, machine, workload, record)
        if trial.scenario.companions:
            record.update(made_before=readable(machine.overlay.new_directories()))
        _start(trial, service, workload, record)
        _work(trial, service, workload, record)
    except StopTrial:
        pass
    _take_counters(service, record)
    record.update(at_work=service.status().state)
    _stop(trial, service, record)
    if all(step.ok for step in record.steps) and not record.observation.start_problem:
        try:
            for check in trial.scenario.after:
                record.step(workload.run(_patient(trial, check), name=check.name, part="after", repeat=check.repeat))
            record.update(reached=Stage.DONE)
        except StopTrial:
            pass


def _start_companion(companion: Companion, machine: Machine, workload: Workload, record: Record) -> None:
    name = companion.unit or f"{companion.name}.service"
    if companion.unit is not None:
        done = machine.run(["systemctl", "start", companion.unit])
    else:
        keep = ["systemd-run", "--quiet", f"--unit={name}", "--slice=harness.slice"]
        keep += [f"--setenv={key}={value}" for key, value in workload.env.items()]
        # systemd would put variables of its own in place of $NAME before the shell sees them: systemd.service(5).
        done = machine.run([*keep, "sh", "-c", (companion.run or "").replace("$", "$$")])
    problem = ""
    if done.status != 0:
        problem = f"the companion did not start: {done.error_text} {_said(machine, name)}".strip()[:400]
    record.step(StepResult(name, "companion", "functional", problem, done.status, done.duration_s))
    if companion.ready is not None:
        result = workload.poll(companion.ready, name=f"{name} ready", part="companion")
        record.step(result if result.ok else replace(result, stderr=f"{result.stderr}\n{_said(machine, name)}".strip()))


def _said(machine: Machine, unit: str) -> str:
    """The last lines that a companion logged."""
    return machine.run(["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=5", f"--unit={unit}"]).text


def _start(trial: Trial, service: Service, workload: Workload, record: Record) -> None:
    limit_s = _shorter(trial, "start", trial.scenario.start_timeout_s)
    record.at("start", "start")
    with record.timed("start"):
        problem = service.act("start", timeout_s=limit_s)
    status = service.status()
    if not problem and status.state.active_state not in ("active", "activating", "reloading"):
        ended = status.state.active_state == "inactive" and status.state.result == "success"
        problem = "" if ended else f"the unit is {status.state.active_state} ({status.state.result}) after its start"
        if ended and service.show(["ConditionResult"])["ConditionResult"] == "no":
            problem = "systemd skipped the start: a condition of the unit is not met"
    record.see(service, at="start")
    if problem:
        record.update(start_problem=problem)
        raise StopTrial
    record.update(reached=Stage.STARTED)
    record.at("start", "ready")
    with record.timed("ready"):
        check = _patient(trial, trial.scenario.ready, "ready")
        record.step(workload.poll(check, name="ready", part="ready", given_up=service.has_failed))
    service.status()  # a forking service has its final processes only now
    record.see(service, at="ready")
    record.update(reached=Stage.READY)


def _work(trial: Trial, service: Service, workload: Workload, record: Record) -> None:
    with record.timed("steps"):
        for step in trial.scenario.steps:
            check = _patient(trial, step)
            record.at("steps", step.name)
            before_s = processes.cpu_s(service.pids())
            done = workload.run(check, name=step.name, part="steps", kind=step.kind.value, repeat=step.repeat)
            record.step(replace(done, service_cpu_s=max(0.0, processes.cpu_s(service.pids()) - before_s)))
            record.see(service, at=step.name)
    record.at("between", "")
    record.update(reached=Stage.STEPS)
    with record.timed("life_cycle"):
        for action in trial.scenario.life_cycle:
            record.at("life-cycle", action.name)
            _act(trial, action, service, workload, record)
            record.see(service, at=action.name)
    with record.timed("exposure"):
        record.update(reached=Stage.LIFE_CYCLE, exposure=_exposure(service))


def _exposure(service: Service) -> float | None:
    text = service.exposure_text()
    return overall(text) if text else None


def _act(trial: Trial, action: LifeCycle, service: Service, workload: Workload, record: Record) -> None:
    if action.do == "run":
        record.step(workload.run(_patient(trial, action), name=action.name, part="life-cycle"))
        return
    began = time.monotonic()
    if action.do == "restart":
        _take_counters(service, record)
    arguments = ("--kill-who=main", f"--signal={action.signal}") if action.do == "signal" else ()
    verb = "kill" if action.do == "signal" else action.do
    problem = service.act(verb, *arguments, timeout_s=trial.slow_times * action.timeout_s)
    duration_s = time.monotonic() - began
    record.step(StepResult(action.name, "life-cycle", "functional", problem, None, duration_s))
    if action.do != "signal":
        service.status()
        name = f"{action.name}: ready again"
        check = _patient(trial, trial.scenario.ready, name)
        record.step(workload.poll(check, name=name, part="life-cycle", given_up=service.has_failed))


def _patient(trial: Trial, check: AnyCheck, name: str = "") -> AnyCheck:
    """The check with its time limit shortened to what the baseline showed to be ample."""
    limit_s = _shorter(trial, name or getattr(check, "name", ""), check.timeout_s)
    return check.model_copy(update={"timeout_s": limit_s})


def _shorter(trial: Trial, name: str, limit_s: float) -> float:
    limit_s *= trial.slow_times
    return min(limit_s, trial.patience_s.get(name, limit_s))


def _take_counters(service: Service, record: Record) -> None:
    record.at("between", "")
    record.see(service, at="counters")
    record.counters = record.counters.merged(service.counters())


def _stop(trial: Trial, service: Service, record: Record) -> None:
    record.at("stop", "stop")
    with record.timed("stop"):
        problem = service.act("stop", timeout_s=_shorter(trial, "stop", trial.scenario.stop_timeout_s))
    record.update(after_stop=service.status().state, stop_problem=problem)
    if record.observation.reached is Stage.LIFE_CYCLE:
        record.update(reached=Stage.STOPPED)
