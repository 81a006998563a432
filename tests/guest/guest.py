"""The guest: a whole Debian 13 in an emulated computer, which runs one command line on this checkout and ends.

An emulator needs neither /dev/kvm nor modules of the host. What goes in and what comes out travels on disks of their
own: a tar of the checkout in, a tar of the folder `/checkout/out` back.
"""

import os
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.guest.image import PROJECT, GuestError, image

EMULATOR = "qemu-system-x86_64"
PROCESSORS = 2
MEMORY_MIB = 2048
OUT_BYTES = 512 * 2**20
SENT = ("harness", "tests", "scenarios", "pyproject.toml")
ENDED = re.compile(r"guest ended with status (\d+)")  # after what a terminal is told
KERNEL_ARGUMENTS = (
    "root=/dev/vda rw console=ttyS0 quiet loglevel=3 panic=-1 systemd.show_status=no systemd.firstboot=no "
    # Only for speed: nothing here is about them.
    "mitigations=off rcupdate.rcu_expedited=1 no_timer_check tsc=reliable cryptomgr.notests"
)


@dataclass(frozen=True)
class Result:
    """How the command line ended (None: it never did), what the console showed, and the folder that came back."""

    status: int | None
    console: str
    out: Path


def run(command: str, folder: Path, *, timeout_s: float, brought: Path | None = None) -> Result:
    """Boot the guest and run `command` by its shell in /checkout, with `folder` for the disks and for what comes back.

    The folder `brought` is /checkout/brought there.
    Raises `GuestError` when there is no guest to be had.
    """
    made = image()
    send, back, console = folder / "in.tar", folder / "back.tar", folder / "console.log"
    _pack(send, command, brought)
    with back.open("wb") as file:
        file.truncate(OUT_BYTES)
    argv = [
        *("setpriv", "--pdeathsig", "KILL", EMULATOR, "-no-reboot", "-display", "none", "-nic", "none"),
        *("-machine", "q35", "-cpu", "max", "-smp", str(PROCESSORS), "-m", str(MEMORY_MIB)),
        *_accelerator(),
        *("-kernel", str(made / "kernel"), "-initrd", str(made / "initrd"), "-append", KERNEL_ARGUMENTS),
        *("-serial", f"file:{console}", "-monitor", "none"),
        *_disk(made / "disk", "snapshot=on"),
        *_disk(send, "readonly=on"),
        *_disk(back),
    ]
    try:
        # The guest's disk is never changed: what it writes goes to a nameless file in TMPDIR.
        done = subprocess.run(
            argv,
            env={**os.environ, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise GuestError(f"{error.filename} is not installed (`make test-v2` installs it)") from error
    except subprocess.TimeoutExpired:
        return Result(None, _text(console), folder / "out")
    if done.returncode != 0:
        raise GuestError(f"{EMULATOR} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return _result(console, back, folder / "out")


def _accelerator() -> list[str]:
    """The processor's own virtualisation where it has one, else translation with a thread per processor.

    A /dev/kvm on a processor that shows neither flag is an emulation in turn: it opens, and stops in mid-boot.
    """
    flags = Path("/proc/cpuinfo").read_text().split()
    own = {"vmx", "svm"} & set(flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)
    return ["-accel", "kvm"] if own else ["-accel", "tcg,thread=multi,tb-size=512"]


def _disk(path: Path, *options: str) -> list[str]:
    return ["-drive", ",".join([f"file={path}", "if=virtio", "format=raw", "cache=unsafe", *options])]


def _pack(path: Path, command: str, brought: Path | None) -> None:
    script = path.with_name("command")
    script.write_text(command + "\n")
    with tarfile.open(path, "w") as tar:
        tar.add(Path(__file__).with_name("guest.sh"), "guest.sh")
        tar.add(script, "command")
        if brought is not None:
            tar.add(brought, "brought")
        for name in SENT:
            tar.add(PROJECT / name, name, filter=_without_caches)


def _without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member


def _text(console: Path) -> str:
    return console.read_text(errors="replace") if console.exists() else ""


def _result(console: Path, back: Path, out: Path) -> Result:
    text = _text(console)
    ended = ENDED.search(text)
    out.mkdir()
    if ended:
        with tarfile.open(back) as tar:
            tar.extractall(out, filter="data")
    return Result(int(ended[1]) if ended else None, text, out)
