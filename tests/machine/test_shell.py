import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import MachineError, UsageError
from harness.machine import shell

# A Ctrl-C in the very moment of a fork, as a hook that runs then.
INTERRUPTED = """
import os, signal, sys
from harness.machine import shell
armed = [True]
def interrupt():
    if armed.pop() if armed else False:
        os.kill(os.getpid(), signal.SIGINT)
os.register_at_fork(after_in_parent=interrupt)
try:
    shell.run(["sleep", "20"])
except KeyboardInterrupt:
    print(shell.run(["echo", "and on"]).text, end="")
"""


def test_streams_and_status():
    done = shell.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (done.status, done.text, done.error_text) == (3, "out\n", "err")
    assert not done.truncated
    assert not done.timed_out


def test_end_by_a_signal():
    assert shell.run(["sh", "-c", "kill -TERM $$"]).status == -signal.SIGTERM


def test_reads_nothing_from_the_terminal():
    assert shell.run(["cat"], timeout_s=5.0).text == ""


def test_runs_in_a_session_and_locale_of_its_own():
    done = shell.run(["sh", "-c", "ps -o sid= -p $$; echo $LC_ALL $SYSTEMD_COLORS $EXTRA"], env={"EXTRA": "1"})
    session, values = done.text.splitlines()
    assert int(session) != os.getsid(0)
    assert values == "C.UTF-8 0 1"


def test_signals_reach_the_child():
    blocked = shell.run(["sh", "-c", "grep SigBlk /proc/self/status"]).text.split()[1]
    assert int(blocked, 16) == 0


def test_only_the_end_of_much_output_is_kept():
    done = shell.run(["sh", "-c", "echo start; head -c 3000000 /dev/zero; echo end"], kept_bytes=1000)
    assert len(done.stdout) == 1000
    assert done.stdout.endswith(b"\0end\n")
    assert done.truncated


@pytest.mark.parametrize("size", [999, 1000, 1001])
def test_truncated_is_exact(size):
    done = shell.run(["head", "-c", str(size), "/dev/zero"], kept_bytes=1000)
    assert len(done.stdout) == min(size, 1000)
    assert done.truncated is (size > 1000)


def test_much_output_costs_no_memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert shell.run(["head", "-c", "300000000", "/dev/zero"]).status == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB


def test_bytes_that_are_no_text():
    done = shell.run(["printf", r"\377\000x"])
    assert done.stdout == b"\xff\0x"
    assert done.text == "\ufffd\0x"


def test_time_limit():
    began = time.monotonic()
    ended = []
    done = shell.run(["sleep", "60"], timeout_s=0.2, on_timeout=lambda: ended.append(True))
    assert done.timed_out
    assert done.status == -signal.SIGKILL
    assert ended == [True]
    assert time.monotonic() - began < 10


def test_what_an_overrun_command_started_ends_with_it(until):
    done = shell.run(["sh", "-c", "sleep 61 & echo $!; wait"], timeout_s=0.2)
    assert done.timed_out
    assert done.duration_s < 1.5  # nobody else holds its output open
    until(lambda: not Path(f"/proc/{done.text.strip()}").exists())


def test_missing_program():
    with pytest.raises(UsageError, match="no-such-program") as caught:
        shell.run(["no-such-program", "--version"])
    assert "needed for running no-such-program --version" in caught.value.message
    assert "doctor" in caught.value.hint


def test_vanished_cgroup():
    with pytest.raises(MachineError, match="cannot start true") as caught:
        shell.run(["true"], join=[Path("/no/such/cgroup")])
    assert "cgroup.procs" in caught.value.message
    assert "\n" not in caught.value.message


def test_background():
    running = shell.start(["sh", "-c", "echo begun; exec sleep 60"])
    assert running.is_alive()
    running.kill()
    assert not running.is_alive()
    running.kill()
    assert running.output() in ("begun", "")


def test_ctrl_c_in_the_moment_of_a_fork():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "and on\n", done.stderr
