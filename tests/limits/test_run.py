"""What is read out of samples and observations: peaks, windows, throttling, causes, and why a run is censored."""

import pytest

from harness import samples
from harness.judge.verdict import Outcome, Verdict
from harness.limits.limitset import LimitSet
from harness.limits.run import Cause, read
from harness.observation import Counters, JournalLine, Load, Observation, Sampling, Stage, StepResult, UnitState
from harness.unit.quantity import MIB

PASS = Verdict(Outcome.PASS, reason="passed")
FAIL = Verdict(Outcome.FAIL, reason="step load: exit status 1")
QUIET = Sampling(
    samples=100,
    longest_gap_s=0.05,
    cpu_s=0.04,
    duration_s=4.0,
    waited_s=0.2,
    processors=2,
    other_work_share=0.01,
)


def observation(**values: object) -> Observation:
    facts: dict[str, object] = {
        "reached": Stage.DONE,
        "steps": (
            StepResult("ready", "ready", "functional", "", 0, 0.05),
            StepResult("warm up", "steps", "functional", "", 0, 1.0),
            StepResult("load", "steps", "load", "", 0, 2.0, load=Load(500.0, None, 0.004)),
        ),
        "counters": Counters(memory_peak_bytes=90 * MIB, tasks_peak=7, oom_kills=0, forks_rejected=0),
        "durations_s": {"start": 0.1},
        "sampling": QUIET,
    }
    return Observation("0001", "x", 1, 0, **{**facts, **values})  # type: ignore[arg-type]


def rows(seconds: float = 4.0) -> list[samples.Row]:
    """One second each of start, warm-up at 90 % of a processor, and load at 20 % with 100 ms at 80 % in it."""
    found: list[samples.Row] = []
    used = 0.0
    for number in range(int(seconds * 25)):
        at = number / 25
        part, step = ("start", "ready") if at < 1 else ("steps", "warm up" if at < 2 else "load")
        rate = 0.9 if at < 2 else 0.8 if 3.0 <= at < 3.12 else 0.2
        found.append(
            {
                "time_s": at,
                "part": part,
                "step": step,
                "incarnation": 1,
                "memory_usage_bytes": 80 * MIB,
                "memory_anon_bytes": 20 * MIB + (5 * MIB if number == 60 else 0),
                "memory_shmem_bytes": 2 * MIB,
                "memory_locked_file_bytes": MIB,
                "memory_kernel_bytes": MIB,
                "memory_file_bytes": 55 * MIB,
                "tasks": 7,
                "cpu_usage_usec": int(used * 1e6),
                "cpu_periods": number // 2,
                "cpu_throttled_periods": max(0, number - 75) // 4,
                "cpu_throttled_usec": 0,
                "fd_highest": 33 if number % 5 == 0 else None,
                "memory_pressure_usec": 0,
            }
        )
        used += rate / 25
    return found


def test_figures_of_a_run():
    run = read(observation(), PASS, samples.of_rows(rows()), LimitSet())
    assert run.needed_bytes == 29 * MIB
    assert (run.peak_bytes, run.tasks, run.fd_highest) == (90 * MIB, 7, 33)
    assert run.cpu_percent == pytest.approx(24, abs=2)
    assert run.window_percent == pytest.approx(80, abs=1)
    assert run.long_window_percent == pytest.approx(27, abs=2)
    assert run.throttled_share == pytest.approx(6 / 22, abs=0.03)
    assert run.start_s == pytest.approx(0.15)
    assert run.start_held_back_s == 0
    assert run.costs_s == {"load, time per request": 1 / 500, "load, latency p99": 0.004}
    assert run.passed
    assert not run.censored


def test_how_long_a_quota_held_the_start_back():
    made = [
        {**row, "cpu_throttled_periods": 1, "cpu_throttled_usec": int(3e4 * min(1.0, float(row["time_s"] or 0)))}
        for row in rows()
    ]
    run = read(observation(), PASS, samples.of_rows(made), LimitSet())
    assert run.start_held_back_s == pytest.approx(0.03, abs=0.002)


@pytest.mark.parametrize(("processors", "held_back_s"), [(1, 0.5), (16, 1.0)])
def test_processors_that_stand_still_together_do_so_once(processors, held_back_s):
    """Throttled for half of each period in the second of load; the kernel adds up all processors."""
    made = []
    for row in rows(3.0):
        since = max(0.0, float(row["time_s"] or 0) - 2)
        counters = {"cpu_periods": int(since * 10), "cpu_throttled_periods": int(since * 10)}
        made.append({**row, **counters, "cpu_throttled_usec": int(processors * since * 0.5e6)})
    run = read(observation(), PASS, samples.of_rows(made), LimitSet(quota_percent=30))
    assert run.load_held_back_s == pytest.approx(held_back_s, abs=0.15)


def with_times(made: list[samples.Row]) -> list[tuple[float, samples.Row]]:
    """Each row with its time."""
    return [(float(row["time_s"] or 0), row) for row in made]


@pytest.mark.parametrize(("until_s", "share"), [(2.2, 0.0), (2.4, 2 / 9), (4.0, 1.0)])
def test_what_came_before_the_load_holds_its_first_two_periods_back(until_s, share):
    """Periods of 100 ms, each throttled until then; the load begins at 2 s."""
    made = []
    for row in rows():
        ended = int(float(row["time_s"] or 0) * 10)
        throttled = min(ended, int(until_s * 10))
        made.append({**row, "cpu_periods": ended, "cpu_throttled_periods": throttled, "cpu_throttled_usec": throttled})
    run = read(observation(), PASS, samples.of_rows(made), LimitSet(quota_percent=30))
    assert run.throttled_share == pytest.approx(share, abs=0.12)
    assert (run.throttled_share == 0) == (share == 0)
    assert run.load_held_back_s > 0


def test_only_the_first_load_step_follows_the_start():
    """Five load steps of 0.6 s, idle before, each throttled in its own first two periods."""
    made = []
    for row in rows(5.0):
        at = float(row["time_s"] or 0)
        step = int((at - 2) / 0.6) if at >= 2 else -1
        throttled = 0 if step < 0 else 2 * step + min(2, int((at - 2 - 0.6 * step) * 10))
        name = {"part": "start", "step": "ready"} if step < 0 else {"part": "steps", "step": f"load {step}"}
        counters = {"cpu_periods": int(at * 10), "cpu_throttled_periods": throttled, "cpu_throttled_usec": throttled}
        made.append({**row, **name, **counters})
    steps = tuple(StepResult(f"load {number}", "steps", "load", "", 0, 0.6) for number in range(5))
    run = read(observation(steps=steps), PASS, samples.of_rows(made), LimitSet(quota_percent=30))
    assert run.throttled_share == pytest.approx(8 / 28, abs=0.05)


def test_counters_that_begin_anew_with_the_unit():
    """A load step that starts the unit again each half second: 30 % of a processor, throttled in each period."""
    made = []
    for row in rows():
        at = float(row["time_s"] or 0)
        since = at % 0.5
        counters = {"cpu_periods": int(since * 10), "cpu_throttled_periods": int(since * 10)}
        used = {"cpu_usage_usec": int(since * 0.3e6), "cpu_throttled_usec": int(since * 0.5e6)}
        made.append({**row, **counters, **used, "incarnation": int(at * 2)})
    run = read(observation(), PASS, samples.of_rows(made), LimitSet(quota_percent=30))
    assert run.throttled_share == 1.0
    assert run.load_held_back_s == pytest.approx(1.0, abs=0.2)
    assert run.cpu_percent == pytest.approx(30, abs=4)
    assert 25 <= run.window_percent <= 40


def test_a_unit_without_memory_was_not_seen_at_work():
    none = dict.fromkeys(("anon", "shmem", "locked_file", "kernel"), 0)
    made = [{**row, **{f"memory_{name}_bytes": size for name, size in none.items()}} for row in rows()]
    assert read(observation(), PASS, samples.of_rows(made), LimitSet()).needed_bytes is None


def test_tasks_of_the_stop_count():
    stopping = {**rows()[-1], "time_s": 4.1, "part": "stop", "step": "stop", "tasks": 9}
    run = read(observation(), PASS, samples.of_rows([*rows(), stopping]), LimitSet())
    assert run.tasks == 9


def test_samples_are_the_same_after_they_were_written(tmp_path):
    made = rows()
    samples.write(tmp_path / samples.FILE_NAME, made)
    kept = samples.read(tmp_path)
    assert kept.equals(samples.of_rows(made)) or kept.astype(object).equals(samples.of_rows(made).astype(object))
    assert str(kept["fd_highest"].dtype) == "Int32"
    assert kept["fd_highest"].isna().sum() == 80


def test_a_damaged_file_of_samples_is_said(tmp_path):
    (tmp_path / samples.FILE_NAME).write_bytes(b"PAR1 cut off")
    with pytest.raises(ValueError, match="is damaged"):
        samples.read(tmp_path)


def test_no_samples():
    run = read(observation(sampling=None), PASS, None, LimitSet())
    assert run.censored == ("no samples were kept",)
    assert run.needed_bytes is None


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"counters": Counters(oom_kills=1)}, Cause.MEMORY),
        ({"after_stop": UnitState(result="oom-kill")}, Cause.MEMORY),
        ({"kernel": ("oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/m/system.slice/x.service",)}, Cause.MEMORY),
        ({"counters": Counters(forks_rejected=3)}, Cause.TASKS),
        ({"kernel": ("cgroup: fork rejected by pids controller in /m/system.slice/x.service",)}, Cause.TASKS),
        ({"journal": (JournalLine(3, "x", 7, "accept4: Too many open files", False),)}, Cause.FILES),
        ({"journal": (JournalLine(4, "systemd", 1, "Too many open files", True),)}, Cause.OTHER),
        ({}, Cause.OTHER),
    ],
)
def test_what_a_failure_is_due_to(values, cause):
    assert read(observation(**values), FAIL, samples.of_rows(rows()), LimitSet()).cause is cause


@pytest.mark.parametrize(
    ("column", "cause"), [("memory_pressure_usec", Cause.MEMORY), ("cpu_throttled_usec", Cause.CPU)]
)
def test_a_service_that_is_held_up_fails_because_of_it(column, cause):
    stalled = [{**row, "cpu_throttled_periods": int(at * 10), column: int(at * 5e5)} for at, row in with_times(rows())]
    said = JournalLine(4, "x", 7, "accept4: Too many open files", False)  # in every run
    assert read(observation(journal=(said,)), FAIL, samples.of_rows(stalled), LimitSet()).cause is cause


def test_a_load_that_leaks_after_steps_that_do_not():
    made = [{**row, "memory_anon_bytes": int((20 + 20 * max(0.0, at - 2)) * MIB)} for at, row in with_times(rows(5.0))]
    growth = read(observation(), PASS, samples.of_rows(made), LimitSet()).growth
    assert growth.steady
    assert growth.bytes_per_s == pytest.approx(20 * MIB, rel=0.1)


def test_without_a_peak_of_the_kernels_the_samples_tell_it():
    sampled = read(observation(counters=Counters()), PASS, samples.of_rows(rows()), LimitSet(memory_bytes=80 * MIB))
    assert sampled.peak_bytes == 80 * MIB
    assert "memory came up against MemoryMax=" in sampled.censored


def test_only_slow_is_no_failure_here():
    slow = Verdict(Outcome.FAIL, reason="step load: 2 times the slowest baseline", only_slow=True)
    assert read(observation(), slow, samples.of_rows(rows()), LimitSet()).passed


@pytest.mark.parametrize(
    ("changed", "limits", "said"),
    [
        ({"other_work_share": 0.4}, LimitSet(), "other work took 40% of the processors"),
        ({"longest_gap_s": 0.9}, LimitSet(), "nothing was sampled for 0.9 s"),
        ({}, LimitSet(memory_bytes=90 * MIB), "memory came up against MemoryMax="),
        ({}, LimitSet(memory_high_bytes=91 * MIB), "memory came up against MemoryHigh="),
        ({}, LimitSet(tasks=7), "tasks came up against TasksMax="),
    ],
)
def test_why_a_run_is_censored(changed, limits, said):
    from dataclasses import replace

    run = read(observation(sampling=replace(QUIET, **changed)), PASS, samples.of_rows(rows()), limits)
    assert said in run.censored
