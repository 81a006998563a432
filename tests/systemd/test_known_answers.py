"""The whole walk over services whose one right answer is known: what they need is found, and nothing else.

`KNOWN_ANSWERS=all` adds those that take long or are much like another one.
"""

import os
import platform
from dataclasses import replace

import pytest

from harness.results.recommendation import Answer
from harness.scenario import load
from harness.session import Options, tune
from tests.conftest import unavailable
from tests.services.known import FLAKY, KNOWN, Known

pytestmark = [pytest.mark.boots, pytest.mark.usefixtures("examined_once")]

ALL = os.environ.get("KNOWN_ANSWERS") == "all"
CHOSEN = [known for known in KNOWN if not known.thorough or ALL]
UNRELIABLE = [known for known in FLAKY if not known.thorough or ALL]
SEEDS = range(1, 6) if ALL else range(1, 2)
MEMORY = Known("memory")


def find(known: Known, folder):
    """Tune the service. Ends the test where this host or its systemd cannot have the answer."""
    if known.machine not in ("", platform.machine()):
        unavailable(f"{known.name} is for {known.machine}")
    return tune(load(known.write(folder)), Options(results=folder / "results", workers=2))


def labels(keys) -> set[str]:
    return {key.label for key in keys}


def offered(answer: Answer) -> set[str]:
    result = answer.result
    return labels([*result.accepted, *result.refused, *result.unreached, *result.undecided])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("known", UNRELIABLE, ids=lambda known: known.name)
def test_finds_it_although_the_service_fails_by_chance(known, seed, tmp_path):
    test_finds(replace(known, scenario={**known.scenario, "seed": seed}), tmp_path)


@pytest.mark.parametrize("known", CHOSEN, ids=lambda known: known.name)
def test_finds(known, tmp_path):
    answer, _ = find(known, tmp_path)
    refused = labels(answer.result.refused)
    ways = [sorted({*known.refused, *way}) for way in known.one_of or ((),)]
    if lacking := {label for way in ways for label in way} - offered(answer):
        unavailable(f"not enforced or not known here: {', '.join(sorted(lacking))}")

    assert answer.state == "tight"
    assert sorted(refused) in ways
    assert answer.result.undecided == frozenset()
    assert labels(answer.result.unreached.values()) <= refused
    assert [line for line in known.lines if line not in answer.drop_in().splitlines()] == []
    reasons = {key.label: verdict.reason for key, verdict in answer.refusals()}
    assert reasons.keys() == refused
    assert {label: reasons[label] for label, text in known.because.items() if text not in reasons[label]} == {}


def test_memory_that_is_no_process_is_counted(tmp_path):
    """What the service keeps in a memfd is its own use, and is in the peak of every trial."""
    answer, store = find(MEMORY, tmp_path)
    assert answer.result.refused == {}
    peaks = [observation.counters.memory_peak_bytes for observation in store.observations()]
    assert min(peaks) > 32 * 2**20
