"""Looking at a unit once in a machine, before any trial."""

import os
import re
from pathlib import Path

from harness.errors import UnitError
from harness.inspection import Inspection
from harness.machine import quiet
from harness.machine.boot import WITHHELD, Machine, MachineSpec
from harness.machine.doctor import cgroup_layout
from harness.machine.service import Service
from harness.scenario import Scenario
from harness.unit.dropin import FILE_NAME
from harness.unit.exposure import overall


def inspect(scenario: Scenario) -> Inspection:
    """Boot one machine with the scenario's files and look.

    Raises UnitError when the unit is unknown, masked, or no service that can be started; MachineError when no machine
    can be had.
    """
    spec = MachineSpec(
        root=Path(scenario.root),
        files={**scenario.machine_files(), **applied(Path(scenario.root), scenario.unit)},
        keep_units=frozenset({scenario.unit}) if quiet.is_masked(scenario.unit) else frozenset(),
        capabilities=frozenset(scenario.capabilities),
        trees=scenario.tree_paths,
    )
    with Machine(spec) as machine:
        service = Service(machine, scenario.unit)
        shown = service.show(["LoadState", "Id"])
        load_state = shown.get("LoadState", "")
        if load_state != "loaded":
            raise UnitError(
                f"the unit {scenario.unit} is {load_state or 'unknown'} in {scenario.root}",
                hint="check its name (`systemctl list-unit-files`), install its package, or bring it with [[files]]",
            )
        if (name := shown.get("Id") or scenario.unit) != scenario.unit:
            raise UnitError(f"{scenario.unit} is another name of {name}", hint=f'say unit = "{name}" in the scenario')
        banner = machine.run(["systemctl", "--version"]).text.splitlines()[0]
        installed = _versions(machine)
        return Inspection(
            unit_text=without_applied(service.text(), scenario.unit),
            systemd_version=version_number(banner),
            systemd=banner,
            kernel=os.uname().release,
            cgroups=cgroup_layout(),
            written=tuple(machine.overlay.changed()),
            withheld=tuple(name for name in WITHHELD if name not in scenario.capabilities),
            packages={name: installed[name] for name in scenario.packages if name in installed},
            installed=installed,
            exposure=overall(text) if (text := service.exposure_text()) else None,
            syscall_groups=syscall_groups(machine.run(["systemd-analyze", "syscall-filter"]).text),
        )


def applied(root: Path, unit: str) -> dict[str, tuple[bytes, int, tuple[int, int]]]:
    """An empty file over the drop-in that an earlier answer left in the root tree: it is no part of the unit's own."""
    path = _applied(unit)
    return {path: (b"", 0o644, (0, 0))} if (root / path.lstrip("/")).exists() else {}


def without_applied(text: str, unit: str) -> str:
    """`systemctl cat` without the heading of that empty file."""
    return text.replace(f"\n# {_applied(unit)}\n", "")


def _applied(unit: str) -> str:
    return f"/etc/systemd/system/{unit}.d/{FILE_NAME}"


def version_number(banner: str) -> int:
    """252 of `systemd 252 (252.39-1~deb12u1)`. Raises UnitError when there is none."""
    found = re.search(r"systemd (\d+)", banner)
    if found is None:
        raise UnitError(f"cannot read the version of systemd from {banner!r}", hint="run `systemctl --version` by hand")
    return int(found[1])


def _versions(machine: Machine) -> dict[str, str]:
    """Version of every package installed in the root tree; none where it is no Debian."""
    done = machine.run(["dpkg-query", "-W", "-f=${db:Status-Status} ${Package} ${Version}\\n"])
    lines = (line.split(" ", 2) for line in done.text.splitlines())
    return {words[1]: words[2] for words in lines if len(words) == 3 and words[0] == "installed"}


def syscall_groups(text: str) -> dict[str, list[str]]:
    """Groups of `systemd-analyze syscall-filter`, each with its calls and those of the groups it names."""
    direct: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        word = line.strip()
        if line.startswith("@"):
            current = direct.setdefault(word, [])
        elif line.startswith(" ") and word and not word.startswith("#"):
            current.append(word)

    def calls(name: str) -> set[str]:
        members = direct.get(name, [])
        return {item for item in members if item[0] != "@"}.union(*(calls(item) for item in members if item[0] == "@"))

    return {name: sorted(calls(name)) for name in direct}
