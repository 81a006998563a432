"""The systemd that runs a deployed unit, asked and steered through `systemctl`; answers are data, not prose."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.errors import MachineError, UnitError
from harness.machine import shell

_NAME = re.compile(r"[\w:.\\-]+(?:@[\w:.\\-]*)?\.service")


class Run(Protocol):
    """How a command is run: on this host, or in a machine."""

    def __call__(self, argv: Sequence[str], *, timeout_s: float = 60.0, kept_bytes: int = 2**20) -> shell.Output:
        """The command's end."""


@dataclass(frozen=True)
class State:
    """The unit now. `invocation` changes with every start; `restarts` counts those that systemd did by itself."""

    active: str
    sub: str
    result: str
    invocation: str
    restarts: int

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self.active in ("active", "reloading")

    @property
    def down(self) -> bool:
        """Whether it does not run, and is not on its way up or down."""
        return self.active in ("failed", "inactive") or self.sub == "auto-restart"

    def __str__(self) -> str:
        why = "" if self.result in ("", "success") else f", {self.result}"
        return f"{self.active} ({self.sub}{why})"


class Manager:
    """One unit and its systemd."""

    def __init__(self, unit: str, run: Run = shell.run) -> None:
        """Raises UnitError for a name that is no service's."""
        if not _NAME.fullmatch(unit) or "@." in unit:
            raise UnitError(f"{unit!r} is not the name of a service", hint="name one such as redis-server.service")
        self.unit = unit
        self.run = run

    def show(self, *properties: str) -> dict[str, str]:
        """`systemctl show` of some properties, of all without any. Raises MachineError when systemd does not answer."""
        asked = ["-p", ",".join(properties)] if properties else []
        done = self.run(["systemctl", "show", *asked, "--", self.unit])
        if done.status != 0:
            raise MachineError(
                f"systemd does not answer: {done.error_text}",
                hint="run this as root, on a machine that systemd has booted",
            )
        return dict(line.partition("=")[::2] for line in done.text.splitlines() if "=" in line)

    def state(self) -> State:
        """State, result and invocation now."""
        shown = self.show("ActiveState", "SubState", "Result", "InvocationID", "NRestarts")
        return State(
            shown.get("ActiveState", ""),
            shown.get("SubState", ""),
            shown.get("Result", ""),
            shown.get("InvocationID", ""),
            int(shown.get("NRestarts") or 0),
        )

    def require_loaded(self) -> None:
        """Raise UnitError when there is no such unit, none that can be started, or it is another name of one."""
        shown = self.show("LoadState", "Id")
        state = shown.get("LoadState", "")
        if state != "loaded":
            raise UnitError(
                f"the unit {self.unit} is {state or 'unknown'} on this machine",
                hint="check its name: systemctl list-unit-files --type=service",
            )
        if (name := shown.get("Id") or self.unit) != self.unit:
            # The log has the unit's own name alone.
            raise UnitError(f"{self.unit} is another name of {name}", hint=f"say {name}")

    def text(self) -> str:
        """`systemctl cat`: the unit and its drop-ins, each below a comment with its path."""
        return self.run(["systemctl", "cat", "--", self.unit]).text

    def version(self) -> int:
        """Version number of this systemd; 0 when it does not say."""
        found = re.search(r"systemd (\d+)", self.run(["systemctl", "--version"]).text)
        return int(found[1]) if found else 0

    def reload(self) -> None:
        """`daemon-reload`. Raises MachineError when it fails."""
        done = self.run(["systemctl", "daemon-reload"], timeout_s=120.0)
        if done.status != 0:
            raise MachineError(f"daemon-reload failed: {done.error_text}", hint="see `journalctl -b _PID=1`")

    def restart(self, timeout_s: float) -> str:
        """Restart the unit; empty when it went well, else what went wrong."""
        done = self.run(["systemctl", "restart", "--", self.unit], timeout_s=timeout_s)
        if done.timed_out:
            return f"systemctl restart did not finish in {timeout_s:.3g} s"
        return "" if done.status == 0 else (done.error_text.splitlines() or ["systemctl restart failed"])[0]
