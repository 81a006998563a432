from dataclasses import replace

import pytest

from harness.judge.verdict import Outcome
from harness.observation import Counters, UnitState
from harness.scenario import Scenario
from tests.judge.facts import ALL, SCENARIO, baseline, line, observation, process, step, verdict

KILLED = "worker was ended by signal 31 for the system call keyctl: audit: type=1326 sig=31 syscall=250"
IN_ORDER = [
    ({"start_problem": "systemctl start failed"}, "start: systemctl start failed"),
    ({"steps": (step("it", "exit status 1"), step("on", "exit status 2"))}, "step it: exit status 1"),
    ({"counters": Counters(oom_kills=2)}, "2 process(es) killed for lack of memory"),
    ({"counters": Counters(forks_rejected=1)}, "1 fork(s) rejected"),
    ({"at_work": UnitState("active", restarts=3)}, "systemd restarted the service 3 time(s)"),
    ({"stop_problem": "systemctl stop did not finish in 5 s"}, "stop: systemctl stop did not finish in 5 s"),
    ({"at_work": UnitState("failed", restarts=0)}, "the unit is failed after the workload"),
    ({"processes": (process("tiny", 0, 0, ALL | 1 << 45),)}, "more privilege than at baseline"),
    ({"after_stop": UnitState("failed", result="signal")}, "unclean stop: failed (signal)"),
    ({"kernel": (KILLED,)}, "worker was ended by a filter for keyctl"),
    ({"journal": (line("cannot chown"),)}, "new in the log: cannot chown"),
]


def test_a_pass_needs_no_more_than_this():
    assert verdict(observation(), baseline()).outcome is Outcome.PASS
    assert verdict(observation()).passed
    assert verdict(observation()).trial_id == "0007"


@pytest.mark.parametrize(("facts", "reason"), IN_ORDER)
def test_each_problem_fails(facts, reason):
    found = verdict(observation(**facts), baseline())
    assert found.failed
    assert found.reason.startswith(reason)


def test_the_first_in_order_is_the_reason():
    everything = {}
    for facts, reason in reversed(IN_ORDER):
        everything = {**everything, **facts}
        if "counters" in facts or "at_work" in facts:
            continue  # two of these each say different things of one field
        assert verdict(observation(**everything), baseline()).reason.startswith(reason.split(" (")[0][:20])


def test_a_lost_machine_says_nothing_whatever_else_was_seen():
    found = verdict(observation(lost="the machine vanished", start_problem="no"), baseline())
    assert found.outcome is Outcome.UNRESOLVED
    assert found.reason == "the machine vanished"
    assert found.suspects == ()


def test_the_manager_says_it_best_why_a_unit_did_not_start():
    said = line("tiny.service: Failed at step EXEC spawning /x: No such file or directory", 3, from_manager=True)
    found = verdict(observation(start_problem="Job failed.", steps=(), journal=(line("own"), said)))
    assert found.reason.startswith(f"start: {said.message}")


def test_not_measured_is_not_zero_and_no_problem():
    assert verdict(observation(counters=Counters(), at_work=UnitState("active", restarts=None)), baseline()).passed


def test_an_unclean_stop_is_fine_where_the_baseline_has_the_same():
    unclean = observation(after_stop=UnitState("failed", "failed", "signal"))
    assert verdict(unclean, baseline(unclean)).passed
    assert verdict(unclean, baseline()).failed


def test_a_stop_that_could_not_be_read_fails_even_without_a_baseline():
    assert verdict(observation(after_stop=UnitState())).failed


def test_a_port_that_is_no_longer_listened_on_is_missed():
    before = baseline(observation(listening=("tcp 127.0.0.1:80", "tcp [::]:80", "udp 0.0.0.0:45000", "netlink 0")))
    found = verdict(observation(listening=("tcp 127.0.0.1:80",)), before)
    assert (found.failed, found.reason) == (True, "no longer listens: tcp [::]:80")
    assert found.missed == ("no longer listens: tcp [::]:80",)


def test_a_port_above_is_the_services_own_if_every_run_has_it():
    runs = [observation(listening=("tcp 0.0.0.0:64738", f"udp 0.0.0.0:{port}")) for port in (40001, 40002)]
    assert baseline(*runs).listens == {"tcp 0.0.0.0:64738"}
    assert verdict(observation(), baseline(*runs)).reason == "no longer listens: tcp 0.0.0.0:64738"
    assert verdict(observation(listening=("tcp 0.0.0.0:64738",)), baseline(*runs)).passed


def test_what_a_filter_ends_before_anything_is_tightened_is_no_damage():
    assert verdict(observation(kernel=(KILLED,)), baseline(observation(kernel=(KILLED,)))).passed
    numbered = [KILLED.replace("worker", f"worker-{number}") for number in (7, 12)]
    assert verdict(observation(kernel=(numbered[0],)), baseline(observation(kernel=(numbered[1],)))).passed


def test_a_user_namespace_of_a_process_s_own_gives_it_every_capability():
    renderer = process("chrome", bounding=ALL, namespaces=("user",), pid=9)
    tightened = {"tightenings": ("CapabilityBoundingSet -CAP_SYS_ADMIN",)}
    main = process("tiny", bounding=0)
    before = baseline(observation(processes=(main, renderer)))
    assert verdict(observation(processes=(main, renderer), **tightened), before).passed
    without = process("chrome", bounding=ALL, pid=9)
    found = verdict(observation(processes=(main, without), **tightened), before)
    assert "chrome (pid 9) runs without CapabilityBoundingSet -CAP_SYS_ADMIN" in found.reason


def test_all_that_stays_away_is_told_and_ignored_lines_are_not():
    before = baseline(observation(journal=(line("took 3 ms"), line("began")), written=("/var/lib/x",)))
    assert verdict(observation(), before).missed == (
        "no longer written: /var/lib/x",
        "no longer logged: began",
        "no longer logged: took <n>s",
        "no longer logs anything: tiny",
    )
    scenario = SCENARIO.model_copy(update={"ignore_log": (r"took \d+ ms",)})
    assert "no longer logged: took <n>s" not in verdict(observation(), before, scenario).missed


def test_a_host_without_memory_says_nothing_of_the_candidate():
    kill = "oom-kill:constraint=CONSTRAINT_{},nodemask=(null),task_memcg=/a,task=tiny,pid=40,uid=0"
    killed = {"counters": Counters(oom_kills=1)}
    assert verdict(observation(**killed, kernel=(kill.format("NONE"),)), baseline()).outcome is Outcome.UNRESOLVED
    assert verdict(observation(**killed, kernel=(kill.format("MEMCG"),)), baseline()).failed
    assert verdict(observation(**killed), baseline()).failed


def test_ignored_lines_do_not_fail():
    scenario = SCENARIO.model_copy(update={"ignore_log": ("chown",)})
    assert verdict(observation(journal=(line("cannot chown"),)), baseline(), scenario).passed


def test_a_warning_that_stays_away_is_damage_only_where_nothing_is_heard_any_more():
    warned = replace(line("authentication failure"), identifier="auth")
    before = baseline(observation(journal=(warned, line("hello"))))
    silent = verdict(observation(journal=(line("hello"),)), before)
    assert (silent.failed, silent.reason) == (True, "no longer logs anything: auth")
    assert verdict(observation(journal=(replace(warned, message="session opened"), line("hello"))), before).passed


class TestSpeed:
    def load(self, duration_s: float, kind: str = "load", cpu_s: float | None = None):
        return observation(steps=(step("it", kind=kind, duration_s=duration_s, service_cpu_s=cpu_s),))

    @pytest.mark.parametrize(
        ("duration_s", "cpu_s", "passes"),
        [
            (1.7, 5.0, True),  # within 1.5 times, and noise
            (2.0, 1.0, True),  # the machine was busy: the service worked no more
            (2.0, 2.0, False),
            (5.0, 1.0, False),  # so much longer that it waited
        ],
    )
    def test_load_steps(self, duration_s, cpu_s, passes):
        found = verdict(self.load(duration_s, cpu_s=cpu_s), baseline(self.load(1.0, cpu_s=1.0)))
        assert found.passed is passes, found.reason
        assert found.only_slow is not passes

    def test_functional_steps_may_take_longer(self):
        assert verdict(self.load(9.0, "functional"), baseline(self.load(1.0, "functional"))).passed

    def test_a_step_that_the_baseline_lacks_is_not_compared(self):
        other = observation(steps=(step("new", kind="load", duration_s=60.0),))
        assert verdict(other, baseline(self.load(1.0))).passed


def test_evidence_is_short():
    long = observation(start_problem="no", steps=(), journal=tuple(line("x" * 5000) for _ in range(50)))
    found = verdict(long)
    assert len(found.detail.splitlines()) <= 6
    assert max(map(len, found.detail.splitlines())) <= 300


class TestBaseline:
    def test_patience_is_ample_and_never_tiny(self):
        before = baseline(observation(steps=(step("it", duration_s=2.0), step("quick", duration_s=0.01))))
        patience = before.patience_s(SCENARIO)
        assert patience["it"] == pytest.approx(12.0)
        assert patience["quick"] == pytest.approx(2.0)
        assert patience["start"] == pytest.approx(2.0)

    def test_patience_leaves_room_for_an_allowed_slowdown(self):
        slow = Scenario.model_validate({**SCENARIO.model_dump(mode="json", exclude={"path"}), "slowdown_max": 10})
        assert baseline().patience_s(slow)["it"] == pytest.approx(20.0)

    def test_the_slowest_run_counts(self):
        runs = [observation(steps=(step("it", duration_s=value),)) for value in (1.0, 3.0, 2.0)]
        assert baseline(*runs).slowest_s["it"] == 3.0
