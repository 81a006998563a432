"""Paths that a unit's lines name, as its processes would see them."""

import re
from pathlib import PurePosixPath

from harness.unit.start import words
from harness.unit.unitfile import UnitFile

DIRECTIVES = (
    "ReadOnlyPaths", "ReadOnlyDirectories", "ReadWritePaths", "ReadWriteDirectories", "InaccessiblePaths",
    "InaccessibleDirectories", "NoExecPaths", "ExecPaths", "TemporaryFileSystem", "BindReadOnlyPaths",
)  # fmt: skip
# What systemd makes of a name, and hands to the unit's user (systemd.exec(5)); the first three outlast the service.
LASTING = {"StateDirectory": "/var/lib", "CacheDirectory": "/var/cache", "LogsDirectory": "/var/log"}
OWN = {**LASTING, "RuntimeDirectory": "/run", "ConfigurationDirectory": "/etc"}
MADE_FOR_PRIVATE_TMP = "/systemd-private-"  # how their names begin, in /tmp and /var/tmp
HOMES = ("/home", "/root", "/run/user")
_SYSTEM = ("/usr", "/boot", "/efi")
# What a value of ProtectSystem= makes read-only (systemd.exec(5)).
READ_ONLY_BY = {"yes": _SYSTEM, "full": (*_SYSTEM, "/etc"), "strict": ("/",)}
# What directives protect that name no path.
LOOKED_AT = (
    "/", "/usr", "/boot", "/etc", "/var", "/run", *HOMES, "/tmp", "/var/tmp", "/dev", "/proc", "/sys", "/proc/sys",
    "/proc/kallsyms", "/proc/kmsg", "/dev/kmsg", "/sys/fs/cgroup", "/usr/lib/modules", "/sys/fs/bpf",
)  # fmt: skip
_QUOTING = re.compile(r"""\\x([0-9a-fA-F]{2})|\\(.)|["']""")
# systemd.unit(5), of the system's own manager.
_FOLDERS = {"%t": "/run", "%S": "/var/lib", "%C": "/var/cache", "%L": "/var/log", "%E": "/etc", "%T": "/tmp"}


def named(unit: UnitFile, name: str) -> tuple[str, ...]:
    """Every path that a line in force names and that can be told without the running system's specifiers."""
    found = (plain(word, name) for key in DIRECTIVES for word in words(unit.lines("Service", key)))
    return tuple(dict.fromkeys(path for path in found if path))


def plain(word: str, name: str) -> str:
    """The path inside that a word of a path directive means; "" where it cannot be told.

    Prefixes (`-`, `+`) and options (`:ro`) are dropped; of `source:destination` the destination counts.
    """
    text = _QUOTING.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2] or "", word).lstrip("-+")
    parts = text.split(":")
    text = parts[1] if len(parts) > 1 and parts[1].startswith("/") else parts[0]
    stem = name.rpartition(".")[0]
    prefix, _, instance = stem.partition("@")
    known = {**_FOLDERS, "%n": name, "%N": stem, "%p": prefix, "%i": instance, "%%": "%"}
    text = re.sub("%.", lambda found: known.get(found[0], "\0"), text)
    return str(PurePosixPath(text)) if text.startswith("/") and "\0" not in text else ""
