"""What the baseline showed that a candidate's lines must spare: paths, programs, devices, ports and peers by name.

The catalogue cannot name these, as they are another for every service. Each is left open at first, and closing it is a
tightening like any other: what a tracer saw is where the search starts, not what it ends with.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Emptied:
    """A shared directory that an empty one can be put over, and the entries needed in it: read, or written too."""

    path: str
    read: tuple[str, ...] = ()
    written: tuple[str, ...] = ()


@dataclass(frozen=True)
class Needs:
    """All empty where nothing is known of the service.

    `networks` are ADDRESS/PREFIX that the scenario names, `peers` single addresses that were talked to, None when no
    tracer looked. `writable` are excepted from a read-only file system, `directories` (directive, name) for systemd
    to make. `hidden` are directories nothing was used in, `emptied` those of which little was, `read_only` writable
    file systems nothing was written to. `executable` are directories with programs and libraries, `own_programs`
    those of the unit's command lines, `programs` what was executed beside them. `devices` are (path, access) as
    DeviceAllow= has them, `own_devices` values of the unit's own DeviceAllow= for what no machine has, `ports` like
    `tcp:80`. `apart` are places to write to that are mounts of their own below a read-only root, so that what is said
    of `/` does not reach them. `calls` are system calls in use that the allow-list of the catalogue lacks, `refused`
    those that the kernel refuses the service each time. `outward` are sockets such as `tcp 0.0.0.0:80` that more than
    this machine itself can reach. `namespaces` are kinds of which it made its own, `shared` files it made that others
    than their owner may read. `asked` are capabilities that the unit asks for by name and no machine of the run has, so
    that nothing about them can be tried.
    """

    networks: tuple[str, ...] = ()
    peers: tuple[str, ...] | None = None
    writable: tuple[str, ...] = ()
    directories: tuple[tuple[str, str], ...] = ()
    hidden: tuple[str, ...] = ()
    emptied: tuple[Emptied, ...] = ()
    read_only: tuple[str, ...] = ()
    executable: tuple[str, ...] = ()
    own_programs: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    devices: tuple[tuple[str, str], ...] = ()
    own_devices: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    outward: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()


NOTHING = Needs()


def below(path: str, *directories: str) -> bool:
    """Whether `path` is one of `directories` or lies in one."""
    return any(path == directory or path.startswith(directory.rstrip("/") + "/") for directory in directories)
