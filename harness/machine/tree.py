"""What a root tree holds at some paths, as facts to think about later, when the tree may have changed."""

import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

FIRST_LINE = 256
MAXIMUM_LINKS = 40  # MAXSYMLINKS of Linux


def describe(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """`directory`, `file`, or the program that `#!` of the file names, for each of the absolute `paths` that is there.

    Symbolic links are followed inside `root`.
    """
    found = {}
    for path in paths:
        try:
            at = root / resolve(root, path).lstrip("/")
            mode = at.stat().st_mode
            found[path] = "directory" if stat.S_ISDIR(mode) else _interpreter(at) if stat.S_ISREG(mode) else "file"
        except OSError:
            continue
    return found


def resolve(root: Path, path: str) -> str:
    """The absolute `path` with its links followed as the tree at `root` means them; what is not there stays as is."""
    done, todo, links = PurePosixPath("/"), list(PurePosixPath(path).parts[1:]), 0
    while todo:
        part = todo.pop(0)
        step = done.parent if part == ".." else done / part
        full = root / str(step).lstrip("/")
        if part != ".." and full.is_symlink() and links < MAXIMUM_LINKS:
            links += 1
            target = PurePosixPath(full.readlink())
            todo = [*(target.parts[1:] if target.is_absolute() else target.parts), *todo]
            done = PurePosixPath("/") if target.is_absolute() else done
            continue
        done = step
    return str(done)


def in_place(root: Path, path: str) -> str:
    """The absolute `path` with the links of its directories followed; it may itself be one."""
    at = PurePosixPath(path)
    return str(PurePosixPath(resolve(root, str(at.parent))) / at.name)


def _interpreter(path: Path) -> str:
    with path.open("rb") as file:
        line = file.read(FIRST_LINE).splitlines()[:1]
    words = line[0][2:].split() if line and line[0].startswith(b"#!") else []
    program = words[0].decode(errors="replace") if words else ""
    return program if program.startswith("/") else "file"
