import ast
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.unit import catalogue
from harness.unit.canary import (
    Answer,
    Canary,
    CanaryResult,
    Run,
    Standing,
    helper,
    load,
    of_tightening,
    program,
    standing_of,
)
from harness.unit.capability import CAPABILITIES
from harness.unit.start import Start, StartKind
from harness.unit.tightening import Tightening, offers

DOCUMENT = Path(__file__).parents[2] / "docs" / "canaries.md"
NEWEST = 999
# Not searched yet, and to be probed all the same.
TO_COME = """
RestrictFileSystems SocketBindDeny SocketBindAllow RestrictNetworkInterfaces NoExecPaths ExecPaths ReadOnlyPaths
ReadWritePaths InaccessiblePaths TemporaryFileSystem DeviceAllow MemoryMax TasksMax CPUQuota LimitCORE LimitMEMLOCK
LimitNOFILE LimitNPROC LimitFSIZE LimitAS KeyringMode AmbientCapabilities SystemCallErrorNumber IPAddressAllow
""".split()
WITH_USER = Start(StartKind.SHIPPED, (("User", ("somebody",)), ("KeyringMode", ("inherit",)), ("UMask", ("0000",))))
every_canary = pytest.mark.parametrize("canary", load(), ids=lambda canary: canary.name)
HOLDS, FAILS, BLIND, DEAD = (
    Run(Answer.HOLDS),
    Run(Answer.DOES_NOT_HOLD),
    Run(Answer.CANNOT_TELL, "no such thing"),
    Run(None, "ended by signal 9"),
)


def some(directive: str, standing: Standing = Standing.ENFORCED, **which: object) -> CanaryResult:
    return CanaryResult(directive, standing, **which)  # type: ignore[arg-type]


# -- the rows


def test_names_are_given_once() -> None:
    names = [canary.name for canary in load()]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalnum() for name in names)


@pytest.mark.parametrize(
    "tightening",
    [offer.tightening for offer in offers(catalogue.load(), version=NEWEST, start=WITH_USER)],
    ids=lambda tightening: tightening.label[:60],
)
def test_something_speaks_for_every_step_of_the_search(tightening: Tightening) -> None:
    unknown = [canary.result(Standing.UNKNOWN, "") for canary in load()]
    speaking = of_tightening(unknown, tightening)
    assert speaking
    assert {result.directive for result in speaking} == {tightening.directive}
    assert {result.rung for result in speaking} <= {tightening.rung, ""}


@pytest.mark.parametrize("directive", TO_COME)
def test_what_is_to_be_searched_has_canaries_too(directive: str) -> None:
    assert any(canary.directive == directive for canary in load())


@every_canary
def test_both_services_differ_by_the_directive(canary: Canary) -> None:
    assert canary.under != canary.without
    assert any(line.partition("=")[0] == canary.directive for line in canary.under)
    assert all("=" in line and "\n" not in line for line in (*canary.under, *canary.without))


def test_the_lines_are_those_of_the_search() -> None:
    lines = {(canary.directive, canary.rung): canary.under for canary in load()}
    assert lines["IPAddressDeny", "any but localhost"] == (
        "IPAddressDeny=",
        "IPAddressDeny=any",
        "IPAddressAllow=",
        "IPAddressAllow=localhost",
    )
    assert lines["ProtectProc", "noaccess"] == ("User=nobody", "ProtectProc=noaccess")


def test_versions_are_those_of_the_catalogue() -> None:
    versions = {(canary.directive, canary.rung): canary.version for canary in load()}
    assert versions["PrivateUsers", "yes"] == 232
    assert versions["PrivateUsers", "identity"] == 257
    assert versions["SocketBindDeny", ""] == 249


@every_canary
def test_scripts_are_python_that_answers(canary: Canary) -> None:
    for script in filter(None, (canary.script, canary.subject)):
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(script))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert "answer" in calls


# -- the program that runs them


def lines_of(*plan: tuple[str, str, Sequence[str]]) -> list[str]:
    argv = [sys.executable, "-ISBc", program(plan)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_program_tells_how_each_probe_ended() -> None:
    lines = lines_of(
        ("yes", 'answer(arguments == ["a b", "c"])', ("a b", "c")),
        ("no", "say('first\\nsecond')\nanswer(False)", ()),
        ("blind", "cannot_tell('nothing to see')", ()),
        ("wrong", "1 / 0", ()),
        ("mute", "pass", ()),
        ("killed", "os.kill(os.getpid(), 9)", ()),
        ("after all", "def own():\n    return sys.argv is not None\nanswer(own())", ()),
    )
    assert lines == [
        "yes\t40\t",
        "no\t41\tfirst second",
        "blind\t42\tnothing to see",
        "wrong\t43\tZeroDivisionError: division by zero",
        "mute\t43\tit gave no answer",
        "killed\t-9\t",
        "after all\t40\t",
    ]


def test_a_process_that_a_probe_leaves_behind_does_not_stop_the_others() -> None:
    assert lines_of(("fork", "answer(forks(3) == 3)", ()), ("next", "answer(True)", ())) == [
        "fork\t40\t",
        "next\t40\t",
    ]


def test_probes_number_capabilities_as_the_judge_does() -> None:
    assert lines_of(("names", "say(' '.join(CAPABILITIES))\nanswer(True)", ())) == [
        f"names\t40\t{' '.join(CAPABILITIES)}"
    ]


def test_the_helper_is_python() -> None:
    ast.parse(program([("helper", helper(), ())]))


# -- what two runs mean


@pytest.mark.parametrize(
    ("under", "without", "standing"),
    [
        (HOLDS, FAILS, Standing.ENFORCED),
        (HOLDS, HOLDS, Standing.ALREADY),
        (FAILS, FAILS, Standing.VACUOUS),
        (FAILS, HOLDS, Standing.VACUOUS),
        (FAILS, DEAD, Standing.VACUOUS),
        (HOLDS, DEAD, Standing.UNKNOWN),
        (HOLDS, BLIND, Standing.UNKNOWN),
        (DEAD, FAILS, Standing.UNKNOWN),
        (DEAD, DEAD, Standing.UNKNOWN),
        (BLIND, FAILS, Standing.UNKNOWN),
        (FAILS, BLIND, Standing.UNKNOWN),
        # Seen to differ: the line that is ignored is another.
        (Run(Answer.HOLDS, ignored="x, ignoring"), FAILS, Standing.ENFORCED),
        (Run(Answer.HOLDS, ignored="x, ignoring"), HOLDS, Standing.VACUOUS),
    ],
)
def test_what_two_runs_mean(under: Run, without: Run, standing: Standing) -> None:
    result = load()[0].compare(under, without)
    assert result.standing is standing
    assert result.directive == load()[0].directive
    for run in (under, without):
        assert run.ignored in result.detail
    if standing is Standing.UNKNOWN:
        assert any(run.said and run.said in result.detail for run in (under, without))


def test_a_part_that_cannot_be_told_is_named() -> None:
    canary = next(canary for canary in load() if canary.untold)
    assert canary.untold in canary.compare(HOLDS, FAILS).detail


def test_what_the_machine_lacks_anyway_is_named() -> None:
    without = Run(Answer.DOES_NOT_HOLD, "the machine has none of CAP_SYS_TIME")
    assert without.said in load()[0].compare(HOLDS, without).detail


# -- which of them speak for a tightening


def test_a_rung_has_its_own_canary() -> None:
    results = [
        some("ProtectSystem", rung="yes"),
        some("ProtectSystem", Standing.VACUOUS, rung="full"),
        some("ProtectHome", Standing.ALREADY, rung="yes"),
    ]
    assert standing_of(results, Tightening("ProtectSystem", "yes")) is Standing.ENFORCED
    assert standing_of(results, Tightening("ProtectSystem", "full")) is Standing.VACUOUS
    assert standing_of(results, Tightening("ProtectSystem", "strict")) is Standing.UNKNOWN


def test_one_canary_speaks_for_every_rung() -> None:
    assert standing_of([some("UMask")], Tightening("UMask", "0027")) is Standing.ENFORCED


def test_items_have_the_canaries_of_their_bundles() -> None:
    results = [
        some("CapabilityBoundingSet", items=("CAP_CHOWN", "CAP_FOWNER")),
        some("CapabilityBoundingSet", Standing.ALREADY, items=("CAP_SYS_TIME",)),
    ]
    step = Tightening("CapabilityBoundingSet", items=("CAP_FOWNER",))
    assert standing_of(results, step) is Standing.ENFORCED
    # Every canary has to say so, where several speak.
    both = Tightening("CapabilityBoundingSet", items=("CAP_FOWNER", "CAP_SYS_TIME"))
    assert standing_of(results, both) is Standing.ALREADY


def test_an_item_without_a_name_is_one_of_the_others() -> None:
    results = [
        some("RestrictAddressFamilies", Standing.VACUOUS, items=("AF_UNIX",)),
        some("RestrictAddressFamilies", items=("other",)),
    ]
    step = Tightening("RestrictAddressFamilies", items=("AF_VSOCK",))
    assert standing_of(results, step) is Standing.ENFORCED


PARTS = [
    ([Standing.ENFORCED, Standing.VACUOUS], Standing.ENFORCED),
    ([Standing.ENFORCED, Standing.ALREADY], Standing.ENFORCED),
    ([Standing.VACUOUS, Standing.ALREADY], Standing.VACUOUS),
    ([Standing.ALREADY, Standing.UNKNOWN], Standing.ALREADY),
    ([Standing.UNKNOWN], Standing.UNKNOWN),
    ([], Standing.UNKNOWN),
]


@pytest.mark.parametrize(("parts", "standing"), PARTS)
def test_one_part_seen_to_be_enforced_is_enough(parts: list[Standing], standing: Standing) -> None:
    for order in itertools.permutations(enumerate(parts)):
        results = [some("PrivateDevices", found, rung="yes", part=str(number)) for number, found in order]
        assert standing_of(results, Tightening("PrivateDevices", "yes")) is standing


def test_results_survive_being_written_down() -> None:
    result = load()[1].compare(HOLDS, FAILS)
    assert CanaryResult.from_json(json.loads(json.dumps(result.to_json()))) == result


# -- the document


@every_canary
def test_the_document_names_it(canary: Canary) -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith(f"| {canary.directive}")]
    assert any(canary.shows in row for row in rows)
