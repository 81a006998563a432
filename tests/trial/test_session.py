"""A run whose baseline failed, with trials that are made up."""

import pytest

from harness import session
from harness.errors import BaselineError
from harness.inspection import Inspection
from harness.results.store import Store
from harness.scenario import load
from harness.session import Listener, Options, Session
from harness.tune import Only
from tests.report import sample
from tests.results.test_attempts import FakePool
from tests.systemd import tiny


class Pool(FakePool):
    """Its service is never active, so every baseline fails."""

    workers = 2
    stopped = False


def test_the_same_command_after_a_failed_baseline_tries_anew(tmp_path):
    """What was mended may be outside the scenario: what is stored would fail the same way for ever."""
    scenario = load(tiny.write(tmp_path))
    options = Options(results=tmp_path / "results", only=Only.DIRECTIVES)
    facts = sample.sample().facts["inspection"]

    def command() -> tuple[Store, Pool]:
        store, pool = session._open(scenario, options, Listener()), Pool()
        store.update(inspection=facts, canaries=[])
        opened = Session(scenario, store, Inspection.from_facts(facts), pool, options, Listener())  # type: ignore[arg-type]
        with pytest.raises(BaselineError):
            opened.finish()
        return store, pool

    (first, tried), (second, tried_anew) = command(), command()
    assert first.facts["state"] == second.facts["state"] == "failed"
    assert first.folder != second.folder
    assert len(tried.ran) == len(tried_anew.ran) > 0
