"""Services and steps that are hard to hold: noisy, forking, hanging, hungry, and those that write garbage."""

import json
import subprocess

import pytest

from harness.observation import Observation, Stage
from tests.systemd import tiny
from tests.systemd.tiny import PROJECT

pytestmark = pytest.mark.boots

MEASURED = """
import json, re, sys
from pathlib import Path
from harness.scenario import load
from tests.systemd import tiny
scenario = load(Path(sys.argv[1]))
observation = tiny.trial(scenario, folder=Path(sys.argv[1]).parent / "raw")
print(json.dumps({
    # Of this program alone: what getrusage(2) tells includes the process that it was forked from.
    "peak_mib": int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024,
    "observation": observation.to_json(),
}))
"""
MOST_MIB = 150
IDLE_TABLES = '[[steps]]\nname = "nothing"\nrun = "true"\n'


def measured(path) -> tuple[int, Observation]:
    """A trial in a process of its own: that process's peak memory, and the observation."""
    argv = tiny.python(MEASURED, str(path))
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["peak_mib"], Observation.from_json(answer["observation"])


def once(command: str, **more: str) -> str:
    """A unit that runs a command once and stays active."""
    lines = "".join(f"{key}={value}\n" for key, value in more.items())
    return f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={command}\n{lines}"


def step(run: str, *, extra: str = "") -> str:
    return f"[[steps]]\nname = 'it'\nrun = '''{run}'''\n{extra}\n"


class TestNoise:
    """Much output costs no memory and changes no verdict."""

    @pytest.mark.parametrize(
        ("run", "extra", "passes"),
        [
            ("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo the end", 'stdout_contains = "the end"', True),
            ("echo the start; head -c 100000000 /dev/zero | tr '\\0' x", 'stdout_contains = "the start"', False),
            ("yes | head -c 100000000 >&2; exit 3", "status = 3", True),
            ("head -c 20000000 /dev/urandom; echo; echo the end", 'stdout_contains = "the end"', True),
            ("printf '\\377\\376\\000\\033[31mred'; exit 1", "", False),
        ],
        ids=["100 MB and then the end", "100 MB after the start", "100 MB of errors", "binary", "escapes"],
    )
    def test_step_that_prints(self, tmp_path, run, extra, passes):
        path = tiny.write(tmp_path, tables=step(run, extra=extra))
        peak_mib, observation = measured(path)
        assert peak_mib < MOST_MIB
        assert observation.lost == ""
        assert tiny.verdict(tiny.load(path), observation).passed is passes, observation.steps
        assert len(observation.to_json()) < 100_000
        if "the start" in run:
            assert "the last MiB" in observation.steps[-1].problem

    def test_service_that_logs_a_lot(self, tmp_path):
        service = once("sh -c 'yes a line of a log | head -c 2000000; echo the end'", TimeoutStartSec="120")
        peak_mib, observation = measured(tiny.write(tmp_path, service, IDLE_TABLES, head="start_timeout_s = 120\n"))
        assert observation.lost == ""
        assert observation.reached is Stage.DONE
        assert any(line.message == "the end" for line in observation.journal)
        assert peak_mib < MOST_MIB

    def test_service_that_logs_garbage(self, tmp_path):
        garbage = (
            r"import sys; out = sys.stdout.buffer; out.write(b'\x1b[31mred\x1b]0;title\x07\n' + b'not \xff\xfe UTF-8\n'"
            r" + b'a \x00 zero\n' + b'long ' + b'x' * 1000000 + b'\n' + b'five thousand ' + b'y' * 5000 + b'\n'"
            r" + 'line\u2028separator\n'.encode()); out.flush(); sys.exit(1)"
        )
        unit = once("/usr/bin/python3 /garbage.py")
        path = tiny.write(tmp_path, unit, IDLE_TABLES)
        (tmp_path / "garbage.py").write_text(garbage)
        text = path.read_text().replace("files = [", 'files = [{ source = "garbage.py", target = "/garbage.py" }, ')
        path.write_text(text)
        peak_mib, observation = measured(path)
        messages = [line.message for line in observation.journal]
        assert peak_mib < MOST_MIB
        assert observation.start_problem
        assert any("not \ufffd\ufffd UTF-8" in message for message in messages)
        assert any(message.startswith("five thousand yyy") for message in messages)
        assert any(message.startswith("long xxx") for message in messages)
        assert max(map(len, messages)) <= 4001
        assert Observation.from_json(observation.to_json()) == observation
        assert "\n" not in observation.to_json()


class TestKindsOfUnits:
    def test_forking_with_a_pid_file(self, tmp_path):
        service = (
            "[Service]\nType=forking\nPIDFile=/run/tiny.pid\n"
            "ExecStart=sh -c '(echo worker >/run/seen; exec sleep infinity) & echo $! >/run/tiny.pid'\n"
        )
        scenario = tiny.scenario(
            tmp_path, service, step("test $(systemctl show -P MainPID tiny) = $(cat /run/tiny.pid)")
        )
        observation = tiny.trial(scenario)
        assert tiny.verdict(scenario, observation).passed, observation
        assert [process.comm for process in observation.processes] == ["sleep"]
        assert observation.after_stop.active_state == "inactive"

    def test_instance_of_a_template(self, tmp_path):
        service = "[Service]\nExecStart=sh -c 'echo %i >/run/instance; exec sleep infinity'\n"
        tables = "[ready]\nrun = 'test -s /run/instance'\n" + step(
            "cat /run/instance", extra='stdout_contains = "one-two"'
        )
        scenario = tiny.scenario(tmp_path, service, tables, unit="tiny@one-two.service")
        observation = tiny.trial(scenario, "[Service]\nUMask=0077\n")
        assert tiny.verdict(scenario, observation).passed, observation
        assert observation.counters.memory_peak_bytes

    def test_daemon_that_leaves_processes_behind(self, tmp_path):
        service = (
            "[Service]\nType=forking\nKillMode=process\n"
            "ExecStart=sh -c 'setsid sleep 4000 & setsid sleep 4001 & (exec sleep 4002) & exit 0'\n"
        )
        scenario = tiny.scenario(tmp_path, service, IDLE_TABLES)
        observation = tiny.trial(scenario)
        assert observation.lost == ""
        assert observation.reached is Stage.DONE
        assert observation.counters.tasks_peak is None or observation.counters.tasks_peak >= 3

    def test_ignores_sigterm(self, tmp_path):
        deaf = "trap '' TERM; touch /run/deaf; exec sleep 4000"
        service = f'[Service]\nExecStart=sh -c "{deaf}"\nTimeoutStopSec=300\n'
        # Not before it is deaf: a signal that comes first would end it.
        tables = '[[steps]]\nname = "deaf"\nrun = "until test -e /run/deaf; do sleep 0.01; done"\n'
        scenario = tiny.scenario(tmp_path, service, tables, head="stop_timeout_s = 1\n")
        observation = tiny.trial(scenario)
        verdict = tiny.verdict(scenario, observation)
        assert "did not finish in 1 s" in observation.stop_problem
        assert verdict.failed
        assert verdict.reason.startswith("stop: ")
        assert observation.durations_s["stop"] < 10

    def test_killed_by_systemds_own_stop_timeout(self, tmp_path):
        service = "[Service]\nExecStart=sh -c \"trap '' TERM; while :; do sleep 1; done\"\nTimeoutStopSec=1\n"
        observation = tiny.trial(tiny.scenario(tmp_path, service, IDLE_TABLES))
        assert (observation.after_stop.active_state, observation.after_stop.result) == ("failed", "timeout")

    def test_hangs_at_start(self, tmp_path):
        service = once("sleep 1000", TimeoutStartSec="infinity")
        scenario = tiny.scenario(tmp_path, service, IDLE_TABLES, head="start_timeout_s = 1\n")
        observation = tiny.trial(scenario)
        assert "did not finish in 1 s" in observation.start_problem
        assert observation.durations_s["start"] < 10
        assert tiny.verdict(scenario, observation).failed


class TestSteps:
    def test_hangs_and_leaves_children(self, tmp_path):
        run = "setsid sleep 3000 & sleep 3001 & sleep 3002"
        after = "[[steps]]\nname = 'never'\nrun = 'true'\n"
        scenario = tiny.scenario(tmp_path, tables=step(run, extra="timeout_s = 1") + after)
        observation = tiny.trial(scenario)
        hung = observation.steps[-1]
        assert (hung.name, hung.timed_out, hung.problem) == ("it", True, "no end within 1 s")
        assert hung.duration_s < 10
        assert tiny.verdict(scenario, observation).failed
        assert observation.after_stop.active_state == "inactive"

    def test_leaves_a_child_that_holds_its_output(self, tmp_path):
        """As a step that starts a listener does: its end counts, not the listener's."""
        scenario = tiny.scenario(tmp_path, tables=step("echo done; sleep 3000 &", extra='stdout_contains = "done"'))
        observation = tiny.trial(scenario)
        assert tiny.verdict(scenario, observation).passed, observation.steps
        assert observation.steps[-1].duration_s < 10

    def test_missing_command_is_named(self, tmp_path):
        scenario = tiny.scenario(tmp_path, tables=step("no-such-command --help"))
        observation = tiny.trial(scenario)
        assert observation.steps[-1].problem == "exit status 127 (command not found) (expected 0)"
        assert "no-such-command" in tiny.verdict(scenario, observation).detail

    def test_runs_as_another_user(self, tmp_path):
        scenario = tiny.scenario(tmp_path, tables=step("id -un", extra='user = "daemon"\nstdout_matches = "^daemon$"'))
        observation = tiny.trial(scenario)
        assert tiny.verdict(scenario, observation).passed, observation.steps

    def test_sees_a_plain_environment(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
        scenario = tiny.scenario(tmp_path, tables=step("env", extra='stdout_contains = "HARNESS_SEED=1"'))
        observation = tiny.trial(scenario)
        assert tiny.verdict(scenario, observation).passed
        names = {line.partition("=")[0] for line in observation.steps[-1].stdout.splitlines()}
        assert "SECRET_OF_THE_HOST" not in names
        assert "NOTIFY_SOCKET" not in names
        assert "SYSTEMD_SECCOMP" not in names


class TestMemory:
    """What a service writes: to shared memory it is its own, on disk it is page cache that v1 counts as well."""

    def peak(self, tmp_path, path: str) -> int:
        service = (
            f"[Service]\nExecStart=sh -c 'head -c 50000000 /dev/zero >{path}; touch /run/done; exec sleep infinity'\n"
        )
        scenario = tiny.scenario(tmp_path, service, "[ready]\nrun = 'test -e /run/done'\n" + IDLE_TABLES)
        observation = tiny.trial(scenario)
        assert tiny.verdict(scenario, observation).passed, observation
        assert observation.counters.memory_peak_bytes is not None
        return observation.counters.memory_peak_bytes

    def test_shared_memory_counts(self, tmp_path):
        assert self.peak(tmp_path, "/dev/shm/large") >= 50_000_000

    def test_page_cache_counts_too(self, tmp_path):
        # memory.max_usage_in_bytes (v1) and memory.peak (v2) both count it, although it can be reclaimed at any time:
        # a peak is no need.
        assert self.peak(tmp_path, "/var/lib/large") >= 50_000_000

    def test_page_cache_is_reclaimed_under_a_limit(self, tmp_path):
        service = (
            "[Service]\nMemoryMax=20M\nExecStart=sh -c 'head -c 50000000 /dev/zero >/var/lib/large; touch /run/done;"
            " exec sleep infinity'\n"
        )
        scenario = tiny.scenario(tmp_path, service, "[ready]\nrun = 'test -e /run/done'\n" + IDLE_TABLES)
        observation = tiny.trial(scenario)
        assert tiny.verdict(scenario, observation).passed, observation
        assert observation.counters.memory_peak_bytes <= 20 * 2**20
        assert observation.counters.oom_kills == 0


def test_records_are_no_log_lines_and_text_beside_them_is(tmp_path):
    binary = "head -c 9 /dev/zero >/var/log/app/wtmp; echo pts/1 >>/var/log/app/wtmp"
    service = once(f"sh -c 'mkdir /var/log/app; {binary}; echo began >/var/log/app/log'")
    seen = tiny.trial(tiny.scenario(tmp_path, service, IDLE_TABLES))
    assert {"/var/log/app/wtmp", "/var/log/app/log"} <= set(seen.written)
    assert [line.message for line in seen.journal if line.identifier.startswith("/var/log/app/")] == ["began"]


def test_a_unit_that_systemd_skips_did_not_start(tmp_path):
    scenario = tiny.scenario(tmp_path, f"[Unit]\nConditionPathExists=/nowhere/at/all\n{tiny.IDLE}")
    observation = tiny.trial(scenario)
    assert "a condition of the unit is not met" in observation.start_problem
    assert "ConditionPathExists=/nowhere/at/all" in tiny.verdict(scenario, observation).reason


def test_a_companion_that_never_gets_ready_is_shown_with_its_log(tmp_path):
    companion = '[[companions]]\nname = "peer"\nrun = "echo out of order; sleep 60"\n'
    ready = 'ready = { run = "false", timeout_s = 1 }\n'
    observation = tiny.trial(tiny.scenario(tmp_path, tables=companion + ready + tiny.IT_RUNS))
    assert "out of order" in observation.steps[-1].stderr
