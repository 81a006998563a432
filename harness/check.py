"""`harness check`: look at a unit or a unit file, and judge what was found. Nothing on the host is changed."""

import dataclasses
from pathlib import Path

from harness.errors import UsageError
from harness.judge.check import Check
from harness.judge.check import check as judge
from harness.machine import canaries, doctor
from harness.machine.confined import System, ThisHost, look_at_file, look_at_unit

SUFFIX = ".service"
# systemd.unit(5)
UNIT_TYPES = frozenset("service socket device mount automount swap target path timer slice scope".split())


def check(what: str, *, read_filters: bool = False, try_canaries: bool = False, system: System | None = None) -> Check:
    """Check an installed unit by its name, or a unit file by its path.

    `read_filters` stops each process for a moment to read its system call filters; `try_canaries` boots one throwaway
    machine to learn what this host enforces. Raises UnitError when it cannot be looked at.
    """
    where = system or ThisHost()
    path = Path(what)
    if "/" in what or path.is_file():
        look = look_at_file(path.absolute(), where)
    else:
        name = what if what.rpartition(".")[2] in UNIT_TYPES else what + SUFFIX
        if not name.endswith(SUFFIX):
            raise UsageError(f"{name} is not a service", hint="only services are confined by these directives")
        look = look_at_unit(where, name, read_filters=read_filters)
    if try_canaries:
        doctor.require()
        results = canaries.examine(Path("/"), version=look.host.version)
        look = dataclasses.replace(look, canaries=results)
    return judge(look)
