"""The root of a machine: overlays above the root tree, and files put into them before boot.

Nothing is copied. Every real filesystem mounted below the root (a separate `/var` or `/home`) gets an overlay of its
own, since an overlay shows only the filesystem its lower layer is on. The upper layers lie on disk, so that what a
service writes is page cache as it is on a real host, and not charged to it as shared memory; `volatile` keeps
their fsync from costing anything (Documentation/filesystems/overlayfs.rst, Linux 5.10).
"""

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import MachineError
from harness.machine.processes import mounts_of
from harness.machine.tree import in_place, resolve
from harness.mountinfo import Mount

# Filesystems of the kernel's own making or of the network: never a lower layer. The machine gets fresh ones, or none.
NOT_LAYERED = frozenset(
    "autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl hugetlbfs mqueue "
    "nfs nfs4 cifs smb3 9p nsfs overlay_pseudo proc pstore ramfs rootfs rpc_pipefs securityfs squashfs sysfs "
    "selinuxfs tracefs fuse fuse.lxcfs fuse.sshfs fuse.gvfsd-fuse "
    # Names that compare by more than their bytes: overlayfs refuses these as a layer (fs/overlayfs/params.c).
    "vfat msdos exfat ntfs ntfs3 fuseblk hfs hfsplus iso9660 udf".split()
)
LONGEST_LINE_BYTES = 4096
# What logrotate(8) and services themselves put after the name of a log: a number, a date, .old.
ROTATED = re.compile(r"(?:[.-](?:\d[\dT:_]*|old|bak))+$")
COMPARED_BYTES, MOST_COMPARED_BYTES = 2**16, 2**26
OPAQUE = "trusted.overlay.opaque"
FRESH = ("dev", "proc", "run", "sys", "tmp", "var/tmp")
MADE_AT_BOOT = frozenset({"dev", "proc", "run", "sys", "tmp"})  # a file system of its own is mounted there


@dataclass(frozen=True)
class Layer:
    """One overlay: `lower` on the host, shown at `at` (relative to the machine's root) with `upper` above it."""

    at: PurePosixPath
    lower: Path
    upper: Path
    work: Path


def mounts_below(root: Path, mounts: Iterable[Mount]) -> list[PurePosixPath]:
    """Mount points below `root` that need an overlay of their own, outermost first, relative to it."""
    found: dict[PurePosixPath, None] = {}
    for mount in mounts:
        point, layered = Path(mount.point), mount.kind not in NOT_LAYERED and not mount.kind.startswith("fuse.")
        if not layered or point == root or not point.is_relative_to(root):
            continue
        at = PurePosixPath(point.relative_to(root))
        if not point.is_dir() or any(at == fresh or fresh in at.parents for fresh in map(PurePosixPath, FRESH)):
            continue
        found[at] = None
    return sorted(found)


class Overlay:
    """The overlays of one machine, with their upper layers in `scratch` (made by the caller, removed by `remove`).

    `trees` are directories that are shown at a path inside instead of what the root tree has there.
    """

    def __init__(self, root: Path, scratch: Path, trees: Mapping[str, Path] | None = None) -> None:
        if not (root / "usr").is_dir():
            raise MachineError(
                f"{root} is not a root tree: it has no usr/",
                hint="name a directory that holds a whole Debian system, or leave `root` out to use this machine's own",
            )
        root = root.resolve()  # mountinfo names mounts by their real paths
        self.root = root
        self.scratch = scratch
        self._before: dict[str, tuple[int, int]] = {}
        points = [
            PurePosixPath("."),
            *mounts_below(root, mounts_of("self")),
        ]
        self.layers: list[Layer] = []
        for number, at in enumerate(points):
            if self.layers:  # what is around it may not show its mount point: that may lie in one that is no layer
                self._make_parents(self._upper_of(at))
            self.layers.append(self._layer(number, at, root / at))
        for directory in FRESH:
            self._fresh(directory)
        for path, tree in sorted((trees or {}).items()):
            at = self.resolve(path)
            self._make_parents(self._upper_of(at))
            self.layers = sorted([*self.layers, self._layer(len(self.layers), at, tree)], key=lambda layer: layer.at)

    def _layer(self, number: int, at: PurePosixPath, lower: Path) -> Layer:
        upper, work = self.scratch / f"upper{number}", self.scratch / f"work{number}"
        upper.mkdir()
        work.mkdir()
        _copy_metadata(lower, upper)
        return Layer(at, lower, upper, work)

    def _fresh(self, directory: str) -> None:
        """Hide what the root tree has in `directory`: it belongs to the host's running system."""
        path = self._upper_of(self.resolve("/" + directory))
        if not path.exists():
            self._make_parents(path.parent)
            path.mkdir()
        path.chmod(0o1777 if directory.endswith("tmp") else 0o755)
        os.setxattr(path, OPAQUE, b"y")

    def plan(self) -> str:
        """What the launcher mounts: one line per layer, `at`, then the overlay's mount options, tab-separated."""
        lines = []
        for layer in self.layers:
            options = ",".join(
                f"{name}={_escape(path)}"
                for name, path in (
                    ("lowerdir", layer.lower),
                    ("upperdir", layer.upper),
                    ("workdir", layer.work),
                )
            )
            # redirect_dir: without it a service that renames a directory of the lower layer gets EXDEV.
            lines.append(f"{layer.at}\t{options},redirect_dir=on,index=off,volatile\n")
        return "".join(lines)

    def resolve(self, path: str) -> PurePosixPath:
        """`path` with the root tree's symbolic links followed inside the root, relative to it."""
        return PurePosixPath(resolve(self.root, path)).relative_to("/")

    def _layer_of(self, at: PurePosixPath) -> Layer:
        inside = [layer for layer in self.layers if layer.at == PurePosixPath(".") or at.is_relative_to(layer.at)]
        return inside[-1]

    def _upper_of(self, at: PurePosixPath) -> Path:
        layer = self._layer_of(at)
        return layer.upper / at.relative_to(layer.at)

    def _make_parents(self, upper_directory: Path) -> None:
        """Directories made in an upper layer show their own mode and owner: take those of the lower one."""
        layer = next(item for item in self.layers if upper_directory.is_relative_to(item.upper))
        relative = upper_directory.relative_to(layer.upper)
        for parent in [*reversed(relative.parents), relative]:
            made = layer.upper / parent
            hidden = made.is_char_device() or made.is_symlink()
            if hidden:
                made.unlink()
            if not made.exists():
                made.mkdir()
                _copy_metadata(layer.lower / parent, made)
            if hidden:
                os.setxattr(made, OPAQUE, b"y")  # what was hidden stays so

    def put(self, path: str, content: bytes, *, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> None:
        """Put a file into the machine's root before boot; parents are made as needed.

        It takes the place of a link into what is made new at boot: what is put there would be gone again.
        """
        at = self.resolve(path)
        if at.parts[:1] and at.parts[0] in MADE_AT_BOOT:
            at = PurePosixPath(in_place(self.root, path)).relative_to("/")
        target = self._upper_of(at)
        self._make_parents(target.parent)
        target.unlink(missing_ok=True)  # a mask is a link to the host's own /dev/null: never write through it
        target.write_bytes(content)
        os.chown(target, *owner)
        target.chmod(mode)

    def link(self, path: str, target: str) -> None:
        """Put a symbolic link into the machine's root before boot."""
        place = self._upper_of(self.resolve(str(PurePosixPath(path).parent)) / PurePosixPath(path).name)
        self._make_parents(place.parent)
        place.symlink_to(target)

    def hide(self, path: str) -> None:
        """Let the machine see nothing at `path`, a file or a directory of the root tree."""
        at = self.resolve(path)
        if not (self.root / at).exists():
            return
        self.layers = [layer for layer in self.layers if not layer.at.is_relative_to(at)]  # a mount of its own
        place = self._upper_of(at)
        self._make_parents(place.parent)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)  # made for a mount there, or below
        os.mknod(place, stat.S_IFCHR, 0)  # a whiteout, as overlayfs itself makes one

    def seal(self) -> None:
        """Remember what was put in before boot, so that `changed` tells of what came after."""
        self._before = self._stamps()

    def changed(self) -> list[str]:
        """Absolute paths that were written, made or removed above the root tree since `seal`, sorted."""
        return sorted(path for path, stamp in self._stamps().items() if self._before.get(path) != stamp)

    def new_directories(self) -> list[str]:
        """Those of `changed` that are directories and not in the root tree."""
        found = []
        for path in self.changed():
            at = PurePosixPath(path.lstrip("/"))
            if self._upper_of(at).is_dir() and not (self.root / at).exists():
                found.append(path)
        return found

    def added_text(self, path: str, *, most_bytes: int) -> str:
        """The end of a changed file, without what the root tree's file already had; for logs, which are appended to.

        The host may go on writing to its own one: then they part somewhere, and what is before that is not new. Lines
        are given whole, as half a line is another one each time: of what is cut off the first rest of a line is, too.
        """
        at = self.resolve(path)
        upper, lower = self._upper_of(at), self.root / at
        try:
            if not upper.is_file():
                return ""
            size = upper.stat().st_size
            before = max((_in_common(each, upper) for each in _before_rotation(lower)), default=0)
            if before == size:
                return ""
            start = max(before, size - most_bytes)
            with upper.open("rb") as file:
                file.seek(max(0, start - LONGEST_LINE_BYTES))
                head, text = file.read(min(start, LONGEST_LINE_BYTES)), file.read(most_bytes)
            rest = head[head.rfind(b"\n") + 1 :]
            if start == before:
                return (rest + text).decode("utf-8", "replace")
            return (text.partition(b"\n")[2] if rest else text).decode("utf-8", "replace")
        except OSError:
            return ""  # removed or replaced meanwhile

    def _stamps(self) -> dict[str, tuple[int, int]]:
        stamps = {}
        for layer in self.layers:
            for path in _above(layer):
                try:
                    info = (layer.upper / path).lstat()
                except FileNotFoundError:
                    continue  # removed or renamed meanwhile
                stamps["/" + str(layer.at / path)] = (info.st_mtime_ns, info.st_size)
        return stamps

    @staticmethod
    def remove_scratch(scratch: Path) -> None:
        """Remove the upper layers; the overlays themselves end with the machine's mount namespace."""
        shutil.rmtree(scratch, ignore_errors=True)


def _before_rotation(path: Path) -> list[Path]:
    """A file and those beside it that its text may come from: a log that was rotated begins as the one of another name.

    Names that differ by more than what a rotation puts at their end are other logs, which may well begin alike.
    """
    name = ROTATED.sub("", path.name)
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    return [each for each in beside if ROTATED.sub("", each.name) == name and each.is_file()]


def _in_common(one: Path, other: Path) -> int:
    """How many bytes two files begin with alike, up to `MOST_COMPARED_BYTES`; 0 where one is gone by now."""
    alike = 0
    with suppress(FileNotFoundError), one.open("rb") as first, other.open("rb") as second:
        while alike < MOST_COMPARED_BYTES:
            blocks = first.read(COMPARED_BYTES), second.read(COMPARED_BYTES)
            if blocks[0] != blocks[1] or not blocks[0]:
                parts = (number for number, (a, b) in enumerate(zip(*blocks, strict=False)) if a != b)
                return alike + next(parts, min(map(len, blocks)))
            alike += len(blocks[0])
        return min(one.stat().st_size, other.stat().st_size)
    return 0


def _escape(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _copy_metadata(source: Path, target: Path) -> None:
    try:
        info = source.stat()
    except OSError:
        target.chmod(0o755)  # new in the machine: open to the service's user, whatever the harness's umask is
        return
    os.chown(target, info.st_uid, info.st_gid)
    target.chmod(stat.S_IMODE(info.st_mode))


def _above(layer: Layer) -> Iterator[PurePosixPath]:
    """What the upper layer holds: every file, and the directories that the lower one lacks."""
    for directory, subdirectories, names in os.walk(layer.upper):
        at = PurePosixPath(os.path.relpath(directory, layer.upper))
        yield from (at / name for name in names)
        for name in subdirectories:
            if Path(directory, name).is_symlink() or not (layer.lower / at / name).is_dir():
                yield at / name
