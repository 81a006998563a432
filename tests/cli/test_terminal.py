"""What a service writes never steers the terminal."""

import io

import pytest
from rich.console import Console

from harness import cli
from harness.errors import BaselineError
from harness.judge.verdict import Outcome, Verdict
from harness.observation import JournalLine, Observation, StepResult
from harness.report import progress
from harness.report import trial as trial_report
from harness.results.recommendation import one_line

EVIL = "before \x1b]0;title\x07\x1b[31mred\x9b2J\r\x00 after"
STEERING = ("\x1b]0", "\x1b[31m", "\x07", "\x9b", "\x00", "\r")


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, highlight=False, width=80)


def assert_harmless(console: Console) -> None:
    text = console.file.getvalue()
    assert "before" in text
    assert "after" in text
    assert [item for item in STEERING if item in text] == []


def observation() -> Observation:
    step = StepResult(EVIL, "steps", "functional", EVIL, 1, 1.0, stdout=EVIL, stderr=EVIL)
    journal = (JournalLine(3, "x", 1, EVIL, False),)
    return Observation("0001", "c", 1, 0, steps=(step,), journal=journal, kernel=(EVIL,), start_problem=EVIL)


def test_a_trial_shown_in_full():
    out = terminal()
    trial_report.show(observation(), Verdict(Outcome.FAIL, EVIL, EVIL, ("A",), "0001"), out)
    assert_harmless(out)


def test_progress(monkeypatch):
    out = terminal()
    monkeypatch.setattr(progress, "console", lambda **of: out)
    reporter = progress.Reporter()
    reporter.observation(observation())
    reporter.note(EVIL)
    assert_harmless(out)


def test_error(monkeypatch):
    out = terminal()

    def fail(**options):
        raise BaselineError(EVIL, hint=EVIL)

    monkeypatch.setattr(cli, "console", lambda **of: out)
    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    assert_harmless(out)


def test_one_line_for_drop_ins_and_tables():
    assert one_line(EVIL) == "before ]0;title [31mred 2J after"
    assert len(one_line("x" * 10**6)) == 240
    assert one_line("a\n[Service]\nUser=root") == "a [Service] User=root"
