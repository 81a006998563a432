"""A change of one unit's drop-in that undoes itself: tried below /run, made lasting below /etc only when told so.

Two transient units hold the way back from before anything is written, so that it depends neither on this process nor
on the connection it was started from:

- `harness-rollback-ID.timer` runs `rollback.sh` when time is over;
- `harness-guard-ID.service` waits for a lock that this process holds, and runs it as soon as this process is gone.

A file in /run/harness/ID decides what is to happen: whoever renames it first. Until then the lasting drop-in below
/etc is as it was, so a reboot at any point brings either the old state or, once all has passed, the new one.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from harness.deploy.manager import Manager, State
from harness.errors import HarnessError, MachineError, RolledBackError, UsageError
from harness.machine import shell
from harness.results.store import write_whole
from harness.unit.dropin import FILE_NAME

LASTING = Path("/etc/systemd/system")
# Of all places below /run the one that also overrides a drop-in of the same name below /etc: systemd.unit(5), table 1.
TRIED = Path("/run/systemd/system.control")
STATE = Path("/run/harness")
# Written below /run for "no drop-in at all".
NOTHING = "# nothing: the drop-in of this name is taken away\n"
ROLLBACK_TIMEOUT_S = 900.0
# Units that a failed start of this one takes down with it: systemd.unit(5), and the socket that starts it.
BOUND = ("TriggeredBy", "RequiredBy", "BoundBy", "ConsistsOf")


@dataclass(frozen=True)
class Places:
    """Where the change of one unit keeps its files, and the names of its transient units."""

    unit: str

    @property
    def id(self) -> str:
        """The unit's name as part of another unit's name: no `@`, and no two units share it."""
        digest = hashlib.sha256(self.unit.encode()).hexdigest()[:8]
        return re.sub(r"[^\w.-]", "_", self.unit.removesuffix(".service")) + "-" + digest

    @property
    def state(self) -> Path:
        """Folder of the change in flight."""
        return STATE / self.id

    @property
    def lock(self) -> Path:
        """Held by the process that makes the change."""
        return STATE / f"{self.id}.lock"

    @property
    def tried(self) -> Path:
        """The drop-in that is gone after a reboot."""
        return TRIED / f"{self.unit}.d" / FILE_NAME

    @property
    def kept(self) -> Path:
        """The lasting drop-in."""
        return LASTING / f"{self.unit}.d" / FILE_NAME

    @property
    def staged(self) -> Path:
        """The lasting drop-in before it is put in its place; systemd reads only what ends in .conf."""
        return self.kept.with_name(f".{FILE_NAME}.new")

    @property
    def rollback(self) -> str:
        """Name of the timer and of the service that bring the old state back, without suffix."""
        return f"harness-rollback-{self.id}"

    @property
    def guard(self) -> str:
        """Name of the service that waits for this process to end."""
        return f"harness-guard-{self.id}.service"


def lasting(unit: str) -> str | None:
    """The text of the unit's lasting drop-in, None when it has none."""
    path = Places(unit).kept
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", hint="look at it, and move it away") from error


def require_unchanged(unit: str, before: str | None) -> None:
    """Raise UsageError when the lasting drop-in is not `before` any more; to be asked where no other change can be."""
    if lasting(unit) != before:
        raise UsageError(
            f"the drop-in of {unit} was changed meanwhile: nothing was changed here",
            hint="run the same command again: it shows the difference as it is now",
        )


class Change:
    """One guarded change: a context manager that brings the old state back, unless `keep` was called in it.

    `text` is the new drop-in, None for none. `within_s` is how long it may take in all. Raises RolledBackError where
    the block raised an error of any kind once the change had begun (with what became of the unit added), UsageError
    when another change of the unit is under way.
    """

    def __init__(self, manager: Manager, text: str | None, *, within_s: float) -> None:
        self.manager = manager
        self.places = Places(manager.unit)
        self.text = text
        self._within_s = within_s
        self._lock: IO[bytes] | None = None
        self._begun = self._kept = False
        self._bound: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self._hold()
        try:
            self._end_earlier()
            self.before = self._require_up()
            self._bound = tuple(self._active(self._bound_to_it()))
            self._arm(self.before)
        except BaseException:
            with undisturbed():
                self._end_earlier()
                self._release()
            raise
        return self

    def begin(self, *, timeout_s: float) -> State:
        """Put the drop-in below /run and restart the unit with it. Raises RolledBackError when it does not come up."""
        self._begun = True
        tried = self.places.tried
        tried.parent.mkdir(parents=True, exist_ok=True)
        write_whole(tried, NOTHING if self.text is None else self.text)
        self.manager.reload()
        shown = self.manager.show("LoadState", "DropInPaths")
        if shown.get("LoadState") != "loaded":
            raise RolledBackError(f"systemd does not take the drop-in: {self.manager.unit} is {shown.get('LoadState')}")
        if str(tried) not in shown.get("DropInPaths", "").split():
            raise RolledBackError(f"systemd does not read {tried}", hint="is there a mask or an odd drop-in directory?")
        problem = self.manager.restart(timeout_s)
        state = self.manager.state()
        if problem or not state.up:
            raise RolledBackError(problem or f"{self.manager.unit} is {state} after its restart")
        return state

    def require_bound(self) -> None:
        """Raise RolledBackError when a unit that ran before, and is bound to this one, does not any more."""
        if down := sorted(set(self._bound) - set(self._active(self._bound))):
            raise RolledBackError(f"{', '.join(down)} did not come back after the restart", hint=status_of(down))

    def keep(self) -> None:
        """Make it lasting. Raises RolledBackError when it was undone meanwhile, because time was over."""
        places = self.places
        if self.text is not None:
            places.kept.parent.mkdir(parents=True, exist_ok=True)
            write_whole(places.staged, self.text)
        try:
            if self.text is None:
                (places.state / "removes").touch()
            (places.state / "open").rename(places.state / "kept")
        except FileNotFoundError:
            # What was staged after the script had run is nobody's business any more.
            places.staged.unlink(missing_ok=True)
            raise RolledBackError("time was over before it could be made lasting") from None
        self._kept = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # From here on systemd does it, whatever becomes of this process; it is only waited for.
        with undisturbed():
            self._end()
            state = self.manager.state()
            down = sorted(set(self._bound) - set(self._active(self._bound)))
            self._release()
        if self._kept and state.up and not down:
            return
        failed = isinstance(error, RolledBackError) or (self._begun and isinstance(error, HarnessError | OSError))
        if failed or self._kept:
            told = getattr(error, "message", str(error)) if failed else "it was made lasting"
            raise RolledBackError(
                f"{told}\n{self._outcome(state, down)}", hint=self._hint(state, down, error)
            ) from error

    def _outcome(self, state: State, down: Sequence[str]) -> str:
        what = "the new settings are in force" if self._kept else "the settings from before are back"
        others = f"; down since the restart: {', '.join(down)}" if down else ""
        return f"{what}, and {self.manager.unit} is {state}{others}"

    def _hint(self, state: State, down: Sequence[str], error: BaseException | None) -> str:
        if not state.up or down:
            return status_of([*([] if state.up else [self.manager.unit]), *down])
        return getattr(error, "hint", "") or f"journalctl -u {self.manager.unit} --since -5min"

    def _hold(self) -> None:
        STATE.mkdir(mode=0o700, exist_ok=True)
        # Held in this process alone: the descriptor is closed in every child that runs a program (PEP 446).
        self._lock = self.places.lock.open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise UsageError(
                f"{self.manager.unit} is being changed or rolled back by another harness",
                hint=f"wait for its end: systemctl status {self.places.guard}",
            ) from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """No other change of the unit is under way. Raises UsageError when one is."""
        self._hold()
        try:
            self._end_earlier()
            yield
        finally:
            self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _end_earlier(self) -> None:
        """Bring to its end what was begun, here or by a dead harness whose guard has not done so yet."""
        if self.places.state.exists():
            self._end()

    def _bound_to_it(self) -> list[str]:
        return [unit for value in self.manager.show(*BOUND).values() for unit in value.split()]

    def _active(self, units: Sequence[str]) -> list[str]:
        """Those of `units` that are active now."""
        if not units:
            return []
        words = self.manager.run(["systemctl", "is-active", "--", *units]).text.split()
        return [unit for unit, word in zip(units, words, strict=False) if word == "active"]

    def _require_up(self) -> State:
        self.manager.require_loaded()
        state = self.manager.state()
        if not state.up:
            raise UsageError(
                f"{self.manager.unit} is {state}: there is no working state to come back to",
                hint=f"start it first: systemctl start {self.manager.unit}",
            )
        return state

    def _arm(self, before: State) -> None:
        """Have systemd hold the way back, before anything is written that it would have to undo."""
        places = self.places
        places.state.mkdir(mode=0o700)
        script = places.state / "rollback.sh"
        script.write_bytes(resources.files("harness.deploy").joinpath("rollback.sh").read_bytes())
        (places.state / "invocation").write_text(before.invocation + "\n")
        (places.state / "bound").write_text("".join(f"{unit}\n" for unit in self._bound))
        (places.state / "open").touch()
        paths = (places.state, places.tried, places.kept)
        command = ["/bin/sh", str(script), self.manager.unit, *map(str, paths)]
        # Not stopped when other units of the user's session or of its slice are.
        again = ["--quiet", "--collect", "--slice=system.slice", "--property=Type=oneshot"]
        timer = [f"--on-active={self._within_s:.0f}s", "--timer-property=AccuracySec=1s"]
        self._transient([f"--unit={places.rollback}", *timer, *again, *command])
        # Killed, it comes again: without it only the timer would be left.
        lasts = ["--property=Type=exec", "--property=Restart=on-abnormal", "--property=RestartSec=100ms"]
        guard = [f"--unit={places.guard}", "--quiet", "--collect", "--slice=system.slice", *lasts]
        waits = ["flock", str(places.lock), "systemctl", "start", f"{places.rollback}.service"]
        self._transient([*guard, *waits])

    def _transient(self, arguments: list[str]) -> None:
        done = self.manager.run(["systemd-run", *arguments])
        if done.status != 0:
            self._end()
            raise MachineError(
                f"systemd does not take the rollback of {self.manager.unit}: {done.error_text}",
                hint="nothing was changed; look at `systemctl list-units 'harness-*'`",
            )

    def _end(self) -> None:
        """Run the script to its end in its own unit; in this process only where systemd does not know the unit."""
        places, run = self.places, self.manager.run
        done = run(["systemctl", "start", f"{places.rollback}.service"], timeout_s=ROLLBACK_TIMEOUT_S)
        if done.timed_out:
            return  # systemd is still at it, and a second one beside it would only disturb
        if done.status != 0 and (script := places.state / "rollback.sh").exists():
            paths = (places.state, places.tried, places.kept)
            command = ["/bin/sh", str(script), self.manager.unit, *map(str, paths)]
            run(command, timeout_s=ROLLBACK_TIMEOUT_S)
        run(["systemctl", "stop", places.guard, f"{places.rollback}.timer"])
        with contextlib.suppress(OSError):
            for left in places.state.iterdir():
                left.unlink()
            places.state.rmdir()


def status_of(units: Sequence[str]) -> str:
    """The command that shows how these units are."""
    return f"systemctl status {' '.join(units)}"


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No signal ends the wait: a lost connection sends SIGHUP, and impatience SIGINT."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with shell.signals_deferred():
            yield
    finally:
        signal.signal(signal.SIGHUP, before)


def require_root(what: str = "changing a unit") -> None:
    """Raise UsageError for anybody but root."""
    if os.geteuid() != 0:
        raise UsageError(f"{what} needs root", hint="run the same command with sudo")
