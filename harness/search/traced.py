"""From what a traced pass saw the unit use to the chance that a tightening breaks it.

What was used may still be missed without harm, and what was not seen may be used on a path the pass did not take: so
even here nothing is certain, and every line is tried.
"""

from collections.abc import Collection, Iterable, Mapping

from harness.judge.baseline import Baseline
from harness.observation import Seen
from harness.unit.capability import CAPABILITIES
from harness.unit.catalogue import ALLOW_LIST
from harness.unit.paths import HOMES

USED = 0.93
# A call that was made is missed unless its failure is taken calmly, and a filter kills.
USED_CALL = 0.9
LIKELY = 0.8
MAYBE = 0.4
# Looked at by many, missed by few: other processes, and homes.
SELDOM = 0.2
MAYBE_CAPABILITY = 0.25
UNUSED = 0.015
# The kernel asks for these on the way to something else, and uid 0 is granted them without needing them.
ASKED_IN_PASSING = frozenset({"FSETID", "FOWNER", "DAC_READ_SEARCH", "SYS_ADMIN", "SYS_RESOURCE", "KILL", "SYS_PTRACE"})
# Calls that systemd's own directives refuse: (directive, rung or "", calls).
CALLS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ProtectHostname", ("sethostname", "setdomainname")),
    ("ProtectClock", ("adjtimex", "clock_adjtime", "settimeofday", "clock_settime")),
    ("ProtectKernelModules", ("init_module", "finit_module", "delete_module")),
    ("ProtectKernelLogs", ("syslog",)),
    ("RestrictRealtime", ("sched_setscheduler", "sched_setattr")),
    ("LockPersonality", ("personality",)),
    ("PrivateIPC", ("shmget", "semget", "msgget", "mq_open")),
    ("PrivateMounts", ("mount", "umount2", "move_mount", "fsopen")),
)
PATHS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ProtectKernelTunables", ("/proc/kallsyms", "/proc/kcore")),
    ("ProtectKernelModules", ("/lib/modules/", "/usr/lib/modules/")),
    ("ProtectKernelLogs", ("/dev/kmsg", "/proc/kmsg")),
)
HOMES_OF_USERS = tuple(f"{path}/" for path in HOMES)
PLAIN_DEVICES = (
    "null",
    "zero",
    "full",
    "random",
    "urandom",
    "tty",
    "ptmx",
    "pts/",
    "shm/",
    "log",
    "mqueue/",
    "std",
    "fd/",
)


def traced(
    seen: Seen, baseline: Baseline, groups: Mapping[str, Collection[str]], *, as_root: bool = True
) -> dict[str, float]:
    """Risks by name: a directive, `directive rung`, or `directive item`.

    `groups` are the system call groups of the systemd inside, each with its calls; `as_root` tells whether the service
    begins as root.
    """
    found: dict[str, float] = {}
    calls = set(seen.calls)
    for directive, names in CALLS:
        found[directive] = MAYBE if calls & set(names) else UNUSED
    opened = (*seen.opened, *seen.opened_for_writing)
    for directive, prefixes in PATHS:
        if _any_below(opened, prefixes):
            found[directive] = MAYBE
    found["MemoryDenyWriteExecute"] = USED if seen.writable_code else UNUSED
    devices = [path for path in opened if path.startswith("/dev/") and not path[5:].startswith(PLAIN_DEVICES)]
    found["PrivateDevices"] = MAYBE if devices else UNUSED
    proc = [path.split("/")[2] for path in opened if path.startswith("/proc/") and path.count("/") > 1]
    found["ProcSubset"] = (
        MAYBE if any(name not in ("self", "thread-self") and not name.isdigit() for name in proc) else UNUSED
    )
    found["ProtectProc"] = SELDOM if any(name.isdigit() for name in proc) else UNUSED
    # Homes that only the workload wrote in are nothing to the unit.
    home = SELDOM if _any_below(opened, HOMES_OF_USERS) else UNUSED
    hidden = LIKELY if _any_below(seen.opened_for_writing, HOMES_OF_USERS) else home
    found |= {"ProtectHome read-only": home, "ProtectHome tmpfs": hidden, "ProtectHome yes": hidden}
    return found | _calls(seen, groups) | _sets(seen, baseline, as_root=as_root)


def _calls(seen: Seen, groups: Mapping[str, Collection[str]]) -> dict[str, float]:
    calls = set(seen.calls)
    found = {"SystemCallFilter": UNUSED}
    found |= {f"SystemCallFilter {call}": USED_CALL for call in calls}
    found |= {
        f"SystemCallFilter {name}": USED_CALL if calls & set(members) else UNUSED for name, members in groups.items()
    }
    return found | {f"SystemCallFilter {ALLOW_LIST}": UNUSED}


def _sets(seen: Seen, baseline: Baseline, *, as_root: bool) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"):
        found[f"RestrictAddressFamilies {family}"] = USED if family in seen.families else UNUSED
    if "AF_UNIX" in seen.families:
        found["RestrictAddressFamilies AF_UNIX"] = LIKELY  # for syslog and name services alone it is not missed
    for kind in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"):
        found[f"RestrictNamespaces {kind}"] = USED if kind in seen.namespaces else UNUSED
    # Of a unit with a user, where no process holds a capability, what was granted was systemd's own work on the way.
    if seen.capabilities is not None and (as_root or any(baseline.privileges.values())):
        for number, name in enumerate(CAPABILITIES):
            used = MAYBE_CAPABILITY if name in ASKED_IN_PASSING else USED
            found[f"CapabilityBoundingSet CAP_{name}"] = used if number in seen.capabilities else UNUSED
    return found


def _any_below(paths: Iterable[str], prefixes: tuple[str, ...]) -> bool:
    return any(path.startswith(prefixes) for path in paths)
