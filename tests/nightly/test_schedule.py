"""The units of the night: what systemd reads of them, and that they are shown before they are written."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import schedule
from harness.machine.boot import WITHHELD
from harness.unit.unitfile import parse
from tests.conftest import unavailable

HARNESS = str(Path(sys.executable).with_name("harness"))


def units(**changes) -> schedule.Units:
    return schedule.units(["--keep", "5"], **{"calendar": "*-*-* 02:00", "minutes": 60, **changes})


@pytest.mark.parametrize("folder", ["plain", "with a blank and 100%"])
def test_systemd_has_nothing_to_complain_of(tmp_path, folder):
    if shutil.which("systemd-analyze") is None:
        unavailable("no systemd-analyze here")
    (tmp_path / folder).mkdir()
    paths = units(folder=tmp_path / folder).write(tmp_path)
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_backslash_in_a_name_reaches_the_harness():
    """systemd reads escapes within quotes of either kind: systemd.service(5), "Command lines"."""
    text = schedule.units([r"/s/foo\x2dbar.toml"], calendar="daily", minutes=60).service
    assert parse(text).get("Service", "ExecStart").endswith(r"'/s/foo\\x2dbar.toml'")


def test_it_gives_way_and_has_an_end():
    unit = parse(units().service)
    assert unit.get("Service", "Nice") == "19"
    assert unit.get("Service", "IOSchedulingClass") == "idle"
    assert unit.get("Service", "TimeoutStartSec") == "90min"
    assert parse(units(minutes=None).service).get("Service", "TimeoutStartSec") is None
    timer = parse(units().timer)
    assert timer.get("Timer", "Persistent") == "true"
    assert timer.get("Timer", "RandomizedDelaySec") == "1h"


def test_it_keeps_what_the_harness_and_the_scenarios_need():
    dropped = parse(units(granted=["CAP_SYS_TIME"]).service).get("Service", "CapabilityBoundingSet")
    names = set(dropped.removeprefix("~").split())
    assert dropped.startswith("~")
    assert names == set(WITHHELD) - {"CAP_SYSLOG", "CAP_SYS_TIME"}


def test_nothing_of_it_reaches_into_the_machines():
    """Filters, mounts and NoNewPrivileges= of this unit would be measured by the trials it makes."""
    text = units().service
    keys = {line.partition("=")[0] for line in text.splitlines() if not line.startswith("#")}
    assert not keys & {"NoNewPrivileges", "SystemCallFilter", "PrivateDevices", "PrivateTmp", "MemoryDenyWriteExecute"}
    assert not [key for key in keys if key.startswith(("Protect", "Restrict", "Limit", "ReadOnly", "Inaccessible"))]


class TestInstalling:
    @pytest.fixture
    def install(self, tmp_path):
        scenario = tmp_path / "scenarios" / "one.toml"
        scenario.parent.mkdir()
        scenario.write_text("")
        target = tmp_path / "units"
        target.mkdir()

        def run(*arguments: str, answer: str = "", status: int = 0) -> tuple[str, dict[str, str]]:
            command = [HARNESS, "nightly", "--install", "--unit-folder", str(target), *arguments]
            done = subprocess.run(command, cwd=tmp_path, input=answer, capture_output=True, text=True, check=False)
            assert done.returncode == status, done.stderr
            return done.stdout, {path.name: path.read_text() for path in target.iterdir()}

        return run

    def test_it_is_shown_first_and_no_is_no(self, install):
        shown, written = install(answer="n\n", status=2)
        assert "ExecStart=" in shown
        assert "OnCalendar=" in shown
        assert written == {}

    def test_without_an_answer_nothing_is_written(self, install):
        assert install(status=2)[1] == {}

    def test_yes_is_yes(self, install):
        shown, written = install(answer="y\n")
        assert set(written) == {schedule.SERVICE, schedule.TIMER}
        assert all(line in shown for text in written.values() for line in text.splitlines())
        assert "systemctl enable --now harness-nightly.timer" in shown

    def test_what_was_said_here_is_said_there(self, install, tmp_path):
        words = ("--yes", "--minutes-each", "20", "--search", "always", "--calendar", "Sun 03:00", "scenarios/one.toml")
        _, written = install(*words)
        command = parse(written[schedule.SERVICE]).get("Service", "ExecStart")
        assert command.startswith(f"{HARNESS} nightly {tmp_path}/scenarios/one.toml --results {tmp_path}/results")
        assert "--minutes-each 20" in command
        assert "--search always" in command
        assert parse(written[schedule.TIMER]).get("Timer", "OnCalendar") == "Sun 03:00"


@pytest.mark.boots
def test_the_harness_works_under_what_the_unit_takes(tmp_path):
    """A trial with no network but loopback and without the capabilities, as the service has it."""
    from tests.systemd import tiny

    path = tiny.write(tmp_path)
    dropped = parse(units().service).get("Service", "CapabilityBoundingSet").removeprefix("~").split()
    less = ",".join("-" + name.removeprefix("CAP_").lower() for name in dropped)
    wrap = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", "setpriv", f"--bounding-set={less}"]
    done = subprocess.run([*wrap, HARNESS, "try", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
