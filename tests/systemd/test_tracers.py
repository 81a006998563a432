"""What a traced pass sees of one service, by BPF and by strace: the same, as far as both can."""

import pytest

from harness.machine import strace, tracer
from harness.observation import OWN_ADDRESS, Seen
from harness.trial import run
from harness.trial.run import Trial, run_trial
from harness.unit.unitfile import parse
from tests.conftest import unavailable
from tests.systemd import tiny

pytestmark = pytest.mark.boots

# A forking service of another user, as the tracer must not come between systemd and the main process.
PROGRAM = r"""
import os, socket
try:
    os.setpriority(os.PRIO_PROCESS, 0, -5)
except PermissionError:
    pass
open("/var/lib/tiny/state", "w").write("x")
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.7", 9))
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, ("127.0.0.8", 9))
os.spawnv(os.P_WAIT, "/bin/true", ["true"])
if os.fork():
    os._exit(0)
os.setsid()
open("/run/tiny/pid", "w").write(str(os.getpid()))
while True:
    os.sched_yield()
    __import__("time").sleep(0.05)
"""
SERVICE = """\
[Service]
Type=forking
PIDFile=/run/tiny/pid
User=daemon
RuntimeDirectory=tiny
StateDirectory=tiny
ExecStart=/usr/bin/python3 -ISB /harness-scenario/program.py
"""
READY = '[ready]\nrun = "test -s /run/tiny/pid"\n'


def traced(folder) -> Seen:
    (folder / "tiny").mkdir(parents=True)
    (folder / "tiny" / "program.py").write_text(PROGRAM)
    scenario = tiny.scenario(folder, SERVICE, READY + tiny.IT_RUNS)
    observation = run_trial(Trial(scenario, "0001", "tiny", "", seed=1, trace=parse(SERVICE)))
    assert tiny.verdict(scenario, observation).passed, tiny.verdict(scenario, observation).detail
    assert observation.seen is not None
    return observation.seen


def check(seen: Seen) -> None:
    assert "/var/lib/tiny/state" in seen.opened_for_writing
    assert "/usr/bin/true" in seen.executed
    assert "AF_INET" in seen.families
    assert {"127.0.0.7", "127.0.0.8"} <= {*seen.peers}
    assert {"setsid", "sched_yield", "execve"} <= {*seen.calls}
    assert seen.shared == ("/var/lib/tiny/state",)
    assert "setpriority" in seen.refused
    assert not {"setsid", "sched_yield", "openat"} & {*seen.refused}
    assert not seen.writable_code


LISTENS_ON_EACH = r"""
import re, socket, subprocess
text = subprocess.run(["ip", "-4", "-o", "address"], capture_output=True, text=True).stdout
for address in re.findall(r"inet ([0-9.]+)/", text):
    listening = socket.create_server((address, 5353))
    listening.detach()
print("ready", flush=True)
while True:
    __import__("time").sleep(1)
"""


def test_who_binds_each_address_of_the_host_is_seen(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "program.py").write_text(LISTENS_ON_EACH)
    service = "[Service]\nExecStart=/usr/bin/python3 -ISB /harness-scenario/program.py\n"
    ready = '[ready]\nrun = "journalctl -u tiny -o cat | grep -q ready"\n'
    scenario = tiny.scenario(tmp_path, service, ready + tiny.IT_RUNS)
    traced = run_trial(Trial(scenario, "0001", "tiny", "", seed=1, trace=parse(service)))
    assert {"tcp 127.0.0.1:5353", f"tcp {OWN_ADDRESS}:5353"} <= {*traced.listening}
    assert f"tcp {OWN_ADDRESS}:5353" not in tiny.trial(scenario).listening


def test_by_bpf(tmp_path):
    if not tracer.available():
        unavailable("bpftrace is not installed")
    seen = traced(tmp_path)
    check(seen)
    assert seen.tracer == "bpftrace"


def test_by_strace_where_bpf_is_not_to_be_had(tmp_path, monkeypatch):
    if not strace.available(tmp_path.__class__("/")):
        unavailable("strace is not installed")
    monkeypatch.setattr(run, "tracing_available", lambda: False)
    seen = traced(tmp_path)
    check(seen)
    assert seen.tracer == "strace"
    assert seen.capabilities is None
