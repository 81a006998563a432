"""The disk of the guest: Debian 13 with systemd 257, its kernel, and a Python that has what harness needs.

Made once from Debian's packages by `mmdebstrap` and kept below /var/cache/harness, in a folder named by the hash of
what it is made from. apt and pip are this host's own: the packages come from wherever this host gets its own.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parents[2]
CACHE = Path("/var/cache/harness")
SUITE = "trixie"
PYTHON_VERSION = "3.13"  # of that suite
DISK_BYTES = 4 * 2**30  # sparse
PACKAGES = (
    "systemd systemd-sysv systemd-container dbus udev kmod procps iproute2 util-linux mount e2fsprogs "
    "python3 python3-venv initramfs-tools zstd linux-image-cloud-amd64 libseccomp2"
).split()
# Not needed to run the tests, and large; of the project itself only what it needs.
LEFT_OUT = ("harness[", "mypy", "pandas-stubs", "playwright", "ruff")
# The cloud kernel has all but the disk's driver built in; a small first root is unpacked faster.
INITRAMFS = """
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/initramfs-tools/hooks"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/guest"
printf '#!/bin/sh\\n. /usr/share/initramfs-tools/hook-functions\\nmanual_add_modules virtio_blk\\n' \\
    >"$1/etc/initramfs-tools/hooks/guest"
chmod 755 "$1/etc/initramfs-tools/hooks/guest"
"""
# Starts what the second disk brings, whatever that is, and switches off: the disk need not be made again for it.
UNIT = """\
[Unit]
Description=What the host wants done
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mkdir /checkout && tar -xf /dev/vdb -C /checkout && exec /bin/sh /checkout/guest.sh'
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
Environment=HOME=/root

[Install]
WantedBy=default.target
"""
FILES = {
    "etc/hostname": "guest\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/systemd/system/guest.service": UNIT,
}
MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer e2scrub_reap.service "
    "getty@tty1.service serial-getty@ttyS0.service systemd-networkd.service systemd-timesyncd.service"
).split()


class GuestError(Exception):
    """The disk cannot be made here; the message says why."""


def requirements() -> list[str]:
    """What pip installs in the guest: all that harness and its tests need."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return [line for line in wanted if not line.startswith(LEFT_OUT)]


def _key() -> str:
    parts = [Path(__file__).read_text(), (PROJECT / "constraints.txt").read_text(), *requirements()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def image() -> Path:
    """The folder with `disk`, `kernel` and `initrd`; made first if need be. Raises `GuestError`."""
    folder = CACHE / f"guest-{_key()}"
    with _alone():
        if not folder.exists():
            for old in (*CACHE.glob("guest-*"), *CACHE.glob("making-*")):
                shutil.rmtree(old)
            _make(folder)
    return folder


@contextmanager
def _alone() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "guest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(folder: Path) -> None:
    # Beside the result: a move within one filesystem is whole or not at all.
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="making-") as name:
        made = Path(name) / "made"
        made.mkdir()
        tree = Path(name) / "tree"
        _run(
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
            *(f"--essential-hook={INITRAMFS}", SUITE, str(tree)),
        )
        for path, text in FILES.items():
            (tree / path).write_text(text)
        _run("systemctl", f"--root={tree}", "--quiet", "enable", "guest.service")
        _run("systemctl", f"--root={tree}", "--quiet", "mask", *MASKED)
        _python(tree)
        for name, pattern in (("kernel", "vmlinuz-*"), ("initrd", "initrd.img-*")):
            (found,) = (tree / "boot").glob(pattern)
            shutil.copyfile(found, made / name)
        with (made / "disk").open("wb") as disk:
            disk.truncate(DISK_BYTES)
        _run("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(made / "disk"))
        made.rename(folder)


def _python(tree: Path) -> None:
    """A virtual environment at /opt/harness in the tree, from wheels that this host's pip finds."""
    wheels = tree / "wheels"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON_VERSION}"]
    _run(*pip, "download", "-c", str(PROJECT / "constraints.txt"), "-d", str(wheels), *target, *requirements())
    inside = ["chroot", str(tree), "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    names = [f"/wheels/{wheel.name}" for wheel in wheels.iterdir()]
    _run(*inside, "python3", "-m", "venv", "/opt/harness")
    _run(*inside, "/opt/harness/bin/python", "-m", "pip", "--quiet", "install", "--no-index", "--no-deps", *names)
    shutil.rmtree(wheels)


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise GuestError(f"{argv[0]} is not installed (`make test-v2` installs it)") from error
    if done.returncode != 0:
        raise GuestError(f"{' '.join(argv)}: {(done.stderr or done.stdout)[-3000:]}")
