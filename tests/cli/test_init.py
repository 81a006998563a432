"""`harness init` writes a scenario that can be read, and tried, as it is."""

import pytest

from harness.scenario import load
from tests.cli.command import harness

pytestmark = pytest.mark.boots


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
