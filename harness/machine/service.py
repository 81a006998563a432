"""One service inside a machine, asked and steered through its systemd; answers are data, not prose."""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MachineError, UnitError
from harness.machine.boot import Machine
from harness.machine.counters import UnitFiles, pids_below
from harness.observation import Counters, JournalLine, UnitState

JOURNAL_KEPT_BYTES = 16 * 2**20
JOURNAL_LINES = 20_000
SYNC_TIMEOUT_S = 20.0
MESSAGE_CHARACTERS = 4000
JOURNAL_FIELDS = "MESSAGE,PRIORITY,_PID,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER,_TRANSPORT,INVOCATION_ID,MESSAGE_ID"
# --all: without it journalctl leaves out messages of more than 4096 bytes.
JOURNAL = ("journalctl", "--quiet", "--no-pager", "--all", "--output=json", f"--output-fields={JOURNAL_FIELDS}")
STATE = ("ActiveState", "SubState", "Result", "ExecMainCode", "ExecMainStatus", "NRestarts", "MainPID", "ControlGroup")


@dataclass(frozen=True)
class Status:
    """The unit now: its state, main process (host process id, 0 if none) and control group as systemd names it."""

    state: UnitState
    main_pid: int
    control_group: str


class Service:
    """The unit under test in a running machine."""

    def __init__(self, machine: Machine, unit: str) -> None:
        self.machine = machine
        self.unit = unit
        self._cgroups: dict[str, Path] = {}

    def show(self, properties: Sequence[str], unit: str = "") -> dict[str, str]:
        """`systemctl show` of some properties. Raises MachineError when systemd does not answer."""
        done = self.machine.run(["systemctl", "show", unit or self.unit, "-p", ",".join(properties)])
        if done.status != 0:
            raise MachineError(
                f"systemd in the machine does not answer: {done.error_text}", hint="run again: it resumes"
            )
        return dict(line.partition("=")[::2] for line in done.text.splitlines() if "=" in line)

    def has_failed(self) -> bool:
        """Whether the unit is down for good: one that systemd is about to start again is not."""
        return self.show(["ActiveState"]).get("ActiveState") == "failed"

    def status(self) -> Status:
        """State, main process and control group of the unit now."""
        shown = self.show(STATE)
        state = UnitState(
            active_state=shown.get("ActiveState", ""),
            sub_state=shown.get("SubState", ""),
            result=shown.get("Result", ""),
            exec_main_code=shown.get("ExecMainCode", ""),
            exec_main_status=_integer(shown.get("ExecMainStatus")),
            restarts=_integer(shown.get("NRestarts")),
        )
        status = Status(state, _integer(shown.get("MainPID")) or 0, shown.get("ControlGroup", ""))
        if status.control_group:
            self._cgroups = self.machine.unit_cgroups(status.control_group)
        return status

    def act(self, verb: str, *arguments: str, timeout_s: float) -> str:
        """`systemctl VERB UNIT`; empty when it went well, else what went wrong."""
        done = self.machine.run(["systemctl", verb, *arguments, self.unit], timeout_s=timeout_s)
        if done.timed_out:
            return f"systemctl {verb} did not finish in {timeout_s:.3g} s"
        if done.status == 0:
            return ""
        said = _first_line(done.error_text).removeprefix(f"Job for {self.unit} failed because ")
        return f"systemctl {verb} failed: {said}"

    def pids(self) -> list[int]:
        """Processes of the unit now, those below its cgroup too, as host process ids."""
        # With TasksAccounting=no it has none of the pids controller.
        paths = (self._cgroups[key] for key in ("pids", "name=systemd", "") if key in self._cgroups)
        return next((pids_below(path) for path in paths if path.is_dir()), [])

    def cgroup_ids(self) -> set[int]:
        """Inodes of its cgroup in the v2 tree and of those below, which a unit with Delegate= makes: BPF's ids."""
        found = set()
        for folder, _, _ in os.walk(self._cgroups.get("", "")):
            with contextlib.suppress(OSError):
                found.add(Path(folder).stat().st_ino)
        return found

    def counters(self) -> Counters:
        """The cgroup counters now; they vanish with the cgroup when the unit stops."""
        with UnitFiles(self._cgroups) as files:
            return files.peaks()

    def text(self) -> str:
        """`systemctl cat` of the unit. Raises UnitError when the machine does not know it."""
        done = self.machine.run(["systemctl", "cat", self.unit])
        if done.status != 0:
            raise UnitError(
                f"the unit {self.unit} does not exist in the root tree: {_first_line(done.error_text)}",
                hint="install the package that brings it, or put the unit file in with [[files]]",
            )
        return done.text

    def exposure_text(self) -> str:
        """Output of `systemd-analyze security UNIT`; empty when it fails."""
        done = self.machine.run(["systemd-analyze", "security", "--no-pager", self.unit])
        return done.text if done.status == 0 else ""

    def journal(self) -> list[dict[str, object]]:
        """The machine's last journal records with the fields a judgement needs, oldest first."""
        # A service's last lines may still wait in journald's sockets, which hold up to 8 MiB each.
        self.machine.run(["journalctl", "--sync"], timeout_s=SYNC_TIMEOUT_S)
        done = self.machine.run([*JOURNAL, f"--lines={JOURNAL_LINES}"], kept_bytes=JOURNAL_KEPT_BYTES)
        return journal_records(done.stdout)


def journal_records(stdout: bytes) -> list[dict[str, object]]:
    """What `JOURNAL` printed, oldest first."""
    records = []
    for line in stdout.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the first line may be cut where more was logged than is kept
        if isinstance(record, dict):
            records.append(record)
    return records


def journal_lines(records: Sequence[dict[str, object]], unit: str, pids: frozenset[int]) -> list[JournalLine]:
    """The records that are from the unit or about it.

    A child that died at once may be logged without its unit, so processes seen in the unit's cgroup
    (`pids`, as the machine numbers them) and the manager's `UNIT:` prefix count too.
    """
    lines = []
    for record in records:
        message = message_text(record.get("MESSAGE"))
        pid = _integer(record.get("_PID"))
        from_manager = record.get("UNIT") == unit or (pid == 1 and message.startswith(unit + ":"))
        if from_manager or record.get("_SYSTEMD_UNIT") == unit or (pid in pids and pid is not None):
            priority = _integer(record.get("PRIORITY"))
            lines.append(
                JournalLine(
                    priority=6 if priority is None else priority,
                    identifier=str(record.get("SYSLOG_IDENTIFIER") or ""),
                    pid=pid,
                    message=message,
                    from_manager=from_manager,
                )
            )
    return lines


def message_text(value: object) -> str:
    """A journal message as text, cut when it is long: journalctl gives other bytes than UTF-8 as a list of numbers."""
    if isinstance(value, list):
        value = bytes(item & 0xFF for item in value if isinstance(item, int)).decode("utf-8", "replace")
    return shortened(value) if isinstance(value, str) else ""


def shortened(message: str) -> str:
    """A log message of at most `MESSAGE_CHARACTERS`, its end left out."""
    return message if len(message) <= MESSAGE_CHARACTERS else message[:MESSAGE_CHARACTERS] + "…"


def _integer(value: object) -> int | None:
    return int(value) if isinstance(value, (str, int)) and str(value).isdigit() else None


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no message"
