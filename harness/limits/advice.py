"""The limits as advice: each directive with its value, the number it was fitted to, and what the data prove."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from harness.limits import bound
from harness.limits.cliff import Bracket
from harness.limits.fit import Sample, statement
from harness.limits.found import Found, State
from harness.limits.limitset import PERIOD_S
from harness.unit.quantity import readable_size, size_text


@dataclass(frozen=True)
class Advice:
    """One limit: `value` as systemd writes it, `reasons` in words, and the same as `data`."""

    directive: str
    value: str
    reasons: tuple[str, ...]
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The assignment."""
        return f"{self.directive}={self.value}"


def advice(found: Found) -> list[Advice]:
    """One piece of advice for every limit that is set, in the order of systemd's manual pages."""
    by_directive = {item.directive: item for item in _each(found)}
    settings = found.limits.settings()
    return [
        by_directive.get(name) or Advice(name, value, ("goes with the line before",), {"value": value})
        for name, value in settings
    ]


def proof(found: Found) -> str:
    """What the clean runs at the limits prove, in one sentence."""
    clean = found.clean
    failing = f"{math.ceil(100 * bound.failure_at_most(clean, found.failed))}%"
    if found.state is State.CONFIRMED:
        others = f" and {found.failed} failure of another kind" if found.failed else ""
        eased = len(found.at_limits) - len(found.at_quota)
        tighter = f", {eased} of them at a tighter CPUQuota=" if eased else ""
        seen = f"{clean} clean runs{others} at these limits{tighter}"
        return f"{seen}: with 95 % confidence fewer than {failing} of runs fail"
    return f"not confirmed, {clean} clean runs at these limits: {found.stop or 'the load is slower at them'}"


def to_json(found: Found) -> dict[str, Any]:
    """The `limits` of `recommendation.json`."""
    items = advice(found)
    return {
        "state": found.state.value,
        "stop": found.stop,
        "trials": found.trials,
        "clean_runs": found.clean,
        "failed_runs": found.failed,
        "failure_at_most": round(bound.failure_at_most(found.clean, found.failed), 3),
        "proof": proof(found),
        "slowdown": {"times": round(found.slowdown[0], 3), "figure": found.slowdown[1]},
        "limits": [
            {"directive": item.directive, "value": item.value, "reasons": list(item.reasons), **item.data}
            for item in items
        ],
        "refused": [
            {"directive": name, "trial": run.trial_id, "reason": run.reason} for name, run in found.refused.items()
        ],
        "leak_bytes_per_s": None if found.leak is None else round(found.leak.bytes_per_s),
        "notes": found.notes,
        "runs": {
            "measured": [run.trial_id for run in found.measured],
            "tried": [run.trial_id for run in found.tried],
            "confirming": [run.trial_id for run in found.at_limits],
            "censored": {run.trial_id: list(run.censored) for run in found.measured if run.censored},
        },
    }


def drop_in_lines(found: Found) -> list[str]:
    """Lines for the drop-in: limits under their reasons, as comments only while they are not confirmed."""
    items = advice(found)
    confirmed = found.state is State.CONFIRMED
    lines = []
    if items:
        lines.append(f"# {proof(found)}")
    for item in items:
        lines += [f"# {reason}" for reason in item.reasons]
        lines.append(item.line if confirmed else f"# {item.line}")
    if confirmed and found.lifted:
        lines += ["# so it was in all runs, in place of what the unit has", *found.lifted]
    if confirmed and found.limits.memory_bytes is not None:
        lines += ["# as measured: a service that is swapped out needs less memory and more time", "MemorySwapMax=0"]
    return lines + [f"# limits: {note}" for note in found.notes]


def _each(found: Found) -> Iterator[Advice]:
    limits = found.limits
    if limits.memory_bytes is not None and found.needed is not None:
        yield from _memory(found, limits.memory_bytes, found.needed)
    if limits.quota_percent is not None and found.window is not None:
        yield _quota(found, limits.quota_percent, found.window)
    if limits.tasks is not None and found.tasks is not None:
        yield _tasks(found, limits.tasks, found.tasks)
    if limits.files is not None and found.files is not None:
        highest = int(found.files.largest)
        reasons = (
            f"highest descriptor {highest} in {found.files.runs} sampled runs; a spike between samples is not seen",
            "for as many clients as the workload had at once: each more takes a descriptor, or several",
        )
        yield Advice("LimitNOFILE", str(limits.files), reasons, _data(limits.files, found.files, None))
    if limits.processes is not None and found.tasks is not None:
        reason = "as TasksMax=: the unit's user is its own; a machine of this host counts as well while it runs"
        yield Advice("LimitNPROC", str(limits.processes), (reason,), _data(limits.processes, found.tasks, None))


def _memory(found: Found, value: int, needed: Sample) -> Iterator[Advice]:
    """MemoryMax=; or MemoryHigh= in its place, and MemoryMax= above."""
    high = found.limits.memory_high_bytes
    if high is None:
        yield _fitted_memory(found, "MemoryMax", value, needed)
        return
    yield _fitted_memory(found, "MemoryHigh", high, needed)
    reason = f"{value / high - 1:.0%} above MemoryHigh=, beyond which the service is slowed down and not yet killed"
    yield Advice("MemoryMax", size_text(value), (reason,), _data(value, needed, found.memory_cliff))


def _fitted_memory(found: Found, directive: str, value: int, needed: Sample) -> Advice:
    largest, upper = size_text(readable_size(needed.largest)), size_text(readable_size(needed.bound))
    reasons = [f"cannot be reclaimed: at most {largest} in {_runs(needed)}, bound {upper}"]
    peaks = [run.peak_bytes for run in found.measured if run.peak_bytes is not None]
    if peaks:
        reasons[0] += f"; peak with page cache {size_text(readable_size(max(peaks)))}"
    reasons.append(_cliff_text(found.memory_cliff, "cliff", lambda v: size_text(readable_size(v))))
    if (margin := _margin(value, found.memory_cliff)) is not None:
        reasons[-1] += f"; the limit lies {margin:.0%} above it"
    if found.knee is not None and found.knee.failed is not None:
        reasons.append(_cliff_text(found.knee, "knee", lambda v: size_text(readable_size(v))))
    elif found.knee is not None:
        reasons.append("knee: not above this limit, the load is as fast as without")
    data = _data(value, needed, found.memory_cliff) | {
        "knee_failed": None if found.knee is None else found.knee.failed,
        "knee_worked": None if found.knee is None else found.knee.worked,
        "peak_bytes": max(peaks, default=None),
    }
    return Advice(directive, size_text(value), tuple(reasons), data)


def _quota(found: Found, value: int, window: Sample) -> Advice:
    length = "100 ms" if found.limits.period_s == PERIOD_S else f"{found.limits.period_s:g} s"
    means = [run.cpu_percent for run in found.measured if run.cpu_percent is not None]
    reasons = [f"busiest {length} under load: {window.largest:.0f} % of a processor in {_runs(window)}"]
    if means:
        reasons[0] += f", mean {sum(means) / len(means):.0f} %"
    reasons.append(_cliff_text(found.quota, "smallest quota that holds it back in at most 1 % of periods", _percent))
    return Advice("CPUQuota", f"{value}%", tuple(reasons), _data(value, window, found.quota))


def _tasks(found: Found, value: int, tasks: Sample) -> Advice:
    reasons = [f"tasks at once: at most {int(tasks.largest)} in {_runs(tasks)}"]
    processors = next((run.processors for run in found.measured if run.processors), None)
    if processors:
        reasons[0] += f", on {processors} processors"
    if found.tasks_cliff is not None:
        reasons.append(_cliff_text(found.tasks_cliff, "cliff", lambda v: f"{v:.0f}"))
    return Advice("TasksMax", str(value), tuple(reasons), _data(value, tasks, found.tasks_cliff))


def _margin(value: float, bracket: Bracket | None) -> float | None:
    """How far a limit lies above the smallest value that was seen to work, as a share of that."""
    if bracket is None or bracket.worked is None or value <= bracket.worked:
        return None
    return value / bracket.worked - 1


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def _runs(sample: Sample) -> str:
    return f"{sample.runs} runs" + (f" and {sample.censored} censored ones" if sample.censored else "")


def _cliff_text(bracket: Bracket | None, name: str, text: Any) -> str:
    if bracket is None or bracket.worked is None:
        return f"{name}: not found"
    below = "" if bracket.failed is None else f", {text(bracket.failed)} is too little"
    return f"{name}: {text(bracket.worked)} is enough{below}"


def _data(value: float, sample: Sample, bracket: Bracket | None) -> dict[str, Any]:
    return {
        "number": value,
        "fitted_to": sample.to_json(),
        "says": statement(sample),
        "cliff_failed": None if bracket is None else bracket.failed,
        "cliff_worked": None if bracket is None else bracket.worked,
        "margin": None if (margin := _margin(value, bracket)) is None else round(margin, 3),
    }
