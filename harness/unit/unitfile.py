"""Unit files as systemd reads them: ordered assignments, from one file or from what `systemctl cat` shows.

Syntax: systemd.syntax(7), and for the order in which drop-ins count, systemd.unit(5). Values are kept verbatim, with
their quotes and specifiers. What systemd ignores with a warning (a line without `=`, an assignment before any
section) is left out; a broken section header, for which systemd refuses the whole file, is a `UnitError`.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from harness.errors import UnitError

# systemd's WHITESPACE, less the line ends. Python's own strip() takes more, form feed for one.
_BLANK = " \t"
# `systemctl cat` writes the path of each part as a comment of its own.
_HEADING = re.compile(r"# (/.+\.(?:service|socket|mount|swap|slice|scope|timer|path|target|automount|device|conf))")


@dataclass(frozen=True)
class Assignment:
    """One `key=value` line: its section without brackets, and the file it stands in, "" when that is not known.

    `line` is its number there, of its last physical line as in systemd's own messages; it is no part of what it says.
    """

    section: str
    key: str
    value: str
    source: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class UnitFile:
    """All assignments of a unit, its drop-ins included, in the order in which systemd reads them."""

    assignments: tuple[Assignment, ...] = ()

    def lines(self, section: str, key: str, *aliases: str) -> tuple[str, ...]:
        """Every value given to a key or to an alias of it, in order, empty ones included."""
        keys = {key, *aliases}
        return tuple(a.value for a in self.assignments if a.section == section and a.key in keys)

    def values(self, section: str, key: str, *aliases: str) -> tuple[str, ...]:
        """What is left of a list after resets: an empty assignment drops what stands before it."""
        kept: list[str] = []
        for value in self.lines(section, key, *aliases):
            kept = [*kept, value] if value else []
        return tuple(kept)

    def get(self, section: str, key: str) -> str | None:
        """The last value of a key, None when it is not set or was reset."""
        values = self.values(section, key)
        return values[-1] if values else None

    def sections(self) -> tuple[str, ...]:
        """Section names in the order in which they first appear."""
        return tuple(dict.fromkeys(a.section for a in self.assignments))

    def dump(self) -> str:
        """Canonical text; `parse` gives these assignments back, and `parse_cat` their sources too."""
        out: list[str] = []
        section, source = None, ""
        for assignment in self.assignments:
            if assignment.source != source:
                out += ["", f"# {assignment.source}"] if out else [f"# {assignment.source}"]
                section, source = None, assignment.source
            if assignment.section != section:
                out += ["", f"[{assignment.section}]"] if section is not None else [f"[{assignment.section}]"]
                section = assignment.section
            out.append(written(assignment.key, assignment.value))
        return "".join(f"{line}\n" for line in out)


def written(key: str, value: str) -> str:
    """One assignment as a line of a unit file."""
    line = f"{key}={value}"
    # An odd backslash at the very end would continue the line; a blank after it is stripped again on reading.
    backslashes = len(line) - len(line.rstrip("\\"))
    return f"{line} " if backslashes % 2 else line


def parse(text: str, *, source: str = "") -> UnitFile:
    """Read one unit file or drop-in; headings of `systemctl cat` are comments here. Raises `UnitError`."""
    return UnitFile(tuple(_assignments(_physical_lines(text), source)))


def parse_cat(text: str) -> UnitFile:
    """Read what `systemctl cat` shows: a unit and its drop-ins, each below a comment with its path."""
    found: list[Assignment] = []
    for source, lines in _parts(_physical_lines(text)):
        found += _assignments(lines, source)
    return UnitFile(tuple(found))


def strip_sandboxing(unit: UnitFile, names: Collection[str]) -> UnitFile:
    """The unit without the assignments of [Service] to any of `names` (see `Catalogue.stripped_names`)."""
    return UnitFile(tuple(a for a in unit.assignments if a.section != "Service" or a.key not in names))


def _physical_lines(text: str) -> list[str]:
    """Lines as systemd's read_line() ends them: at newline, carriage return or both."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _parts(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The files in the output of `systemctl cat`, as (path, lines)."""
    source, part = "", list[str]()
    for number, line in enumerate(lines):
        heading = _HEADING.fullmatch(line)
        # A comment right below another line of comment, or below the heading, is the file's own: many begin by naming
        # themselves. (A file without a line end has the next heading right below it, but seldom ends in a comment.)
        own = number > 0 and lines[number - 1].lstrip(_BLANK).startswith(("#", ";"))
        if heading and not own and _opens_file(lines[number + 1 :]):
            yield source, part
            source, part = heading[1], []
        else:
            part.append(line)
    yield source, part


def _opens_file(rest: list[str]) -> bool:
    """Whether a section or another heading follows, so that a path in a comment does not cut a file in two."""
    for line in rest:
        text = line.lstrip(_BLANK)
        if _HEADING.fullmatch(line):
            return True
        if text and text[0] not in "#;":
            return text.startswith("[")
    return True


def _logical_lines(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, comments dropped and continuations joined, the backslash turned into a blank."""
    held = ""
    for number, line in enumerate(lines, start=1):
        text = line.lstrip(_BLANK)
        # A comment between continued lines is skipped and does not end them: systemd.syntax(7).
        if text.startswith(("#", ";")):
            continue
        held += text
        if (len(held) - len(held.rstrip("\\"))) % 2:
            held = held[:-1] + " "
            continue
        yield number, held.strip(_BLANK)
        held = ""
    yield len(lines), held.strip(_BLANK)


def _assignments(lines: list[str], source: str) -> Iterator[Assignment]:
    section = ""
    for number, line in _logical_lines(lines):
        if line.startswith("["):
            if not line.endswith("]"):
                raise UnitError(
                    f"{source or 'unit file'}: invalid section header {line!r}",
                    hint="systemd refuses such a file as a whole; close the bracket",
                )
            section = line[1:-1]
            continue
        key, equals, value = line.partition("=")
        key = key.strip(_BLANK)
        if section and key and equals:
            yield Assignment(section, key, value.strip(_BLANK), source, number)
