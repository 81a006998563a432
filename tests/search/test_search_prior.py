"""What the traced pass saw moves the chances of the very tightenings that would take it away."""

from dataclasses import replace

import pytest

from harness.judge.baseline import Baseline
from harness.observation import Seen
from harness.search.traced import LIKELY, MAYBE, SELDOM, UNUSED, USED, traced
from tests.judge.facts import observation

NOTHING = Seen(
    calls=(), capabilities=(), families=(), peers=(), opened=(), opened_for_writing=(), executed=(), namespaces=(),
    writable_code=False,
)  # fmt: skip


def chances(**seen: tuple[object, ...]) -> dict[str, float]:
    return traced(replace(NOTHING, **seen), Baseline.of([observation()]), {"@clock": ["adjtimex"]})


def test_what_was_not_used_is_all_but_safe() -> None:
    found = chances()
    assert {name for name, chance in found.items() if chance > UNUSED} == set()
    assert {"ProtectHome yes", "ProtectProc", "RestrictAddressFamilies AF_INET", "SystemCallFilter @clock"} <= {*found}


@pytest.mark.parametrize(
    ("seen", "name", "chance"),
    [
        ({"opened": ("/root/.config",)}, "ProtectHome yes", SELDOM),
        ({"opened_for_writing": ("/home/a/file",)}, "ProtectHome yes", LIKELY),
        ({"opened_for_writing": ("/home/a/file",)}, "ProtectHome tmpfs", LIKELY),
        # What is written can be excepted from read-only.
        ({"opened_for_writing": ("/home/a/file",)}, "ProtectHome read-only", SELDOM),
        ({"opened": ("/proc/meminfo",)}, "ProcSubset", MAYBE),
        ({"opened": ("/proc/self/status",)}, "ProcSubset", UNUSED),
        ({"opened": ("/proc/17/status",)}, "ProtectProc", SELDOM),
        ({"families": ("AF_UNIX",)}, "RestrictAddressFamilies AF_UNIX", LIKELY),
        ({"families": ("AF_INET",)}, "RestrictAddressFamilies AF_INET", USED),
        ({"capabilities": (0,)}, "CapabilityBoundingSet CAP_CHOWN", USED),
        ({"calls": ("adjtimex",)}, "SystemCallFilter @clock", 0.9),
    ],
)
def test_what_was_used_is_in_doubt(seen: dict[str, tuple[object, ...]], name: str, chance: float) -> None:
    assert chances(**seen)[name] == chance
