"""Canaries on this host: what is enforced is found to be, and what is taken away is missed."""

import errno
import subprocess
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from harness.machine.boot import Machine
from harness.machine.canaries import examine
from harness.machine.doctor import cgroup_layout
from harness.machine.inspect import version_number
from harness.unit.canary import CanaryResult, Standing, load
from harness.unit.dropin import render
from harness.unit.needs import Needs
from harness.unit.start import Start, StartKind
from harness.unit.tightening import Tightening
from harness.unit.unitfile import parse
from tests.systemd import tiny

pytestmark = pytest.mark.boots

BANNER = subprocess.run(
    ["/usr/lib/systemd/systemd", "--version"], capture_output=True, text=True, check=True, timeout=20
).stdout
VERSION = version_number(BANNER)
# Need BPF programs that systemd brings along, which Debian 12 builds without.
BPF_FRAMEWORK = {"RestrictFileSystems", "SocketBindDeny", "SocketBindAllow", "RestrictNetworkInterfaces"}
# The machine goes without these capabilities by itself.
WITHHELD = {("ProtectClock", "capabilities"), ("ProtectKernelModules", "capabilities")}
if VERSION >= 257:
    WITHHELD.add(("ProtectKernelTunables", "symbols"))  # systemd-nspawn hides /proc/kallsyms
FILTERS = {
    "SystemCallFilter", "SystemCallErrorNumber", "SystemCallArchitectures", "RestrictAddressFamilies",
    "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
}  # fmt: skip
CONTROLLED = {"MemoryMax", "TasksMax", "CPUQuota"}


class WithoutFilters(Machine):
    """Its systemd loads no seccomp filter, and says nothing of it."""

    def _command(self) -> list[str]:
        command = super()._command()
        at = command.index("systemd-nspawn")
        return [*command[: at + 1], "--setenv=SYSTEMD_SECCOMP=0", *command[at + 1 :]]


class WithoutBpf(Machine):
    """Nspawn's own filter is on, and forbids bpf(2)."""

    def _command(self) -> list[str]:
        command = super()._command()
        at = command.index("systemd-nspawn")
        return [*command[:at], "env", "-u", "SYSTEMD_SECCOMP", *command[at:]]


class WithoutControllers(Machine):
    """The control group trees stay read-only, as nspawn mounts them."""

    def _command(self) -> list[str]:
        return [word for word in super()._command() if word != "/harness-init"]


@cache
def results(machine: type[Machine] = Machine) -> tuple[CanaryResult, ...]:
    return examine(Path("/"), version=VERSION, machine=machine)


def standings(machine: type[Machine] = Machine) -> dict[tuple[str, str, tuple[str, ...], str], Standing]:
    return {(r.directive, r.rung, r.items, r.part): r.standing for r in results(machine)}


def details(found: list[CanaryResult]) -> list[str]:
    return [f"{r.directive}={r.rung}{' '.join(r.items)} {r.part}: {r.standing.value}, {r.detail}" for r in found]


def test_every_canary_has_a_standing() -> None:
    assert len(results()) == len(load())
    assert all(result.detail for result in results())


def test_a_probe_that_can_be_tried_does_not_fail() -> None:
    failed = [r for r in results() if "failed" in r.detail]
    assert details(failed) == []


def test_what_this_systemd_does_not_know_is_unknown() -> None:
    late = {(c.directive, c.rung) for c in load() if c.version > VERSION}
    found = {(r.directive, r.rung) for r in results() if r.detail.startswith("needs systemd ")}
    assert found == late
    assert all(r.standing is Standing.UNKNOWN for r in results() if (r.directive, r.rung) in late)


def test_what_the_machine_has_by_itself_is_already() -> None:
    found = {(r.directive, r.part) for r in results() if r.standing is Standing.ALREADY}
    assert found == WITHHELD


def test_everything_else_is_enforced() -> None:
    """On every kind of host but for what needs BPF programs, and what the root tree lacks."""
    expected = [
        r for r in results()
        if r.directive not in BPF_FRAMEWORK and (r.directive, r.part) not in WITHHELD
        and not r.detail.startswith(("needs systemd ", "there is no "))
    ]  # fmt: skip
    wrong = [r for r in expected if r.standing is not Standing.ENFORCED]
    assert details(wrong) == []
    assert len(expected) > 70


@pytest.mark.skipif("-BPF_FRAMEWORK" not in BANNER, reason="this systemd is built with its BPF programs")
def test_what_systemd_is_built_without_is_vacuous() -> None:
    assert {r.directive for r in results() if r.standing is Standing.VACUOUS} == BPF_FRAMEWORK


def test_filters_that_are_not_loaded_are_missed() -> None:
    found = results(WithoutFilters)
    filtered = [r for r in found if r.directive in FILTERS or r.part == "system calls"]
    assert len(filtered) > 25
    assert details([r for r in filtered if r.standing is not Standing.VACUOUS]) == []
    # Nothing else changes. Since 254 write-and-execute is forbidden by the kernel itself.
    before, after = standings(), standings(WithoutFilters)
    changed = {key[0] for key in before if before[key] is not after[key] and key[3] != "system calls"}
    assert changed - {"MemoryDenyWriteExecute"} == FILTERS
    assert VERSION >= 254 or "MemoryDenyWriteExecute" in changed


def test_an_address_filter_that_cannot_be_loaded_is_missed() -> None:
    found = [r for r in results(WithoutBpf) if r.directive in {"IPAddressDeny", "IPAddressAllow"}]
    assert details([r for r in found if r.standing is not Standing.VACUOUS]) == []
    assert len(found) == 5


@pytest.mark.skipif(cgroup_layout() == "v2", reason="nspawn mounts control group v2 writable")
def test_limits_without_a_controller_are_missed() -> None:
    found = {r.directive: r.standing for r in results(WithoutControllers)}
    assert {found[name] for name in CONTROLLED} == {Standing.VACUOUS}
    assert found["DevicePolicy"] is found["DeviceAllow"] is Standing.VACUOUS
    # The network and BPF do not depend on them.
    assert found["IPAddressDeny"] is Standing.ENFORCED


def test_processes_of_other_machines_do_not_count() -> None:
    """RLIMIT_NPROC counts a user's processes on the whole host: those that probe it are nobody else's."""
    with ExitStack() as stack:
        for uid in (1, 2, 65534):
            for _ in range(6):
                command = ["setpriv", f"--reuid={uid}", "--clear-groups", "cat"]
                stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE))
        found = examine(Path("/"), version=VERSION)
    assert {r.standing for r in found if r.directive == "LimitNPROC"} == {Standing.ENFORCED}
    assert details([r for r in found if "failed" in r.detail]) == []


def test_without_python_nothing_is_known(tmp_path: Path) -> None:
    found = examine(tmp_path, version=VERSION)
    assert len(found) == len(load())
    assert {r.standing for r in found} == {Standing.UNKNOWN}
    assert "/usr/bin/python3" in found[0].detail


ASKS_FOR_PRIORITY = """
import os
try:
    os.setpriority(os.PRIO_PROCESS, 0, -5)
except OSError as error:
    open("/run/told", "w").write(f"{error.errno}\\n")
"""


def test_an_allow_list_answers_a_call_with_an_error(tmp_path):
    """Not in the manual of systemd: a line that takes calls out of an allow-list may give the answer as well."""
    start = Start.of(parse(tiny.IDLE), StartKind.STRIPPED, groups={"@resources": ["setpriority"]})
    steps = [Tightening.from_label(f"SystemCallFilter{step}") for step in ("=@system-service", " -setpriority:EPERM")]
    text = render(steps, start, needs=Needs(refused=("setpriority",)))
    assert "SystemCallFilter=~setpriority:EPERM" in text.splitlines()
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "program.py").write_text(ASKS_FOR_PRIORITY)
    command = "/usr/bin/python3 -ISB /harness-scenario/program.py"
    service = f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={command}\n"
    told = f'[[steps]]\nname = "told"\nrun = "cat /run/told"\nstdout_matches = "\\\\A{errno.EPERM}$"\n'
    scenario = tiny.scenario(tmp_path, service, told)
    assert tiny.verdict(scenario, tiny.trial(scenario, text)).reason == "passed"
    assert "cat: /run/told" in tiny.verdict(scenario, tiny.trial(scenario)).reason
