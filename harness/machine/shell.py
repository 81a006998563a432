"""Running commands: the only import of `sh`, and what must be known of it.

Every command runs with a fixed locale and without pagers, in a session of its own (so that Ctrl-C reaches the
harness alone, which then closes what it opened), reads `/dev/null`, and keeps at most the last MiB of each stream:
a step that prints 100 MB costs no memory. A non-zero status is an answer, not an error.
"""

import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sh

from harness.errors import MachineError, UsageError

CHUNK_BYTES = 64 * 1024
KEPT_BYTES = 2**20
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "cat", "SYSTEMD_COLORS": "0", "SYSTEMD_URLIFY": "0"}
DEFERRED = frozenset({signal.SIGINT, signal.SIGTERM})
Handler = Callable[[int, Any], object]
ANY_STATUS = range(-64, 256)


@dataclass(frozen=True)
class Output:
    """What a finished command left.

    `status` is the exit status, or minus the signal that ended it. `stdout` and `stderr` hold at most the last MiB
    of each stream; `truncated` says that there was more.
    """

    status: int
    stdout: bytes
    stderr: bytes
    truncated: bool
    timed_out: bool
    duration_s: float

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def error_text(self) -> str:
        """Standard error as text, stripped."""
        return self.stderr.decode("utf-8", "replace").strip()


class _Tail:
    """A stream's last bytes; `sh` writes to it as to a file. Its own buffer counts chunks of no fixed size."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._chunks: deque[bytes] = deque()
        self._held_bytes = 0
        self.truncated = False

    def write(self, chunk: bytes) -> None:
        """Take more; drop what is too old."""
        self._chunks.append(chunk)
        self._held_bytes += len(chunk)
        while self._held_bytes - len(self._chunks[0]) >= self._most_bytes:
            self._held_bytes -= len(self._chunks.popleft())
            self.truncated = True

    def content(self) -> bytes:
        """What is kept."""
        held = b"".join(tuple(self._chunks))
        self.truncated = self.truncated or len(held) > self._most_bytes
        return held[-self._most_bytes :]


class Background:
    """A command that goes on while others run; `pid` is its process id."""

    def __init__(self, running: Any, streams: Sequence[_Tail]) -> None:
        self._running = running
        self._streams = streams
        self.pid: int = running.pid

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return bool(self._running.is_alive())

    def kill(self) -> None:
        """End it now, and wait for it; what it left behind is the caller's business."""
        if self.is_alive():
            self._running.signal(signal.SIGKILL)
        self._running.wait()

    def status(self) -> int:
        """Exit status once it has ended, or minus the signal that ended it."""
        self._running.wait()
        return int(self._running.exit_code)

    def output(self) -> str:
        """What it printed on both streams; complete once it ended."""
        printed = b"".join(stream.content() for stream in self._streams)
        return printed.decode("utf-8", "replace").strip()


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every command: the harness's own, with a fixed locale and no pager."""
    return {**os.environ, **ENVIRONMENT, **(extra or {})}


def find(program: str, *, needed_for: str) -> str:
    """Full path of `program`. Raises UsageError saying what it is needed for."""
    path = shutil.which(program)
    if path is None:
        raise UsageError(
            f"the program {program} is not installed; it is needed for {needed_for}",
            hint="run `harness doctor`: it names the Debian packages that are missing",
        )
    return path


def _options(env: Mapping[str, str] | None, join: Sequence[Path], streams: tuple[_Tail, _Tail]) -> dict[str, Any]:
    return {
        "_out": streams[0],
        "_err": streams[1],
        "_env": environment(env),
        "_ok_code": ANY_STATUS,
        "_tty_out": False,
        "_new_session": True,
        "_truncate_exc": False,
        "_out_bufsize": CHUNK_BYTES,
        "_err_bufsize": CHUNK_BYTES,
        "_no_pipe": True,  # else sh keeps all output a second time, for a command it could be piped into
        "_bg": True,
        "_bg_exc": False,
        "_return_cmd": True,
        "_preexec_fn": _joiner(join),
    }


def _joiner(cgroups: Sequence[Path]) -> Callable[[], None]:
    """A function for the child between fork and exec that moves it into `cgroups`."""
    files = [os.fspath(cgroup / "cgroup.procs") for cgroup in cgroups]

    def join() -> None:
        for file in files:
            descriptor = os.open(file, os.O_WRONLY)
            os.write(descriptor, b"0")
            os.close(descriptor)

    return join


@contextmanager
def handling(handlers: Mapping[int, Handler]) -> Iterator[None]:
    """Handle signals by `handlers` until the block is over."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block is over, and raise then what their handlers raise.

    Blocking them would not do: the kernel then hands them to any other thread, and Python runs the handler in the main
    one all the same. Only there it needs deferring.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    try:
        with handling(dict.fromkeys(DEFERRED, lambda number, frame: came.append(number))):
            yield
    finally:
        for late in dict.fromkeys(came):
            signal.raise_signal(late)


def _launch(argv: Sequence[str], options: dict[str, Any]) -> Any:
    program = find(argv[0], needed_for="running " + " ".join(argv[:3]))
    # os.fork() swallows what a signal handler raises in it, and a Ctrl-C would be lost. Worse, the lock that `logging`
    # holds over a fork would stay taken, and the next thread of `sh` would wait for it for ever.
    with Path(os.devnull).open("rb") as nothing, signals_deferred():
        try:
            return sh.Command(program)(*argv[1:], _in=nothing, **options)
        except sh.ForkException as error:
            why = str(error).strip().splitlines()[-1].strip()
            raise MachineError(
                f"cannot start {argv[0]}: {why}", hint="the machine it was meant for may be gone; run again: it resumes"
            ) from error


def _kill(running: Any) -> None:
    """Kill it with all that it started: it leads a process group of its own."""
    if running.is_alive():
        with suppress(ProcessLookupError):
            running.signal_group(signal.SIGKILL)


def run(
    argv: Sequence[str],
    *,
    timeout_s: float = 60.0,
    env: Mapping[str, str] | None = None,
    join: Sequence[Path] = (),
    on_timeout: Callable[[], None] | None = None,
    kept_bytes: int = KEPT_BYTES,
) -> Output:
    """Run `argv` to its end, whatever its status, inside the cgroups `join`.

    After `timeout_s` the command is killed. `on_timeout` may first end what the command started elsewhere, since
    killing nsenter does not end what runs behind it. The last `kept_bytes` of each stream are kept.

    Raises UsageError when the program is missing, MachineError when a cgroup in `join` is gone.
    """
    began = time.monotonic()
    timed_out = threading.Event()
    streams = _Tail(kept_bytes), _Tail(kept_bytes)
    running = _launch(argv, _options(env, join, streams))

    def overrun() -> None:
        timed_out.set()
        if on_timeout is not None:
            on_timeout()
        _kill(running)

    # A timer rather than sh's own wait(timeout): that one looks only every 100 ms.
    timer = threading.Timer(timeout_s, overrun)
    timer.start()
    try:
        running.wait()
    except BaseException:
        # Ctrl-C or the end of a worker: leave no child of ours behind, then go on unwinding.
        _kill(running)
        raise
    finally:
        timer.cancel()
        # What ends an overrun command must be over before the next one starts in the same cgroups.
        timer.join()
    stdout, stderr = streams[0].content(), streams[1].content()
    return Output(
        status=running.exit_code,
        stdout=stdout,
        stderr=stderr,
        truncated=any(stream.truncated for stream in streams),
        timed_out=timed_out.is_set(),
        duration_s=time.monotonic() - began,
    )


def start(argv: Sequence[str], *, env: Mapping[str, str] | None = None, join: Sequence[Path] = ()) -> Background:
    """Start `argv` in the background inside the cgroups `join`. Raises as `run` does."""
    streams = _Tail(KEPT_BYTES), _Tail(KEPT_BYTES)
    return Background(_launch(argv, _options(env, join, streams)), streams)
