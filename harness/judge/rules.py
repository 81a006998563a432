"""The verdict on one observation: PASS only when everything that a pass needs was seen."""

from collections.abc import Collection, Mapping

from harness.judge.baseline import Baseline, killed
from harness.judge.culprits import evidence, suspects
from harness.judge.effective import ignored
from harness.judge.missing import missing
from harness.judge.novelty import news
from harness.judge.privilege import Gained, more_privilege
from harness.judge.verdict import Outcome, Verdict
from harness.observation import Observation, StepResult
from harness.scenario import Scenario
from harness.unit.catalogue import Catalogue
from harness.unit.tightening import Tightening

KEPT_EVIDENCE = 6
TOLD_CHARACTERS = 160
# In systemd's words why a unit did not start.
TELL_WHY = ("Failed at step", "Main process exited", "was skipped because", "condition check resulted in")
# Below this a ratio of durations says more of the machine's noise than of the service.
NOISE_S = 0.25
# A step that much slower than allowed waits for something that never comes, rather than for a busy machine.
WAITING_FACTOR = 3.0


def judge(
    scenario: Scenario,
    observation: Observation,
    *,
    catalogue: Catalogue,
    baseline: Baseline | None = None,
    groups: Mapping[str, Collection[str]] | None = None,
) -> Verdict:
    """Judge an observation; without a baseline only what needs no comparison.

    `groups` are the system call groups of the systemd inside, for the suspects.

    A lost machine is UNRESOLVED: it says nothing about the candidate.
    """
    if lost := observation.lost or _host_without_memory(observation):
        return Verdict(Outcome.UNRESOLVED, reason=lost, trial_id=observation.trial_id)
    gained = None if baseline is None else more_privilege(observation.processes, baseline)
    problem = _problem(observation) or _damage(scenario, observation, baseline, gained)
    missed: tuple[str, ...] = ()
    if not problem and baseline is not None:
        missed = missing(observation, baseline, ignore=scenario.ignore_log)
        problem = missed[0] if missed else ""
    if not problem and (skipped := ignored(map(Tightening.from_label, observation.tightenings), observation.processes)):
        return Verdict(
            Outcome.FAIL,
            reason=f"setting ignored: {skipped[0][1]}",
            detail="\n".join(text for _, text in skipped),
            suspects=tuple(name for name, _ in skipped),
            trial_id=observation.trial_id,
        )
    only_slow = not problem and bool(problem := _too_slow(scenario, observation, baseline))
    if not problem:
        return Verdict(Outcome.PASS, reason="passed", trial_id=observation.trial_id)
    told = _telling(scenario, observation, baseline)
    lines = [line if len(line) <= 300 else line[:297] + "..." for line in evidence(observation)]
    return Verdict(
        Outcome.FAIL,
        reason=f"{problem} ({told})" if told and told not in problem else problem,
        detail="\n".join(lines[:KEPT_EVIDENCE]),
        suspects=suspects(observation, catalogue, groups),
        trial_id=observation.trial_id,
        only_slow=only_slow,
        glimpsed=gained is not None and gained.glimpsed and problem == _told(gained),
        missed=missed,
    )


def _host_without_memory(observation: Observation) -> str:
    """Why a kill for want of memory says nothing of the candidate: the host had none left, and no limit did it."""
    kills = [line for line in observation.kernel if "oom-kill:" in line]
    if kills and all("constraint=CONSTRAINT_NONE" in line for line in kills):
        return "the host ran out of memory"
    return ""


def _told(gained: Gained) -> str:
    return f"more privilege than at baseline: {gained.text}"


def _problem(observation: Observation) -> str:
    """What went wrong by itself, without comparing."""
    if observation.start_problem:
        return f"start: {_why_not_started(observation)}"
    for step in observation.steps:
        if not step.ok:
            return f"{_place(step.part)} {step.name}: {step.problem}"
    if observation.counters.oom_kills:
        return f"{observation.counters.oom_kills} process(es) killed for lack of memory"
    if observation.counters.forks_rejected:
        return f"{observation.counters.forks_rejected} fork(s) rejected"
    if observation.at_work.restarts:
        return f"systemd restarted the service {observation.at_work.restarts} time(s)"
    if observation.stop_problem:
        return f"stop: {observation.stop_problem}"
    return ""


def _why_not_started(observation: Observation) -> str:
    for line in observation.journal:
        if line.from_manager and any(words in line.message for words in TELL_WHY):
            return line.message
    return observation.start_problem


def _telling(scenario: Scenario, observation: Observation, baseline: Baseline | None) -> str:
    """The line that says most about why: the kernel's, else a new complaint of the service, else the step's."""
    killed = [line for line in observation.kernel if "oom-kill:" in line]
    lines = [line.partition(": audit:")[0] for line in [*killed, *observation.kernel][:1]]
    known = baseline.templates if baseline is not None else frozenset()
    fresh = news(observation.journal, known=known, ignore=scenario.ignore_log)
    own = [line.message for line in fresh if not line.from_manager]
    said = [line for step in observation.steps if not step.ok for line in step.stderr.splitlines()[-1:]]
    # Without a baseline nobody knows which complaints are everyday ones: the last of them is the nearest.
    lines += [*own, *said] if baseline is not None else [*said, *own[::-1]]
    text = next((line.strip() for line in lines if line.strip()), "")
    return text if len(text) <= TOLD_CHARACTERS else text[: TOLD_CHARACTERS - 1] + "…"


def _place(part: str) -> str:
    return {"steps": "step", "after": "after-check", "ready": "ready check"}.get(part, part)


def _damage(scenario: Scenario, observation: Observation, baseline: Baseline | None, gained: Gained | None) -> str:
    """What is worse than at baseline although every step passed."""
    if baseline is None:
        stopped = observation.after_stop
        return "" if stopped.active_state else "the unit's state after the stop could not be read"
    if observation.at_work.active_state not in baseline.states:
        return f"the unit is {observation.at_work.active_state} after the workload"
    if gained is not None:
        return _told(gained)
    if (observation.after_stop.active_state, observation.after_stop.result) not in baseline.stops:
        return f"unclean stop: {observation.after_stop.active_state} ({observation.after_stop.result})"
    if ended := sorted(killed(observation.kernel) - baseline.killed):
        return f"{ended[0][0]} was ended by a filter for {ended[0][1]}"
    fresh = news(observation.journal, known=baseline.templates, ignore=scenario.ignore_log)
    if fresh:
        return f"new in the log: {fresh[0].message[:200]}"
    return ""


def _too_slow(scenario: Scenario, observation: Observation, baseline: Baseline | None) -> str:
    if baseline is None:
        return ""
    return next((told for step in observation.steps if (told := _slower(step, scenario, baseline))), "")


def _slower(step: StepResult, scenario: Scenario, baseline: Baseline) -> str:
    """Why a load step is too slow, empty when it is not.

    On a busy machine everything takes longer, so a longer time counts only when the service also worked more for it,
    or when it is so much longer that waiting is part of it.
    """
    before_s, cpu_before_s = baseline.slowest_s.get(step.name, 0.0), baseline.most_cpu_s.get(step.name, 0.0)
    if step.kind != "load" or before_s <= 0 or step.duration_s <= scenario.slowdown_max * before_s + NOISE_S:
        return ""
    times = step.duration_s / before_s
    more_work = (step.service_cpu_s or 0.0) > (1 + (scenario.slowdown_max - 1) / 2) * cpu_before_s
    if not more_work and times < WAITING_FACTOR * scenario.slowdown_max:
        return ""
    return f"step {step.name}: {times:.1f} times the slowest baseline (allowed {scenario.slowdown_max:g})"
