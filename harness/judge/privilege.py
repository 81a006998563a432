"""Whether a service runs with more privilege than at baseline: a passing trial that is less secure is none.

A daemon that can no longer drop root because it lost CAP_SETUID stays up and answers.
"""

from collections.abc import Iterable
from typing import NamedTuple

from harness.judge.baseline import LASTING_SIGHTINGS, Baseline, identity
from harness.observation import Process
from harness.unit.capability import CAPABILITIES


class Gained(NamedTuple):
    """More privilege than at baseline, in words; `glimpsed` where it rests on what is seen only by chance."""

    text: str
    glimpsed: bool


def more_privilege(processes: Iterable[Process], baseline: Baseline) -> Gained | None:
    """What process has more privilege than at baseline, and which; None when none has.

    A process is compared by name: one that runs as somebody it never ran as, with capabilities it never had, or whose
    program no longer has any process as the unprivileged user it always had, has more.
    """
    # Of a process that changed only what it was last: a worker may be caught between its fork and its setuid.
    found = list({process.pid: process for process in processes}.values())
    known = {comm for comm, _, _ in baseline.privileges}
    # Root of another group is nothing new: a process gives up the group first, and the user a moment later.
    never_root = known - {comm for comm, uid, _ in baseline.privileges if uid == 0}
    for process in found:
        held = baseline.privileges.get(identity(process))
        glimpsed = process.sightings < LASTING_SIGHTINGS
        if process.uid == 0 and process.comm in never_root:
            told = f"{process.comm} (pid {process.pid}) runs as root, which it never did at baseline"
            return Gained(told, glimpsed)  # perhaps on its way to another user
        # The group is given up first, so that who is no longer root and still has root's group keeps it.
        kept_group = process.gid == 0 != process.uid and process.comm in known
        if kept_group and not any(comm == process.comm and uid and not gid for comm, uid, gid in baseline.privileges):
            told = f"{process.comm} (pid {process.pid}, uid {process.uid}) has root's group, as never at baseline"
            return Gained(told, glimpsed)
        # In a user namespace of its own it has every capability, over nothing but that (user_namespaces(7)).
        over_the_host = 0 if "user" in process.namespaces else process.capabilities
        extra = over_the_host & ~(held if held is not None else _most(process, baseline))
        if extra and process.comm in known:
            told = f"{process.comm} (pid {process.pid}, uid {process.uid}) has {_names(extra)} beyond the baseline"
            return Gained(told, glimpsed)
    now = {identity(process) for process in found}
    running = {process.comm for process in found}
    for comm, uid, gid in sorted(baseline.identities.keys() - now):
        if uid != 0 and comm in running and not any(name == comm and user not in (0,) for name, user, _ in now):
            told = f"{comm} no longer drops from root to uid {uid}, gid {gid}"
            return Gained(told, baseline.identities[comm, uid, gid] < LASTING_SIGHTINGS)
    return None


def _most(process: Process, baseline: Baseline) -> int:
    """All capabilities that any process of this name held at baseline."""
    most = 0
    for (comm, _, _), held in baseline.privileges.items():
        if comm == process.comm:
            most |= held
    return most


def _names(capabilities: int) -> str:
    return " ".join(f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if capabilities >> number & 1) or hex(
        capabilities
    )
