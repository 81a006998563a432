"""What a machine does not start: units and generators that a service does not need and the host must not feel.

Boot time halves, and timers, sockets or security policies that the root tree's owner enabled do not run in
every trial. Names are those of systemd 252 and 257; a name that a root tree lacks costs nothing.
"""

from pathlib import PurePosixPath

from harness.machine.overlay import Overlay

MASKED = """
apparmor.service console-getty.service container-getty@.service getty.target debug-shell.service
kmod-static-nodes.service ldconfig.service modprobe@.service proc-sys-fs-binfmt_misc.automount
proc-sys-fs-binfmt_misc.mount dev-hugepages.mount sys-fs-fuse-connections.mount sys-kernel-config.mount
sys-kernel-debug.mount sys-kernel-tracing.mount systemd-ask-password-console.path systemd-ask-password-wall.path
systemd-binfmt.service systemd-boot-random-seed.service systemd-boot-system-token.service
systemd-boot-update.service systemd-firstboot.service systemd-hwdb-update.service systemd-initctl.socket
systemd-journal-catalog-update.service systemd-journal-flush.service
systemd-journald-audit.socket systemd-machine-id-commit.service
systemd-modules-load.service systemd-network-generator.service systemd-networkd.service systemd-pcrmachine.service
systemd-pcrphase-sysinit.service systemd-pcrphase.service systemd-pstore.service systemd-random-seed.service
systemd-remount-fs.service systemd-repart.service systemd-resolved.service systemd-sysctl.service
systemd-sysext.service systemd-confext.service systemd-sysusers.service systemd-timesyncd.service
systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup-dev-early.service systemd-tpm2-setup.service
systemd-tpm2-setup-early.service systemd-udev-settle.service systemd-udev-trigger.service systemd-udevd.service
systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-update-done.service systemd-update-utmp.service
timers.target cryptsetup.target integritysetup.target veritysetup.target remote-cryptsetup.target
remote-veritysetup.target
""".split()
# What a systemd tells its services of language is in one of these: locale.conf(5), and Debian's own before 13.
LOCALES = ("etc/locale.conf", "etc/default/locale")
UNITS = "etc/systemd/system"
GENERATORS = "usr/lib/systemd/system-generators"
# Storage=volatile keeps the host's own journal, which the root tree may hold, out of sight; without the rate limit
# a noisy failure is kept whole.
JOURNALD = b"[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\nRateLimitBurst=0\nForwardToConsole=no\nAudit=no\n"


def prepare(overlay: Overlay, *, keep: frozenset[str]) -> None:
    """Write the masks into the upper layer, except for the units `keep`."""
    for unit in MASKED:
        if unit not in keep:
            overlay.link(f"/{UNITS}/{unit}", "/dev/null")
    _mask_generators(overlay)
    for pattern in ("*.target.wants", "*.target.requires"):
        for directory in sorted((overlay.root / UNITS).glob(pattern)):
            overlay.hide(f"/{UNITS}/{directory.name}")
    overlay.put("/etc/systemd/journald.conf.d/50-harness.conf", JOURNALD)
    overlay.hide("/var/log/journal")
    _speak_plainly(overlay)


def _speak_plainly(overlay: Overlay) -> None:
    """Services keep the host's locale but for their messages: refusals are recognised by the words of the C library."""
    for name in LOCALES:
        path = overlay.root / name
        if path.is_file() and not path.is_symlink():
            overlay.put(f"/{name}", path.read_bytes().rstrip() + b"\nLC_MESSAGES=C\n")


def _mask_generators(overlay: Overlay) -> None:
    """Mask systemd's own generators; those of packages may make the very unit under test."""
    wants_sysv = any((overlay.root / "etc/init.d").glob("*"))
    for generator in sorted((overlay.root / GENERATORS).glob("systemd-*")):
        if generator.name == "systemd-sysv-generator" and wants_sysv:
            continue
        overlay.link(f"/etc/systemd/system-generators/{generator.name}", "/dev/null")


def is_masked(unit: str) -> bool:
    """Whether a machine does not start `unit` unless it is asked to keep it."""
    return PurePosixPath(unit).name in MASKED
