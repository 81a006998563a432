"""A load step that takes longer under a candidate: its fault, unless everything does by then."""

from pathlib import Path

import pytest

from harness.attempts import Request
from harness.judge.baseline import Baseline
from harness.judge.verdict import Verdict
from harness.session import Listener, Options, opened
from tests.systemd import tiny

pytestmark = pytest.mark.boots

LOAD = """
[[steps]]
name = "load"
kind = "load"
run = "test ! -e /shown/busy || sleep 2; systemctl show -p Nice tiny | grep -q =0 || sleep 2"
"""


def tried(folder: Path, *, busy: bool, line: str = "") -> Verdict:
    """The verdict on a candidate with `line`, on a host that is `busy` since the baseline."""
    shown = folder / "shown"
    shown.mkdir()
    head = 'trees = [{ source = "shown", target = "/shown", made_by = "mkdir shown" }]'
    scenario = tiny.scenario(folder, tables=LOAD, head=head)
    with opened(scenario, Options(results=folder / "results", workers=1), Listener()) as session:
        walk = session.walk()
        observations, _ = walk.plain_baseline()
        if busy:
            (shown / "busy").touch()
        request = Request(f"{walk.render(())}\n[Service]\n{line}\n", purpose="search")
        ((verdict, _),) = walk.judged([request], Baseline.of(observations))
    return verdict


def test_a_candidate_that_slows_it_down_fails(tmp_path):
    verdict = tried(tmp_path, busy=False, line="Nice=5")
    assert verdict.failed
    assert verdict.only_slow


def test_a_host_that_became_slower_is_nobodys_fault(tmp_path):
    assert tried(tmp_path, busy=True).passed
