"""`harness init` writes a scenario that can be read, and tried, as it is."""

import subprocess
import tomllib

import pytest

from harness import init
from harness.scenario import load
from tests.cli.command import harness

PREROTATE = """/var/log/x/*.log {
    prerotate
        true
    endscript
    postrotate
        if [ -x /usr/sbin/x ]; then \\
            /usr/sbin/x -k rotate; \\
        fi; \\
    endscript
}
"""


def test_the_script_after_a_rotation_stays_a_script():
    script = init.after_rotating(PREROTATE)
    assert script.splitlines() == ["if [ -x /usr/sbin/x ]; then \\", "    /usr/sbin/x -k rotate; \\", "fi;"]
    assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0
    assert tomllib.loads("\n".join(init._rotated(script)))["run"].strip() == script
    assert init.after_rotating("/var/log/x { weekly }") == ""


@pytest.mark.parametrize(
    ("script", "step"),
    [
        ("kill -USR1 $(cat /run/x.pid)", 'do = "signal" signal = "SIGUSR1"'),
        ("systemctl kill -s HUP rsyslog.service", 'do = "signal" signal = "SIGHUP"'),
        ("systemctl kill --signal=SIGUSR2 x", 'do = "signal" signal = "SIGUSR2"'),
        ("invoke-rc.d --quiet x reload >/dev/null", 'do = "reload"'),
        ("/usr/bin/chronyc cyclelogs", 'run = "/usr/bin/chronyc cyclelogs"'),
    ],
)
def test_a_rotation_is_done_as_the_package_does_it(script, step):
    assert " ".join(init._rotated(script)) == step


@pytest.mark.boots
def test_a_unit_that_does_not_start_is_said_with_what_systemd_says(tmp_path):
    done = harness("init", "systemd-modules-load.service", "--output", "first.toml", folder=tmp_path)
    assert done.status == 0, done.err
    assert "did not start: it is not active after its start · " in (tmp_path / "first.toml").read_text()


@pytest.mark.boots
def test_a_first_scenario_of_an_installed_unit(tmp_path):
    done = harness("init", "redis-server.service", "--output", "first.toml", folder=tmp_path)
    assert done.status == 0, done.err
    assert "in [[steps]]" in done.out
    text = (tmp_path / "first.toml").read_text()
    assert "tcp 127.0.0.1:6379" in text
    assert "systemd-private-" not in text
    assert load(tmp_path / "first.toml").unit == "redis-server.service"
    assert harness("try", "first.toml", folder=tmp_path).status == 0
    again = harness("init", "redis-server.service", "--output", "first.toml", folder=tmp_path)
    assert again.status == 2
    assert (tmp_path / "first.toml").read_text() == text
