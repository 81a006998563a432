"""Shared by all tests: what a test needs of the host, and waiting for a state instead of for a time."""

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import settings

from harness.machine import canaries, doctor

Value = TypeVar("Value")
# A shell starts background jobs with SIGINT ignored, which children inherit: the tests of Ctrl-C need it as it is.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes says nothing on a busy machine.
settings.register_profile("harness", deadline=None)
settings.load_profile("harness")


# What this host lacks, and what it enforces, is the same for all tests.
_findings = functools.cache(doctor.examine)
_enforced = functools.cache(canaries.examine)


@pytest.fixture(scope="module")
def examined_once() -> Iterator[None]:
    """Tunes in this process share what the canaries found; tests/systemd/test_canaries.py and the command look anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canaries, "examine", _enforced)
        yield


def unavailable(reason: str) -> None:
    """End the running test: on a developer's machine it skips, where `CI` is set it fails."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `boots` runs only where machines can be had, and one marked `root` only as root."""
    if item.get_closest_marker("boots") is not None:
        lacking = [f"{finding.name}: {finding.detail}" for finding in _findings() if not finding.ok]
        if lacking:
            unavailable("no machine can be had here: " + "; ".join(lacking))
    if item.get_closest_marker("root") is not None and os.geteuid() != 0:
        unavailable("needs root, for overlay attributes and owners")


@pytest.fixture(scope="session")
def until() -> Callable[..., object]:
    """`until(question)` asks until the answer is true, and fails at the deadline."""

    def ask(question: Callable[[], Value], *, within_s: float = 20.0) -> Value:
        deadline = time.monotonic() + within_s
        while not (answer := question()):
            if time.monotonic() > deadline:
                pytest.fail(f"not within {within_s} s; the last answer is {answer!r}")
            time.sleep(0.01)
        return answer

    return ask
