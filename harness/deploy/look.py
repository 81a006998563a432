"""One look at a deployed unit: settings, log, kernel lines, what is at the paths they name, and its counters.

All of it comes from commands, so that a unit in a machine is looked at in the same way as one of this host.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import PurePosixPath

from harness.deploy.manager import Manager
from harness.errors import MachineError
from harness.judge.cause import Place
from harness.judge.denials import Denials
from harness.judge.traces import trace
from harness.judge.watching import Report, Seen, Usage, report
from harness.machine.kernel import SECCOMP, explained
from harness.machine.service import JOURNAL, JOURNAL_KEPT_BYTES, journal_lines, journal_records
from harness.unit.unitfile import parse_cat

MOST_PATHS = 400
READ_TIMEOUT_S = 300.0
Kernel = Callable[[], Collection[str]]
# Every such file of the unit's cgroup, of cgroup v1, v2 and both; then the highest descriptors of its processes.
COUNTERS = r"""
cd /sys/fs/cgroup || exit
for at in memory pids cpu unified .; do
    for name in memory.usage_in_bytes memory.current memory.max_usage_in_bytes memory.peak \
        memory.stat memory.oom_control memory.events pids.current pids.events cpu.stat memory.pressure \
        cpu.pressure io.pressure; do
        [ -r "$at$1/$name" ] && sed "s|^|$name |" "$at$1/$name"
    done
done
for at in systemd unified .; do
    [ -r "$at$1/cgroup.procs" ] && for pid in $(cat "$at$1/cgroup.procs"); do
        ls "/proc/$pid/fd" 2>/dev/null | sort -n | tail -n 1 | sed 's|^|descriptor |'
    done
done
"""
# Mode, owner, whether writing is possible at all: as root access(2) refuses it only where nothing may be written.
PLACES = r"""
for path; do
    [ -e "$path" ] || continue
    writable=yes; [ -w "$path" ] || writable=no
    stat -L -c "%f %u $writable" -- "$path" 2>/dev/null || continue
    printf '%s\n' "$path"
done
"""


def look(
    manager: Manager,
    *,
    since: str,
    kernel: Kernel | None = None,
    known: Collection[str] = (),
    ignore: Collection[str] = (),
) -> Report:
    """What happened since (as journalctl has it, like `-1h` or `@SECONDS`).

    `kernel` gives the kernel's lines about the unit where it is not this host's own journal that has them. `known` are
    templates of lines that are no news, `ignore` regular expressions of lines to leave out.
    """
    return report(seen(manager, since=since, kernel=kernel), known=known, ignore=ignore)


def seen(manager: Manager, *, since: str, kernel: Kernel | None = None) -> Seen:
    """The facts of one look. Raises MachineError when systemd or the journal does not answer."""
    shown = manager.show()
    records = _records(manager, since, [f"_SYSTEMD_UNIT={manager.unit}", "+", f"UNIT={manager.unit}"])
    journal = journal_lines(records, manager.unit, frozenset())
    pids = {line.pid for line in journal if line.pid is not None} | {int(shown.get("ExecMainPID") or 0)}
    lines = kernel() if kernel is not None else _kernel(manager, since, shown, pids)
    return Seen(
        unit=Denials(shown, parse_cat(manager.text())),
        journal=tuple(journal),
        kernel=tuple(lines),
        places=_places(manager, [line.message for line in journal], shown),
        usage=usage(manager, shown.get("ControlGroup", "")),
    )


def _records(manager: Manager, since: str, matches: list[str]) -> list[dict[str, object]]:
    manager.run(["journalctl", "--sync"], timeout_s=20.0)
    # No --lines=: together with --since= journalctl before 254 takes the oldest. Of too much, the end is kept.
    done = manager.run(
        [*JOURNAL, f"--since={since}", *matches], timeout_s=READ_TIMEOUT_S, kept_bytes=JOURNAL_KEPT_BYTES
    )
    if done.status != 0:
        raise MachineError(
            f"the journal does not answer: {done.error_text}", hint="--since takes what journalctl takes, such as -1h"
        )
    return journal_records(done.stdout)


def _kernel(manager: Manager, since: str, shown: Mapping[str, str], pids: Collection[int]) -> list[str]:
    """The host's kernel lines that name the unit's cgroup, or a refusal by seccomp to one of its processes."""
    group = shown.get("ControlGroup") or f"/{shown.get('Slice', '')}/{manager.unit}"
    lines = []
    for record in _records(manager, since, ["_TRANSPORT=kernel", "+", "_TRANSPORT=audit"]):
        # journald words what it takes from the audit socket itself in a way of its own (src/journal/journald-audit.c).
        text = re.sub(r"^SECCOMP ", "audit: type=1326 ", str(record.get("MESSAGE") or ""))
        refused = SECCOMP.search(text)
        if group in text or (refused is not None and int(refused[1]) in pids):
            lines.append(explained(text))
    return lines


def _places(manager: Manager, messages: Iterable[str], shown: Mapping[str, str]) -> dict[str, Place]:
    paths: dict[str, None] = {}
    for message in messages:
        read = trace(message)
        for path in read.paths if read.errno else ():
            paths |= dict.fromkeys([path, *(str(parent) for parent in PurePosixPath(path).parents)])
    where = shown.get("WorkingDirectory", "").lstrip("!")
    if where.startswith("/"):
        paths[where] = None
    if not paths:
        return {}
    done = manager.run(["sh", "-c", PLACES, "sh", *list(paths)[:MOST_PATHS]])
    lines = done.text.splitlines()
    found = {}
    for facts, path in zip(lines[::2], lines[1::2], strict=False):
        mode, uid, writable = facts.split(" ")
        kind = int(mode, 16)
        found[path] = Place(kind & 0o7777, int(uid), kind & 0o170000 == 0o040000, writable == "no")
    return found


def usage(manager: Manager, group: str) -> Usage:
    """Counters of the cgroup `group` of a unit, as systemd names it; nothing measured where it has none."""
    if not group:
        return Usage()
    done = manager.run(["sh", "-c", COUNTERS, "sh", group])
    values: dict[str, int] = {}
    pressure: dict[str, float] = {}
    for line in done.text.splitlines():
        name, *rest = line.split()
        waited = re.search(r"\bavg300=([\d.]+)", line)
        if waited and rest[0] == "some":
            pressure[name.removesuffix(".pressure")] = float(waited[1])
        elif rest and rest[-1].isdigit():
            key = name if len(rest) == 1 else f"{name} {rest[0]}"
            values[key] = max(int(rest[-1]), values.get(key, 0))

    def first(*names: str) -> int | None:
        return next((values[name] for name in names if name in values), None)

    # cgroup v2, or the sums of v1.
    kinds = ("anon", "shmem") if "memory.stat anon" in values else ("total_rss", "total_shmem")
    held = [values[name] for kind in kinds if (name := f"memory.stat {kind}") in values]
    return Usage(
        held_bytes=sum(held) if held else None,
        memory_bytes=first("memory.usage_in_bytes", "memory.current"),
        memory_peak_bytes=first("memory.max_usage_in_bytes", "memory.peak"),
        tasks=first("pids.current"),
        oom_kills=first("memory.oom_control oom_kill", "memory.events oom_kill"),
        forks_rejected=first("pids.events max"),
        periods=first("cpu.stat nr_periods"),
        throttled_periods=first("cpu.stat nr_throttled"),
        files_highest=first("descriptor"),
        pressure_percent=pressure,
    )
