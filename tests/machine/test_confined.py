"""Looking at a unit file with the tools of this host: none of its own units has a hand in it."""

import shutil

import pytest

from harness.machine.confined import ThisHost, look_at_file

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def test_drop_ins_of_this_host_are_not_those_of_the_file(tmp_path, monkeypatch):
    file = tmp_path / "file" / "a.service"
    hosts, own = tmp_path / "units" / "a.service.d" / "a.conf", file.parent / "a.service.d" / "a.conf"
    for path, text in ((file, "ExecStart=/bin/true"), (hosts, "PrivateNetwork=yes\nProtectSystem=strict")):
        path.parent.mkdir(parents=True)
        path.write_text(f"[Service]\n{text}\n")
    alone = look_at_file(file, ThisHost()).exposure
    assert alone is not None
    monkeypatch.setenv("SYSTEMD_UNIT_PATH", f"{hosts.parents[1]}:")  # with those of this host after it
    assert look_at_file(file, ThisHost()).exposure == alone
    own.parent.mkdir()
    own.write_text(hosts.read_text())
    beside = look_at_file(file, ThisHost()).exposure
    assert beside is not None
    assert beside < alone
