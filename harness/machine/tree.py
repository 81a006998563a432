"""What a root tree holds at some paths, as facts to think about later, when the tree may have changed."""

import stat
from collections.abc import Iterable
from pathlib import Path

FIRST_LINE = 256


def describe(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """`directory`, `file`, or the program that `#!` of the file names, for each of the absolute `paths` that is there.

    A symbolic link to an absolute path is followed inside `root`.
    """
    found = {}
    for path in paths:
        try:
            at = _inside(root, path)
            mode = at.stat().st_mode
            found[path] = "directory" if stat.S_ISDIR(mode) else _interpreter(at) if stat.S_ISREG(mode) else "file"
        except OSError:
            continue
    return found


def _inside(root: Path, path: str) -> Path:
    """The path below `root`, with links in its last part followed as the root tree means them."""
    at = root / path.lstrip("/")
    for _ in range(20):
        if not at.is_symlink():
            break
        target = at.readlink()
        at = root / str(target).lstrip("/") if target.is_absolute() else at.parent / target
    return at


def _interpreter(path: Path) -> str:
    with path.open("rb") as file:
        line = file.read(FIRST_LINE).splitlines()[:1]
    words = line[0][2:].split() if line and line[0].startswith(b"#!") else []
    program = words[0].decode(errors="replace") if words else ""
    return program if program.startswith("/") else "file"
