"""`harness-nightly.service` and `.timer`: a night on its own, confined as far as trials are not confined with it.

What a service manager takes from a unit by seccomp filters, mounts, resource limits or NoNewPrivileges= is taken from
everything the unit starts, machines included, and trials would measure that. So only what stays outside of them is set.
"""

import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.machine.boot import WITHHELD
from harness.results.store import write_whole

SERVICE = "harness-nightly.service"
TIMER = "harness-nightly.timer"
# Needed to read the host's kernel log for lines about machines (syslog(2)); machines themselves never have it.
_OF_THE_HARNESS = frozenset({"CAP_SYSLOG"})
SLACK_MINUTES = 30

_SERVICE = """\
# Written by `harness nightly --install`.
[Unit]
Description=Try again what was accepted of every service, and say what has changed
Documentation={docs}
ConditionACPower=true

[Service]
Type=oneshot
ExecStart={command}
WorkingDirectory={folder}
# A night waits for everybody else.
Nice=19
IOSchedulingClass=idle
CPUWeight=20
OOMScoreAdjust=500
# A process killed for lack of memory costs its trial, and not the night.
OOMPolicy=continue
# Asked to stop, it closes its machines and writes down what it knows. Exit status 1 means that something no longer
# works, and fails the unit; all else is for the page to say.
{deadline}KillMode=mixed
TimeoutStopSec=2min
# No tighter: seccomp filters, mounts, NoNewPrivileges= and rlimits reach into the machines, and trials would measure
# them. What follows does not: machines have a network of their own, and lack these capabilities anyway.
PrivateNetwork=yes
CapabilityBoundingSet=~{capabilities}
KeyringMode=private
UMask=0022
"""
_TIMER = """\
# Written by `harness nightly --install`.
[Unit]
Description=Every night: try again what was accepted of every service

[Timer]
OnCalendar={calendar}
RandomizedDelaySec=1h
Persistent=true

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True)
class Units:
    """Texts of both unit files."""

    service: str
    timer: str

    def write(self, folder: Path) -> list[Path]:
        """Write both into a folder of unit files; returns their paths. Raises UsageError when it cannot be written."""
        paths = [folder / SERVICE, folder / TIMER]
        try:
            for path, text in zip(paths, (self.service, self.timer), strict=True):
                write_whole(path, text)
                path.chmod(0o644)
        except OSError as error:
            raise UsageError(f"cannot write {folder}: {error}", hint="name a folder with --unit-folder") from error
        return paths


def units(
    arguments: Sequence[str],
    *,
    calendar: str,
    minutes: float | None,
    granted: Collection[str] = (),
    folder: Path | None = None,
) -> Units:
    """The units for `harness nightly ARGUMENTS`, run in `folder` (default: here) at `calendar` (systemd.time(7)).

    `minutes` is the deadline of a night, None for none; `granted` are capabilities that scenarios ask for.
    """
    where = (folder or Path.cwd()).absolute()
    command = shlex.join([str(Path(sys.executable).with_name("harness")), "nightly", *arguments])
    withheld = [name for name in WITHHELD if name not in _OF_THE_HARNESS | set(granted)]
    deadline = "" if minutes is None else f"TimeoutStartSec={round(minutes + SLACK_MINUTES)}min\n"
    service = _SERVICE.format(
        # systemd reads escapes within quotes of either kind.
        command=command.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$"),
        folder=str(where).replace("%", "%%"),
        docs=(Path(__file__).resolve().parents[1] / "docs" / "nightly.md").as_uri().replace("%", "%%"),
        deadline=deadline,
        capabilities=" ".join(withheld),
    )
    return Units(service, _TIMER.format(calendar=calendar))
