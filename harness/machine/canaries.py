"""Running the canaries: all of them in one machine, each in a service under its directive and in one without."""

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import MachineError
from harness.machine.boot import Machine, MachineSpec
from harness.machine.service import Service, message_text
from harness.unit.canary import Answer, Canary, CanaryResult, Run, Standing, helper, load, program

PYTHON = "/usr/bin/python3"
# A probe takes some 20 ms; a machine with little processor time, or an emulated one, must not turn it into a failure.
SERVICE_TIMEOUT_S = 30
PROBE_TIMEOUT_S = 5  # for each one more that a service runs
ALL_TIMEOUT_S = 300.0
UNITS = "/etc/systemd/system"
OUTPUT = "/run/canaries"
ROLES = ("under", "without")
# A line of a unit file that is ignored, or a setting that cannot be put into effect; not what else systemd ignores.
IGNORED = re.compile(r":\d+: .*ignoring|=\S* is configured, but|unit configures .*, but")
# What systemd says of a service that it could not start as asked.
REFUSED = re.compile(r"Failed (?:at step|to set up|to locate|to determine)")

Probe = tuple[str, str, Sequence[str]]  # key, script, arguments


def examine(
    root: Path, *, version: int, capabilities: AbstractSet[str] = frozenset(), machine: type[Machine] = Machine
) -> tuple[CanaryResult, ...]:
    """Boot one machine on `root` and try every canary in it; a result for each, in the order of the rows.

    `version` is that of the root tree's systemd; `capabilities` are what the scenario gives its machines beside the
    usual ones. Raises MachineError when no machine can be had.
    """
    canaries = load()
    if not _has_python(root):
        return tuple(canary.result(Standing.UNKNOWN, f"{root} has no {PYTHON} to probe with") for canary in canaries)
    services = _services([canary for canary in canaries if canary.version <= version])
    files = {f"{UNITS}/{service.unit}": (service.text().encode(), 0o644, (0, 0)) for service in services}
    with machine(MachineSpec(root=root, files=files, capabilities=frozenset(capabilities))) as booted:
        runs = _runs(booted, services)
    return tuple(_result(canary, version, runs) for canary in canaries)


def _has_python(root: Path) -> bool:
    # Its last link may be absolute and then leads out of the tree; that it is there is enough.
    try:
        (root / PYTHON.lstrip("/")).lstat()
    except OSError:
        return False
    return True


def _result(canary: Canary, version: int, runs: Mapping[str, Run]) -> CanaryResult:
    if canary.version > version:
        return canary.result(Standing.UNKNOWN, f"needs systemd {canary.version}")
    return canary.compare(*(_run(canary, role, runs) for role in ROLES))


def _run(canary: Canary, role: str, runs: Mapping[str, Run]) -> Run:
    run = runs[f"{canary.name} {role}"]
    subject = runs.get(f"{canary.name} {role} subject", run)
    return run if subject is run or subject.answer is Answer.HOLDS else Run(None, f"before it: {subject.said}")


# -- the services


@dataclass
class _Service:
    """A service with some lines, which runs probes one after another, after other services have ended."""

    unit: str
    lines: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    probes: list[Probe] = field(default_factory=list)

    def text(self) -> str:
        # The program is an argument of Python's, so that it is no file that a directive hides.
        return "\n".join(
            [
                "[Unit]",
                "DefaultDependencies=no",
                f"After={' '.join(self.after)}",
                "[Service]",
                "Type=oneshot",
                f"TimeoutStartSec={SERVICE_TIMEOUT_S + PROBE_TIMEOUT_S * len(self.probes)}",
                f"StandardOutput=append:{OUTPUT}",
                "StandardError=journal",  # what Python says of itself is no answer
                f"ExecStart={PYTHON} -ISBc {_quoted(program(self.probes))}",
                *self.lines,
                "",
            ]
        )


def _quoted(text: str) -> str:
    """One word of a command line, as systemd.service(5) reads it: no escapes, specifiers or variables of its own."""
    for mark, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("%", "%%"), ("$", "$$")):
        text = text.replace(mark, escaped)
    return f'"{text}"'


def _services(canaries: Iterable[Canary]) -> list[_Service]:
    """The services to start: one for the helper, one for each set of lines, two in a row for what has a subject."""
    first = _Service("canary-helper.service", probes=[("helper", helper(), ())])
    shared: dict[tuple[str, ...], _Service] = {}
    single: list[_Service] = []
    for canary in canaries:
        before = first.unit
        for role, lines in zip(ROLES, (canary.under, canary.without), strict=True):
            unit = f"canary-{canary.name}-{role}.service"
            probe = (f"{canary.name} {role}", canary.script, canary.arguments)
            if canary.subject:
                made = (f"{canary.name} {role} subject", canary.subject, ())
                single.append(_Service(f"subject-{unit}", lines, (before,), [made]))
                single.append(_Service(unit, (), (single[-1].unit,), [probe]))
                before = unit
            else:
                shared.setdefault(lines, _Service(unit, lines, (first.unit,))).probes.append(probe)
    return [first, *shared.values(), *single]


# -- what came of them


def _runs(machine: Machine, services: Sequence[_Service]) -> dict[str, Run]:
    """What each probe of these services said, by its key."""
    units = [service.unit for service in services]
    # The status says whether all of them went well, which the lines they print tell better.
    machine.run(["systemctl", "start", *units], timeout_s=ALL_TIMEOUT_S)
    machine.run(["journalctl", "--sync"])
    records = Service(machine, units[0]).journal()
    said = _printed(machine.path(OUTPUT))
    silent = [service.unit for service in services if any(key not in said for key, _, _ in service.probes)]
    states = _states(machine, silent)
    runs = {}
    for service in services:
        about = [message_text(record.get("MESSAGE")) for record in records if record.get("UNIT") == service.unit]
        ignored = "; ".join(dict.fromkeys(line for line in about if IGNORED.search(line)))
        for key, _, _ in service.probes:
            answer, text = said.get(key) or (None, _why(states.get(service.unit, ""), about))
            runs[key] = Run(answer, text, ignored)
    return runs


def _printed(file: Path) -> dict[str, tuple[Answer | None, str]]:
    """Answer and text of each probe by its key; no answer where it failed."""
    answers = {str(answer.value): answer for answer in Answer}
    found: dict[str, tuple[Answer | None, str]] = {}
    for line in file.read_text(errors="replace").splitlines() if file.exists() else []:
        key, status, text = line.split("\t", 2)
        failure = f"ended by signal {status.lstrip('-')}" if status.startswith("-") else text
        found[key] = (answers[status], text) if status in answers else (None, failure)
    return found


def _states(machine: Machine, units: Sequence[str]) -> dict[str, str]:
    """How services ended that a probe's answer is missing of."""
    if not units:
        return {}
    shown = machine.run(["systemctl", "show", "-p", "Id,ActiveState,Result,ExecMainStatus", *units])
    if shown.status != 0:
        raise MachineError(f"systemd in the machine does not answer: {shown.error_text}", hint="run it again")
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in shown.text.split("\n\n")]
    return {
        block["Id"]: f"{block['ActiveState']}, {block['Result']}, status {block['ExecMainStatus']}"
        for block in blocks
        if "Id" in block
    }


def _why(state: str, about: Sequence[str]) -> str:
    """Why a service gave no answer."""
    refused = next((line for line in about if REFUSED.search(line)), "")
    return f"{refused} ({state})" if refused else f"the service ended without an answer: {state}"
