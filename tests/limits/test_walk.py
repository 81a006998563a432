"""The whole walk on a simulated service of which everything is known: right answers, within the budget."""

import math
import random
import statistics
from dataclasses import dataclass, field, replace

import pytest

from harness.judge.verdict import Outcome
from harness.limits.advice import drop_in_lines, proof, to_json
from harness.limits.confirm import chance_of
from harness.limits.found import Settings, State
from harness.limits.growth import Growth
from harness.limits.limitset import LimitSet
from harness.limits.run import Cause, Run
from harness.limits.walk import walk
from harness.unit.quantity import MIB, size_text


@dataclass
class Service:
    """Needs `need_mib` of memory give or take `noise`, is slow below `knee_mib`, takes `tasks` and `percent`."""

    need_mib: float = 100
    noise: float = 0.02
    sigma: float = 0
    knee_mib: float = 0
    cache_mib: float = 300
    tasks: int = 12
    percent: float = 40
    start_cpu_s: float = 0.02
    fails: float = 0
    needs_descriptors: int = 20
    leaks: bool = False
    seed: int = 1
    busy_until: int = 0
    peak_missed: float = 0
    trials: int = 0
    asked: list[tuple[LimitSet, str]] = field(default_factory=list)

    def _demand(self, limits: LimitSet) -> float:
        return self.percent if limits.period_s < 1 else self.percent / 2

    def need(self, rng: random.Random) -> float:
        """What one run needs, in bytes."""
        return self.need_mib * MIB * (1 + rng.uniform(-self.noise, self.noise)) * rng.lognormvariate(0, self.sigma)

    def __call__(self, limits: LimitSet, purpose: str) -> Run:
        self.trials += 1
        self.asked.append((limits, purpose))
        rng = random.Random(f"{self.seed}/{self.trials}")
        need = self.need(rng)
        memory, quota = limits.memory_bytes, limits.quota_percent
        cause, outcome = Cause.NONE, Outcome.PASS
        if memory is not None and memory < need:
            cause, outcome = Cause.MEMORY, Outcome.FAIL
        elif limits.tasks is not None and limits.tasks < self.tasks:
            cause, outcome = Cause.TASKS, Outcome.FAIL
        elif (limits.files is not None and limits.files < self.needs_descriptors) or rng.random() < self.fails:
            cause, outcome = Cause.OTHER, Outcome.FAIL
        slow = 1 + rng.uniform(0, 0.05)
        if memory is not None and memory < self.knee_mib * MIB:
            slow *= 2
        busy = self.trials <= self.busy_until
        seen = need
        if rng.random() < self.peak_missed:
            seen *= 0.77 * rng.uniform(0.99, 1.01)
        return Run(
            trial_id=f"{self.trials:04d}",
            limits=limits,
            outcome=outcome,
            reason="" if outcome is Outcome.PASS else "it failed",
            cause=cause,
            censored=("other work took 40% of the processors",) if busy else (),
            needed_bytes=int(seen),
            peak_bytes=int(need + self.cache_mib * MIB),
            cpu_percent=self.percent * 0.8,
            window_percent=self.percent * (1 + rng.uniform(-0.02, 0.02)),
            long_window_percent=self.percent / 2,
            throttled_share=0.3 if quota is not None and quota < self._demand(limits) else 0.0,
            load_held_back_s=0.1 if quota is not None and quota < self._demand(limits) else 0.0,
            start_held_back_s=max(0.0, self.start_cpu_s * (100 / quota - 1)) if quota is not None else 0.0,
            tasks=self.tasks,
            fd_highest=self.needs_descriptors - 1,
            start_s=0.1,
            costs_s={"load": 1.0 * slow * (2 if busy else 1)},
            growth=Growth(MIB, 4.0, True) if self.leaks else Growth(0.0, 4.0, False),
            processors=2,
        )


def test_where_stalls_are_allowed_the_period_is_a_second_and_the_quota_half():
    found = walk(Settings(stalls=True), Service())
    assert found.limits.period_s == 1.0
    assert 20 <= found.limits.quota_percent <= 24
    assert "CPUQuotaPeriodSec=1s" in drop_in_lines(found)


def test_a_user_of_its_own_gets_a_limit_of_its_processes():
    found = walk(Settings(dedicated_user=True), Service())
    assert found.limits.processes == found.limits.tasks == 13


@pytest.mark.parametrize("short", [True, False])
def test_a_load_too_short_to_judge_by_is_said(short):
    class Brief(Service):
        def __call__(self, limits: LimitSet, purpose: str) -> Run:
            run = super().__call__(limits, purpose)
            return replace(run, long_window_percent=None) if short else run

    said = [note for note in walk(Settings(), Brief()).notes if "less than a second" in note]
    assert len(said) == short


def test_everything_known_is_found():
    service = Service()
    found = walk(Settings(), service)
    assert found.state is State.CONFIRMED, found.stop
    assert service.trials == found.trials <= 45
    assert 100 * 1.02 * MIB <= found.limits.memory_bytes <= 1.25 * 100 * MIB
    assert found.limits.tasks == 13
    assert found.tasks_cliff.worked == 12
    assert 40 <= found.limits.quota_percent <= 48
    assert found.limits.files == 36
    assert found.clean == 14


@pytest.mark.parametrize("need_mib", [4, 30, 900])
def test_ten_fits_agree(need_mib):
    limits = sorted(
        walk(Settings(), Service(need_mib=need_mib, seed=seed)).limits.memory_bytes / MIB for seed in range(10)
    )
    middle = (limits[4] + limits[5]) / 2
    assert 0.9 * middle <= limits[0]
    assert limits[-1] <= 1.1 * middle


class Bursts(Service):
    """Uses 30 ms of every 100 in one go, in a load of 16 periods: which of them hold two bursts is chance."""

    def __call__(self, limits: LimitSet, purpose: str) -> Run:
        run = super().__call__(limits, purpose)
        rng = random.Random(f"{self.seed}/{self.trials}/phase")
        quota = limits.quota_percent
        if quota is None:
            return replace(run, window_percent=rng.gauss(39, 0.9) + (5 if rng.random() < 0.1 else 0))
        # As measured: on a real service, in sixteen fits.
        chance = 0.23 if quota < 34 else {34: 0.04, 35: 0.007, 36: 0.002}.get(quota, 0.0005)
        share = sum(rng.random() < chance for _ in range(13)) / 13
        return replace(run, throttled_share=share, load_periods=13, load_held_back_s=share)


def test_fits_of_a_service_in_bursts_agree():
    services = [Bursts(percent=30, seed=seed) for seed in range(60)]
    fits = [walk(Settings(), service) for service in services]
    quotas = [found.limits.quota_percent for found in fits]
    middle = statistics.median(quotas)
    # With one run for each quota it is 46 of 60.
    assert sum(abs(quota - middle) <= 0.1 * middle for quota in quotas) >= 54
    assert any("held back in" in note for found in fits for note in found.notes)
    assert max(service.trials for service in services) <= 45
    assert middle <= 1.2 * 30


@pytest.mark.parametrize(("need_mib", "sigma"), [(9, 0.02), (60, 0.03), (200, 0.03)])
def test_held_back_runs_work_at_the_limits(need_mib, sigma):
    """All of 30 of them, in more than 93 of 100 cases, at a slack of at most 15 %."""
    fits, draws = 100, 300
    failing, slack = [], []
    for seed in range(fits):
        service = Service(need_mib=need_mib, noise=0, sigma=sigma, seed=seed)
        limit_bytes = walk(Settings(), service).limits.memory_bytes
        rng = random.Random(seed)
        failing.append(sum(service.need(rng) > limit_bytes for _ in range(draws)) / draws)
        slack.append(1 - need_mib * MIB / limit_bytes)
    assert sum((1 - share) ** 30 for share in failing) / fits > 0.93
    assert sum(slack) / fits <= 0.15


@pytest.mark.parametrize("missed", [0.05, 0.2, 0.8, 0.95])
def test_a_short_peak_that_some_samples_miss_is_no_scatter(missed):
    """The trials at the cliff miss nothing, and say how far such values can be believed."""
    need_bytes = 60 * MIB
    limits = sorted(
        walk(Settings(), Service(need_mib=60, noise=0.01, peak_missed=missed, seed=seed)).limits.memory_bytes
        for seed in range(30)
    )
    assert limits[0] > 1.01 * need_bytes
    assert limits[-1] <= 1.18 * need_bytes
    assert limits[-1] <= 1.1 * limits[len(limits) // 2]


def test_memory_high_is_where_the_limit_would_be_and_the_limit_above_it():
    asked, plain = walk(Settings(memory_high=True), Service()), walk(Settings(), Service())
    assert asked.state is State.CONFIRMED, asked.stop
    assert asked.limits.memory_high_bytes == plain.limits.memory_bytes
    assert 1.2 * asked.limits.memory_high_bytes <= asked.limits.memory_bytes <= 1.25 * asked.limits.memory_high_bytes
    assert [line for line in drop_in_lines(asked) if line.startswith("Memory")] == [
        f"MemoryHigh={size_text(asked.limits.memory_high_bytes)}",
        f"MemoryMax={size_text(asked.limits.memory_bytes)}",
        "MemorySwapMax=0",
    ]
    assert plain.limits.memory_high_bytes is None


def test_both_memory_limits_are_raised_when_the_load_is_slower_at_them():
    service = Service()

    def attempt(limits: LimitSet, purpose: str) -> Run:
        run = service(limits, purpose)
        throttled = purpose == "confirm-limits" and limits.memory_high_bytes < 125 * MIB
        return replace(run, costs_s={"load": 2.0}) if throttled else run

    found = walk(Settings(memory_high=True, max_trials=100), attempt)
    assert found.state is State.CONFIRMED, found.stop
    assert found.limits.memory_high_bytes >= 125 * MIB
    assert found.limits.memory_bytes >= 1.2 * found.limits.memory_high_bytes


def test_the_knee_lies_above_the_cliff():
    found = walk(Settings(), Service(knee_mib=200))
    assert found.state is State.CONFIRMED, found.stop
    assert 200 * MIB <= found.limits.memory_bytes <= 1.25 * 200 * MIB
    assert found.knee.failed < 200 * MIB


def test_a_failure_for_want_of_tasks_says_nothing_of_memory():
    """Short of memory, the service starts three more threads."""
    service = Service()

    def attempt(limits: LimitSet, purpose: str) -> Run:
        run = service(limits, purpose)
        short = limits.memory_bytes is not None and limits.memory_bytes < 200 * MIB
        if run.passed and short and limits.tasks is not None and limits.tasks < 15:
            return replace(run, outcome=Outcome.FAIL, cause=Cause.TASKS, reason="no fork")
        return run

    found = walk(Settings(), attempt)
    assert found.state is State.CONFIRMED, found.stop
    assert found.limits.tasks >= 15
    assert found.limits.memory_bytes <= 1.25 * 100 * MIB
    assert any("for want of tasks" in note for note in found.notes)


def test_too_few_descriptors_are_found_where_memory_is_left_alone():
    """As redis: it reserves some for itself and takes fewer clients, which nothing counts."""
    settings = Settings(leave_alone=frozenset({"MemoryMax"}))
    found = walk(settings, _Misleading(Service(needs_descriptors=100)))
    assert found.limits.files is None
    assert 40 <= found.limits.quota_percent <= 48


def test_a_service_that_fails_now_and_then_keeps_its_limit_of_descriptors():
    kept = [walk(Settings(), Service(fails=0.04, seed=seed)).limits.files for seed in range(100)]
    assert sum(files == 36 for files in kept) >= 78  # the others failed twice while confirming


def test_limits_that_are_not_enforced_are_not_recommended():
    service = Service()

    def attempt(limits: LimitSet, purpose: str) -> Run:
        return replace(service(limits.with_(memory_bytes=None, quota_percent=None), purpose), load_held_back_s=None)

    found = walk(Settings(), attempt)
    assert found.limits.memory_bytes is None
    assert found.limits.quota_percent is None
    assert found.limits.tasks == 13
    assert sum("enforce" in note for note in found.notes) == 2


def test_without_a_figure_of_memory_there_are_the_other_limits():
    service = Service()
    unseen = {"needed_bytes": None, "peak_bytes": None}
    found = walk(Settings(), lambda limits, purpose: replace(service(limits, purpose), **unseen))
    assert found.state is State.CONFIRMED, found.stop
    assert found.limits.memory_bytes is None
    assert found.limits.tasks == 13
    assert len([run for run in found.measured if run.limits == LimitSet()]) <= 13


def test_where_the_kernel_keeps_no_peak_the_cliff_may_lie_above_all_samples():
    """Samples miss a peak of 30 % in every run, and the page cache is small."""
    service = Service(peak_missed=1.0, cache_mib=0)

    def attempt(limits: LimitSet, purpose: str) -> Run:
        run = service(limits, purpose)
        return replace(run, peak_bytes=run.needed_bytes, peak_is_sampled=True)

    found = walk(Settings(), attempt)
    assert found.state is State.CONFIRMED, found.stop
    assert found.limits.memory_bytes >= 100 * MIB


def test_memory_that_rises_too_slowly_to_be_a_leak_is_said():
    service = Service()
    rising = Growth(100 * 1024, 2.0, steady=False, rising=True)
    found = walk(Settings(), lambda limits, purpose: replace(service(limits, purpose), growth=rising))
    assert found.limits.memory_bytes is not None
    assert any("memory rose by 100 KiB/s" in note for note in found.notes)


def test_a_leak_gets_no_limit_and_is_said():
    found = walk(Settings(), Service(leaks=True))
    assert found.limits.memory_bytes is None
    assert found.limits.tasks == 13
    assert any("1 MiB/s" in note for note in found.notes)
    assert to_json(found)["leak_bytes_per_s"] == MIB


def test_the_units_own_limits_are_upper_bounds():
    own = LimitSet(memory_bytes=90 * MIB, tasks=100)
    service = Service(need_mib=70, cache_mib=20)
    found = walk(Settings(own=own), service)
    assert all(limits.memory_bytes <= 90 * MIB for limits, _ in service.asked)
    assert found.limits.memory_bytes <= 90 * MIB
    assert found.limits.tasks == 13


def test_descriptors_that_break_the_service_are_left_out():
    service = Service()
    service.needs_descriptors = 100
    broken = walk(Settings(), _Misleading(service))
    assert broken.limits.files is None
    assert "LimitNOFILE" in broken.refused
    assert broken.state is State.CONFIRMED


@dataclass
class _Misleading:
    """Descriptors that no sample sees."""

    service: Service

    def __call__(self, limits: LimitSet, purpose: str) -> Run:
        return replace(self.service(limits, purpose), fd_highest=5)


def test_a_failure_while_confirming_loosens_and_confirms_again():
    found = walk(Settings(max_trials=200), Service(noise=0.02, fails=0.04, seed=3))
    assert found.state is State.CONFIRMED
    assert found.clean == 14


def test_a_limit_of_processes_stays_that_of_tasks():
    service = Service()

    def attempt(limits: LimitSet, purpose: str) -> Run:
        run = service(limits, purpose)
        few = purpose == "confirm-limits" and limits.tasks < 15
        return replace(run, outcome=Outcome.FAIL, cause=Cause.TASKS, reason="no fork") if few else run

    found = walk(Settings(max_trials=100, dedicated_user=True), attempt)
    assert found.state is State.CONFIRMED
    assert found.limits.processes == found.limits.tasks >= 15


def test_a_quota_that_holds_back_too_often_is_raised_while_confirming():
    found = walk(Settings(max_trials=100), Lucky())
    assert found.state is State.CONFIRMED
    assert found.limits.quota_percent >= 60
    assert found.clean == 14
    assert any("of confirming runs: raised" in note for note in found.notes)


class Lucky(Service):
    """Held back in a quarter of its periods below 60 %, which no trial in search of the quota sees."""

    def __call__(self, limits: LimitSet, purpose: str) -> Run:
        run = super().__call__(limits, purpose)
        often = purpose == "confirm-limits" and limits.quota_percent < 60
        share = 0.25 if often else 0.0
        return replace(run, throttled_share=share, load_periods=8, load_held_back_s=share)


@pytest.mark.parametrize("settings", [Settings(confirm_runs=59), Settings(runs=42), Settings(max_trials=10)])
def test_a_budget_that_is_too_small_is_said_and_is_the_end(settings):
    found = walk(settings, Service())
    assert found.state is State.UNCONFIRMED
    assert any("limits.max_trials leaves too few" in note for note in found.notes) == (settings.max_trials == 45)
    assert "no CPUQuota= was found that does not slow the service down" not in found.notes


@dataclass
class FailsOnce:
    """A service of which the nth confirming run fails."""

    nth: int
    cause: Cause
    reason: str
    service: Service = field(default_factory=Service)

    def __call__(self, limits: LimitSet, purpose: str) -> Run:
        run = self.service(limits, purpose)
        confirming = sum(asked == "confirm-limits" for _, asked in self.service.asked)
        if purpose == "confirm-limits" and confirming == self.nth:
            return replace(run, outcome=Outcome.FAIL, cause=self.cause, reason=self.reason)
        return run


def test_one_failure_of_another_kind_is_said_and_counted():
    found = walk(Settings(), FailsOnce(4, Cause.OTHER, "a flake"))
    assert found.state is State.CONFIRMED
    assert (found.clean, found.failed) == (14, 1)
    assert "14 clean runs and 1 failure of another kind" in drop_in_lines(found)[0]
    assert any("a flake" in note for note in found.notes)


def test_busy_runs_are_censored_and_said():
    found = walk(Settings(), Service(busy_until=3))
    assert found.needed.runs == 10
    assert found.needed.censored == 3
    assert any("3 of 13 runs without limits are censored" in note for note in found.notes)
    assert found.state is State.CONFIRMED


def test_times_on_a_busy_host_raise_no_limit_and_that_is_said():
    """From the first trial at a limit on other work makes everything slow."""
    service = Service()

    def attempt(limits: LimitSet, purpose: str) -> Run:
        run = service(limits, purpose)
        slow = {"censored": ("other work took 70% of the processors",), "costs_s": {"load": 3.0}, "start_s": 2.0}
        return run if purpose == "measure" else replace(run, **slow)

    found = walk(Settings(), attempt)
    assert found.state is State.CONFIRMED, found.stop
    assert found.limits.memory_bytes <= 1.25 * 100 * MIB
    assert 40 <= found.limits.quota_percent <= 48
    assert any("was not judged" in note for note in found.notes)


def test_a_start_that_a_quota_holds_back_counts_on_a_busy_host_too():
    """A start of a second of processor time, and 40 % is enough for the load: with 45 % it would take two."""
    service = Service(start_cpu_s=1.0)

    def attempt(limits: LimitSet, purpose: str) -> Run:
        run = replace(service(limits, purpose), start_s=1.0)
        return replace(run, censored=("other work took 70% of the processors",))

    found = walk(Settings(), attempt)
    assert 80 <= found.limits.quota_percent <= 100


def test_too_few_working_runs_are_not_enough_data():
    found = walk(Settings(), Service(fails=0.9))
    assert found.state is State.NOT_ENOUGH_DATA
    assert found.limits == LimitSet()


@pytest.mark.parametrize("after", [1, 12, 20, 30])
def test_a_cut_off_walk_says_so_and_writes_no_limit(after):
    service = Service()

    def attempt(limits: LimitSet, purpose: str) -> Run:
        if service.trials == after:
            return Run("", limits, Outcome.UNRESOLVED, "stopped")
        return service(limits, purpose)

    found = walk(Settings(), attempt)
    assert (found.state, found.stop) == (State.PARTIAL, "stopped")
    assert all(line.startswith("#") for line in drop_in_lines(found))


def test_the_same_answers_lead_to_the_same_walk():
    first, second = Service(), Service()
    assert walk(Settings(), first).limits == walk(Settings(), second).limits
    assert first.asked == second.asked


def test_times_that_scatter_do_not_raise_a_quota_that_never_held_anything_back():
    service = Service()

    def attempt(limits: LimitSet, purpose: str) -> Run:
        run = service(limits, purpose)
        return replace(run, costs_s={"load": 1.5}) if purpose == "quota" else run

    found = walk(Settings(), attempt)
    assert 40 <= found.limits.quota_percent <= 48


def test_left_alone():
    found = walk(Settings(leave_alone=frozenset({"MemoryMax", "CPUQuota", "LimitNOFILE"})), Service())
    assert found.limits == LimitSet(tasks=13)


def test_censored_runs_scatter_too():
    """On a host that is never quiet, or below a quota of its own: 30 of 30 runs work, in more than 90 of 100 cases."""
    fits, draws = 60, 300
    clean = 0.0
    for seed in range(fits):
        service = Service(noise=0, sigma=0.03, seed=seed, busy_until=99)
        limit_bytes = walk(Settings(), service).limits.memory_bytes
        rng = random.Random(seed)
        clean += (1 - sum(service.need(rng) > limit_bytes for _ in range(draws)) / draws) ** 30
    assert clean / fits > 0.9


def test_a_quota_that_was_raised_while_confirming_says_where_its_cliff_is():
    found = walk(Settings(max_trials=100), Lucky())
    assert found.quota.worked == found.limits.quota_percent
    assert found.quota.failed >= 0.9 * found.quota.worked
    assert any(f"{found.limits.quota_percent} % is enough" in line for line in drop_in_lines(found))


def test_a_failure_for_want_of_descriptors_is_no_chance():
    """One while confirming, among runs that work: its limit goes, and no other does."""
    found = walk(Settings(dedicated_user=True), FailsOnce(2, Cause.FILES, "too many open files"))
    assert found.state is State.CONFIRMED, found.stop
    assert (found.limits.files, found.limits.processes, found.failed) == (None, 13, 0)
    assert list(found.refused) == ["LimitNOFILE"]


def test_where_no_limit_is_on_descriptors_their_want_is_a_failure_as_any_other():
    """It is what inotify says, too, when its instances are used up: once is chance."""
    settings = Settings(dedicated_user=True, leave_alone=frozenset({"LimitNOFILE"}))
    found = walk(settings, FailsOnce(2, Cause.FILES, "too many open files"))
    assert found.state is State.CONFIRMED, found.stop


def test_what_the_end_of_the_start_has_held_back_does_not_hide_a_want_of_memory():
    class Slow(Service):
        """Slow below 125 MiB; the first periods of the load are held back by any quota below 90 %."""

        def __call__(self, limits: LimitSet, purpose: str) -> Run:
            run = super().__call__(limits, purpose)
            if limits.quota_percent is not None and limits.quota_percent < 90:
                run = replace(run, load_held_back_s=0.03, throttled_share=0.0, load_periods=18)
            scarce = limits.memory_bytes is not None and limits.memory_bytes < 125 * MIB
            return replace(run, costs_s={"load": 1.5}) if purpose == "confirm-limits" and scarce else run

    found = walk(Settings(max_trials=60), Slow())
    assert found.state is State.CONFIRMED, found.stop
    assert 125 * MIB <= found.limits.memory_bytes <= 150 * MIB
    assert found.limits.quota_percent <= 48


def test_a_quota_that_failed_while_confirming_is_no_longer_said_to_be_enough():
    found = walk(Settings(max_trials=100), FailsOnce(3, Cause.CPU, "held up by its quota"))
    assert found.state is State.CONFIRMED, found.stop
    (failed,) = [run for run in found.confirming if not run.passed]
    assert found.quota.failed == failed.limits.quota_percent < found.limits.quota_percent


def test_a_host_that_becomes_slower_is_not_taken_for_limits_that_are_tight():
    class Drifting(Service):
        """All is half as fast again from the first confirming run on."""

        later = False

        def __call__(self, limits: LimitSet, purpose: str) -> Run:
            run = super().__call__(limits, purpose)
            self.later |= purpose == "confirm-limits"
            return replace(run, costs_s={"load": 1.5 * run.costs_s["load"]}) if self.later else run

    plain, found = walk(Settings(), Service()), walk(Settings(), Drifting())
    assert found.state is State.CONFIRMED, found.stop
    assert found.limits == plain.limits


def test_one_period_held_back_is_chance():
    class Once(Service):
        """The first confirming run of a short load has one of its four periods held back."""

        seen = False

        def __call__(self, limits: LimitSet, purpose: str) -> Run:
            run = super().__call__(limits, purpose)
            first, self.seen = purpose == "confirm-limits" and not self.seen, self.seen or purpose == "confirm-limits"
            return replace(run, throttled_share=0.25 if first else 0.0, load_periods=4)

    found = walk(Settings(), Once())
    assert found.state is State.CONFIRMED, found.stop
    assert not any("raised" in note for note in found.notes)


@pytest.mark.parametrize("trials", [34, 100])
def test_what_was_clean_at_a_tighter_quota_counts_when_no_trials_are_left_to_start_anew(trials):
    class HeldBack(Service):
        """Three of 27 periods of each confirming run are held back, unless the quota is four percent larger."""

        first = 0

        def __call__(self, limits: LimitSet, purpose: str) -> Run:
            run = super().__call__(limits, purpose)
            if purpose != "confirm-limits":
                return replace(run, load_periods=27)
            self.first = self.first or limits.quota_percent
            share = 3 / 27 if limits.quota_percent < 1.03 * self.first else 0.0
            return replace(run, load_periods=27, throttled_share=share, load_held_back_s=share)

    service = HeldBack()
    found = walk(Settings(max_trials=trials), service)
    assert found.state is State.CONFIRMED, found.stop
    assert found.limits.quota_percent >= 1.03 * service.first
    assert found.trials <= trials
    assert (found.clean, found.failed) == (14, 0)
    assert (len(found.at_quota) < 14) is (trials == 34)
    assert found.at_quota
    assert ("of them at a tighter CPUQuota=" in proof(found)) is (trials == 34)
    assert not any("kept their pace" in note for note in found.notes)


@pytest.mark.parametrize("trials", range(34, 46))
def test_the_search_for_a_quota_leaves_enough_trials_to_compare_the_confirming_runs_with(trials):
    class Near(Service):
        """One period of each run is held back, so that each quota is tried again."""

        def __call__(self, limits: LimitSet, purpose: str) -> Run:
            run = super().__call__(limits, purpose)
            return replace(run, load_periods=25, throttled_share=0.04) if purpose == "quota" else run

    service = Near()
    walk(Settings(max_trials=trials), service)
    purposes = [purpose for _, purpose in service.asked]
    confirmed = purposes[purposes.index("confirm-limits") :]
    assert confirmed.count("confirm-limits") == 14
    assert confirmed.count("measure") == 2


def test_a_failure_after_a_quota_was_eased_starts_anew():
    class HeldBackAndShort(Service):
        """Held back until the quota is raised, and then short of memory once."""

        eased = failed = False

        def __call__(self, limits: LimitSet, purpose: str) -> Run:
            run = super().__call__(limits, purpose)
            if purpose != "confirm-limits":
                return replace(run, load_periods=27)
            if not self.eased:
                self.eased, self.first = True, limits.quota_percent
            if limits.quota_percent == self.first:
                return replace(run, load_periods=27, throttled_share=3 / 27, load_held_back_s=0.1)
            if not self.failed:
                self.failed = True
                return replace(run, outcome=Outcome.FAIL, cause=Cause.MEMORY, load_periods=27)
            return replace(run, load_periods=27)

    found = walk(Settings(max_trials=34), HeldBackAndShort())
    assert found.state is State.UNCONFIRMED
    assert found.clean == len(found.at_quota) < 14


def test_a_host_that_drifts_is_not_taken_for_a_knee():
    """Where the run between two that seem slow is as slow, the limit is not the cause."""
    for seed in range(40):

        class Drifting(Service):
            """On a host that gets slower and faster by 15 % within a few dozen trials."""

            def __call__(self, limits: LimitSet, purpose: str) -> Run:
                run = super().__call__(limits, purpose)
                drift = 1 + 0.15 * math.sin(self.trials / 9 + self.seed)
                noise = random.Random(f"{self.seed}/{self.trials}/drift").lognormvariate(0, 0.03)
                return replace(run, costs_s={"load": run.costs_s["load"] * drift * noise})

        found = walk(Settings(), Drifting(seed=seed))
        assert found.limits.memory_bytes <= 1.2 * 100 * MIB, seed


@pytest.mark.parametrize("periods", [100, 1200, 14 * 1200, 10**6])
def test_how_often_chance_holds_back(periods):
    """As many as were expected are no surprise, twice as many are one; of many periods too."""
    assert 0.3 < chance_of(periods // 100, periods / 100) < 0.7
    assert chance_of(2 * periods // 100 + 3, periods / 100) < 0.1
    assert chance_of(1, 0) == 0
