"""`harness apply` and `harness rollback`: a recommendation put on a running unit, or taken back, or neither.

The change itself, and the way back from it, is `change.py`; here is what a unit must pass before it is kept.
"""

import difflib
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.deploy import record
from harness.deploy.change import Change, lasting, require_unchanged
from harness.deploy.checks import Checks
from harness.deploy.down import put_back
from harness.deploy.look import look, usage
from harness.deploy.manager import Manager, State
from harness.deploy.parts import Part, is_empty, merged
from harness.errors import BudgetError, RolledBackError, UsageError
from harness.judge.novelty import template
from harness.machine.shell import handling
from harness.results.folder import Run
from harness.scenario import Scenario
from harness.unit.dropin import FILE_NAME
from harness.unit.quantity import parse_count, parse_size, readable_size, size_text
from harness.unit.unitfile import parse, parse_cat

# What a change may take beside its checks and the grace time: reloads, log reading, a busy machine.
SPARE_S = 60.0
RESTART_LEAST_S = 30.0
LOOK_EVERY_S = 2.0
POLL_S = 0.2
# Held back is not refused: a service computes at its start, and the limits were fitted with that in sight.
NO_REFUSAL = frozenset({"CPUQuota"})


@dataclass(frozen=True)
class Plan:
    """One change of a unit as it would be made: the text before and after, None where there is no drop-in.

    `cautions` are what the workload of the run did not show: a person has to say yes to them. `restarts` is whether
    the unit is (re)started with it.
    """

    unit: str
    before: str | None
    after: str | None
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    restarts: bool = True

    def diff(self) -> str:
        """What changes, as a unified diff."""
        name = f"{self.unit}.d/{FILE_NAME}"
        texts = [(text or "").splitlines() for text in (self.before, self.after)]
        return "\n".join(difflib.unified_diff(texts[0], texts[1], f"{name} now", f"{name} then", lineterm=""))


@dataclass(frozen=True)
class How:
    """What a change must pass before it is kept: the ready check, functional steps if asked for, a time of grace."""

    grace_s: float
    checks: Checks | None = None
    steps: bool = False
    ignore_log: tuple[str, ...] = ()
    said: Callable[[str], None] = lambda text: None


def plan_apply(run: Run, scenario: Scenario, unit: str, part: Part) -> Plan:
    """What applying a run would change. Raises UsageError when it is another unit's, not final, or changes nothing."""
    if unit != run.unit:
        raise UsageError(f"{run.path} is about {run.unit}, not about {unit}", hint=f"harness apply --unit {run.unit}")
    found = run.recommendation
    if found is None or not run.drop_in:
        raise UsageError(f"{run.path} recommends nothing yet", hint=f"harness tune {scenario.path}")
    if part is not Part.LIMITS and found["state"] != "tight":
        raise UsageError(
            f"the answer in {run.path} is not final: {found['state']}", hint=f"finish it: harness tune {scenario.path}"
        )
    limits = found["limits"]
    if part is Part.LIMITS and (limits is None or limits["state"] != "confirmed"):
        state = "there are none" if limits is None else limits["state"]
        raise UsageError(
            f"{run.path} has no confirmed limits: {state}", hint=f"harness tune --only limits {scenario.path}"
        )
    before = lasting(unit)
    after = merged(run.drop_in, before, part)
    if is_empty(after):
        raise UsageError(f"{run.path} recommends no line", hint=f"harness report {run.path} shows why")
    manager = Manager(unit)
    cautions = () if part is Part.LIMITS else tuple(found.get("cautions", ()))
    return Plan(unit, before, after, tuple(_notes(run, manager, after)), (*cautions, *_exceeded(manager, after)))


def plan_rollback(unit: str) -> tuple[Plan, record.Record]:
    """What taking back the last apply would change. Raises UsageError when nothing is known of one."""
    Manager(unit).require_loaded()
    before = lasting(unit)
    if before is None:
        raise UsageError(f"{unit} has no drop-in of harness", hint=f"see what it has: systemctl cat {unit}")
    earlier = record.read(unit, before)
    restarts = Manager(unit).state().active != "inactive"
    notes = () if restarts else (f"{unit} is inactive: it is not started",)
    return Plan(unit, before, earlier.previous, notes, restarts=restarts), earlier


def carry_out(plan: Plan, how: How, *, run: str = "") -> State:
    """Make the change, and keep it only when all goes well. Returns the unit's state.

    `run` names the run that is applied; "" for a rollback. Raises RolledBackError when the unit did not pass,
    BudgetError when it was interrupted: in both cases what was before is in force again.
    """
    manager = Manager(plan.unit)
    restart_s = _restart_s(manager)
    checks_s = how.checks.longest_s(with_steps=how.steps) if how.checks else 0.0
    try:
        if not run and manager.state().down:
            with _hangup_interrupts():
                return _revive(plan, how, manager, timeout_s=restart_s)
        with (
            _hangup_interrupts(),
            Change(manager, plan.after, within_s=restart_s + checks_s + how.grace_s + SPARE_S) as change,
        ):
            require_unchanged(plan.unit, plan.before)
            known = _templates(manager, change.before)
            began = time.time()
            how.said("restarting with the new settings; systemd brings the old ones back should this end early")
            Probation(manager, how, began, ours=_keys(plan.after), known=known).run(
                lambda: change.begin(timeout_s=restart_s)
            )
            change.require_bound()
            if run and plan.after is not None:
                at = datetime.now(UTC).isoformat(timespec="seconds")
                record.write(plan.unit, plan.after, record.Record(plan.before, run, at))
            change.keep()
        if not run and plan.before is not None:
            record.remove(plan.unit, plan.before)
        return manager.state()
    except KeyboardInterrupt as error:
        again = lasting(plan.unit) == plan.before
        what = "its settings from before" if again else "the new settings"
        raise BudgetError(
            f"interrupted: {plan.unit} has {what}, and is {manager.state()}",
            hint="run the same command again" if again else f"systemctl status {plan.unit}",
        ) from error


def _revive(plan: Plan, how: How, manager: Manager, *, timeout_s: float) -> State:
    """Roll a unit back that is down, and start it where it failed.

    Raises RolledBackError when it does not stay up with what was before either.
    """

    def begin() -> State:
        return put_back(manager, plan.before, plan.after, start=plan.restarts, timeout_s=timeout_s)

    try:
        if plan.restarts:
            how.said(f"{plan.unit} is down: it is started with what was before")
            Probation(manager, how, time.time(), ours=frozenset(), known=frozenset()).run(begin)
        else:
            begin()
    except RolledBackError as error:
        told = f"{error.message}\nthe settings from before are in force, so it is something else that keeps it down"
        raise RolledBackError(told, hint=error.hint or f"journalctl -u {plan.unit} --since -5min") from error
    finally:
        if plan.before is not None and lasting(plan.unit) == plan.after:
            record.remove(plan.unit, plan.before)
    return manager.state()


@dataclass(frozen=True)
class Probation:
    """The time from the restart of a unit to the decision: what it must show, or what it showed instead.

    `began` is when (seconds since 1970), `ours` are the directives that the new drop-in sets, `known` templates of
    what the unit logged before.
    """

    manager: Manager
    how: How
    began: float
    ours: frozenset[str]
    known: frozenset[str]

    def run(self, begin: Callable[[], State]) -> None:
        """Begin, and see all that must be seen before a change is kept. Raises RolledBackError."""
        try:
            state = begin()
            if self.how.checks is not None:
                self._check(self.how.checks)
            self._watch(state)
        except RolledBackError as error:
            denied = self._denied()
            told = f"{error.message}\n{denied}" if denied and denied != error.message else error.message
            raise RolledBackError(told, hint=error.hint) from error

    def _watch(self, state: State) -> None:
        self.how.said(f"watching it for {self.how.grace_s:g} s")
        deadline, next_look = time.monotonic() + self.how.grace_s, time.monotonic()
        over = False
        while not over:
            over = time.monotonic() >= deadline
            self._require_up(state)
            if over or time.monotonic() >= next_look:
                if denied := self._denied():
                    raise RolledBackError(denied)
                next_look = time.monotonic() + LOOK_EVERY_S
            if not over:
                time.sleep(POLL_S)

    def _check(self, checks: Checks) -> None:
        self.how.said("waiting until it is ready")
        checks.ready()
        if self.how.steps:
            self.how.said(f"running {len(checks.steps)} functional steps")
            checks.run_steps()

    def _require_up(self, state: State) -> None:
        now = self.manager.state()
        if not now.up or now.invocation != state.invocation or now.restarts > state.restarts:
            raise RolledBackError(f"the service did not stay up: it is {now}")

    def _denied(self) -> str:
        """The first refusal since the restart that one of our own lines explains, in words; "" when there is none."""
        report = look(self.manager, since=f"@{self.began:.6f}", known=self.known, ignore=self.how.ignore_log)
        for finding in report.findings:
            for cause in finding.causes:
                if cause.directive in self.ours and cause.directive not in NO_REFUSAL:
                    return f"refused by {cause.line}: {finding.evidence}"
        return ""


def _keys(text: str | None) -> frozenset[str]:
    return frozenset(item.key for item in parse(text or "").assignments)


def _templates(manager: Manager, before: State) -> frozenset[str]:
    """Shapes of what the unit logged since its last start, before the change: complaints that are not new."""
    own = [f"_SYSTEMD_INVOCATION_ID={before.invocation}", "+", f"INVOCATION_ID={before.invocation}"]
    done = manager.run(["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=5000", *own])
    return frozenset(template(line) for line in done.text.splitlines())


def _restart_s(manager: Manager) -> float:
    """How long a restart may take, as the unit itself says; at most ten minutes."""
    shown = manager.show("TimeoutStartUSec", "TimeoutStopUSec")
    return min(600.0, max(RESTART_LEAST_S, 10.0 + sum(_seconds(value) for value in shown.values())))


_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(text: str) -> float:
    """Seconds of `1min 30s`; `infinity` and what else cannot be read counts as five minutes."""
    total = 0.0
    for word in text.split():
        number = word.rstrip("abcdefghijklmnopqrstuvwxyz")
        try:
            total += float(number) * _UNITS[word.removeprefix(number)]
        except (ValueError, KeyError):
            return 300.0
    return total


def _exceeded(manager: Manager, after: str) -> Iterator[str]:
    """Limits that the unit exceeds as it runs now: systemd sets them at its reload, before anything is restarted."""
    last = {item.key: item.value for item in parse(after).assignments if item.section == "Service"}
    now = usage(manager, manager.show("ControlGroup").get("ControlGroup", ""))
    memory_bytes, tasks = now.held_bytes or 0, now.tasks or 0
    most_bytes = _number(parse_size, last.get("MemoryMax", ""))
    if most_bytes is not None and memory_bytes > most_bytes:
        holds = size_text(readable_size(memory_bytes))
        yield (
            f"{manager.unit} holds {holds} at this moment, more than MemoryMax={last['MemoryMax']}: production needs "
            "more than the workload of the run, and systemd's reload alone would have it killed"
        )
    most_tasks = _number(parse_count, last.get("TasksMax", ""))
    if most_tasks is not None and tasks > most_tasks:
        yield f"{manager.unit} has {tasks} tasks now, more than TasksMax={most_tasks}: it could start no more"


def _number(parsed: Callable[[str], int | None], text: str) -> int | None:
    """None for what sets no number, such as a share of the host's."""
    try:
        return parsed(text)
    except ValueError:
        return None


def _notes(run: Run, manager: Manager, after: str) -> Iterator[str]:
    """What a user should know before saying yes."""
    inspection = run.facts["inspection"]
    if (version := manager.version()) != inspection["systemd_version"]:
        yield f"tried with systemd {inspection['systemd_version']}, and this machine has {version}"
    present = parse_cat(manager.text()).assignments
    others = [item for item in present if Path(item.source).name != FILE_NAME]
    tried = [a for a in parse_cat(inspection["unit_text"]).assignments if Path(a.source).name != FILE_NAME]
    if [(a.section, a.key, a.value) for a in others] != [(a.section, a.key, a.value) for a in tried]:
        yield "the unit here is not the one that was tried: compare `systemctl cat` with derived/ of the run"
    keys = _keys(after)
    for item in others:
        if (
            Path(item.source).name > FILE_NAME
            and ".d/" in item.source
            and item.key in keys
            and item.section == "Service"
        ):
            yield f"{item.source} comes later and sets {item.key} too"


@contextmanager
def _hangup_interrupts() -> Iterator[None]:
    """A lost connection and SIGTERM end the change as Ctrl-C does; under nohup the first is ignored as asked."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    ends = [number for number in (signal.SIGHUP, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    with handling(dict.fromkeys(ends, interrupt)):
        yield
