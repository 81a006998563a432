"""A first scenario for an installed unit, from what one start of it in a machine shows."""

import json
import re
import textwrap
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UnitError, UsageError
from harness.machine import processes, quiet
from harness.machine.boot import Machine, MachineSpec
from harness.machine.service import Service
from harness.results.store import write_whole
from harness.unit.paths import MADE_FOR_PRIVATE_TMP

START_TIMEOUT_S = 30.0
SETTLE_S = 1.0
SHOWN_PATHS = 12
SAID = 4  # lines of the journal, where it did not start
_SIGNAL = re.compile(r"kill\w*\s[^;|&]*?-(?:s\s*|-signal[= ])?(?:SIG)?(HUP|USR1|USR2|WINCH)\b")


@dataclass(frozen=True)
class Sight:
    """What was seen of a unit: its description, packages, start, sockets, written paths and what it can do."""

    unit: str
    description: str
    package: str
    start_problem: str
    sockets: tuple[str, ...]
    written: tuple[str, ...]
    can_reload: bool
    rotation: str


def write(unit: str, output: Path | None) -> Path:
    """Look at an installed unit in a machine and write a scenario for it.

    Raises UsageError when the file exists, UnitError when the unit is unknown or no service.
    """
    if not unit.endswith(".service") or "@." in unit:
        raise UnitError(
            f"{unit} cannot be tuned: it is not a service, or a template without an instance",
            hint="name a service, such as nginx.service or name@instance.service",
        )
    name = unit.removesuffix(".service").replace("@", "-")
    path = output or Path("scenarios") / f"{name}.toml"
    if path.exists():
        raise UsageError(f"{path} exists already", hint="name another file with --output, or remove it first")
    write_whole(path, text(look(unit)))
    return path


def look(unit: str) -> Sight:
    """Start the unit in a throwaway machine and note what can be seen from outside."""
    keep = frozenset({unit}) if quiet.is_masked(unit) else frozenset()
    with Machine(MachineSpec(keep_units=keep)) as machine:
        service = Service(machine, unit)
        shown = service.show(["LoadState", "Id", "Description", "FragmentPath", "CanReload"])
        if shown.get("LoadState") != "loaded":
            raise UnitError(
                f"the unit {unit} is {shown.get('LoadState', 'unknown')} on this machine",
                hint="check its name (`systemctl list-unit-files`) or install its package",
            )
        if (name := shown.get("Id") or unit) != unit:
            raise UnitError(f"{unit} is another name of {name}", hint=f"harness init {name}")
        idle = set(machine.overlay.changed())
        problem = service.act("start", timeout_s=START_TIMEOUT_S)
        machine.run(["sleep", str(SETTLE_S)])
        if service.status().state.active_state != "active":
            said = machine.run(
                ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={SAID}", f"--unit={unit}"]
            )
            problem = " · ".join([problem or "it is not active after its start", *said.text.split("\n")]).strip(" ·")
        return Sight(
            unit=unit,
            description=shown.get("Description", ""),
            package=_package(machine, shown.get("FragmentPath", "")),
            start_problem=problem,
            sockets=tuple(processes.sockets(machine.leader, service.pids())),
            written=tuple(path for path in machine.overlay.changed() if _is_own(path, idle)),
            can_reload=shown.get("CanReload") == "yes",
            rotation=_rotation(unit),
        )


def _is_own(path: str, idle: Collection[str]) -> bool:
    return path not in idle and MADE_FOR_PRIVATE_TMP not in path


def _package(machine: Machine, path: str) -> str:
    for candidate in (path, path.removeprefix("/usr")):
        done = machine.run(["dpkg-query", "-S", candidate])
        if candidate and done.status == 0 and ":" in done.text:
            return done.text.split(":")[0].strip()
    return ""


def _rotation(unit: str) -> str:
    """What logrotate does after rotating this service's logs, as the package ships it."""
    for name in (unit.removesuffix(".service"), unit.split("@")[0].split("-")[0]):
        file = Path("/etc/logrotate.d") / name
        if file.is_file():
            return after_rotating(file.read_text(errors="replace"))
    return ""


def after_rotating(text: str) -> str:
    """The first script of a logrotate file that runs after the rotation: logrotate.conf(5), postrotate."""
    lines = text.splitlines()
    words = [line.strip() for line in lines]
    if "postrotate" not in words:
        return ""
    begin = words.index("postrotate") + 1
    end = words.index("endscript", begin) if "endscript" in words[begin:] else None
    # A continued line goes on with the next one, which the last cannot.
    return textwrap.dedent("\n".join(lines[begin:end])).strip().rstrip("\\").rstrip()


def text(sight: Sight) -> str:
    """The scenario file for what was seen."""
    ports = [socket for socket in sight.sockets if socket.startswith("tcp ")]
    ready = _ready(ports)
    lines = [
        "#:schema ./scenario.schema.json",
        "# Written by `harness init`. It starts the service and little more: what the service must be able to do is",
        "# yours to say in [[steps]]. Rare paths matter most: saving, rotating, reloading, scripts, uploads, errors.",
        "format = 1",
        f"description = {_toml(sight.description)}",
        f"unit = {_toml(sight.unit)}",
        "# shipped: tighten the unit as it is · stripped: begin without any sandboxing",
        'start = "stripped"',
        f"packages = {_toml([sight.package] if sight.package else [])}",
        "",
    ]
    if sight.start_problem:
        lines += _comment(
            [
                f"In a machine it did not start: {sight.start_problem}",
                "Bring what it lacks with [[files]]. `capabilities` give it what reaches past the machine: with",
                "CAP_SYS_TIME it sets the clock of this host (docs/scenario.md).",
            ]
        )
    lines += _comment(["Sockets seen after the start:", *(f"  {item}" for item in sight.sockets or ("none",))])
    written = list(sight.written[:SHOWN_PATHS])
    more = len(sight.written) - len(written)
    lines += _comment(["Paths written at the start:", *(f"  {item}" for item in written or ["none"])])
    if more > 0:
        lines += _comment([f"  and {more} more"])
    lines += ["", "[ready]", f"run = {_toml(ready)}", "timeout_s = 10", ""]
    lines += ["[[steps]]", 'name = "answers"', f"run = {_toml(ready)}", ""]
    lines += [
        "# [[steps]]",
        '# name = "stores and reads back"',
        '# run = "client put key $HARNESS_SEED && client get key"',
        '# stdout_contains = "value"',
        "",
    ]
    if sight.can_reload:
        lines += ["[[life_cycle]]", 'name = "reload"', 'do = "reload"', ""]
    if sight.rotation:
        lines += _comment(f"Log rotation, as its package does it: {sight.rotation}".splitlines())
        lines += ["# [[life_cycle]]", '# name = "rotate"', *_comment(_rotated(sight.rotation)), ""]
    lines += ["[[life_cycle]]", 'name = "restart"', 'do = "restart"', ""]
    lines += ["# [[after]]", '# name = "data is on disk"', '# run = "test -s /var/lib/NAME/data"']
    return "\n".join(lines) + "\n"


def _rotated(script: str) -> list[str]:
    """What a life-cycle step does in place of the package's script."""
    if found := _SIGNAL.search(script):
        return ['do = "signal"', f'signal = "SIG{found[1]}"']
    if re.search(r"\breload\b", script):
        return ['do = "reload"']
    if "\n" in script and "'''" not in script:
        return ["run = '''", *script.splitlines(), "'''"]
    return [f"run = {_toml(script)}"]


def _ready(ports: list[str]) -> str:
    if not ports:
        return "systemctl is-active --quiet $HARNESS_UNIT"
    host, _, port = ports[0].removeprefix("tcp ").rpartition(":")
    address = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))
    return f"bash -c '</dev/tcp/{address}/{port}'"


def _comment(texts: Iterable[str]) -> list[str]:
    return [f"# {''.join(char if char.isprintable() else ' ' for char in item)}" for item in texts]


def _toml(value: str | list[str]) -> str:
    """A TOML basic string or array: JSON's escapes are TOML's (toml.io, v1.0.0)."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
