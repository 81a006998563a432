"""From the traces of a failed trial to the directives they point to: suspects, hints for the search, never proof.

Every line of evidence is held against the hints in the directive catalogue: errno, exit status (systemd.exec(5),
"Process exit codes"), signal, system call and path.
"""

import re
from collections.abc import Collection, Iterable, Mapping

from harness.judge.novelty import is_trouble
from harness.judge.traces import Trace, trace
from harness.observation import Observation
from harness.unit.catalogue import ALLOW_LIST, Catalogue, Directive
from harness.unit.needs import below

# What a service calls in its complaint, and the capability it then lacks (capabilities(7)); the first that fits.
_CALL_NEEDS = tuple(
    (re.compile(rf"\b(?:{calls})\b"), f"CAP_{name}")
    for calls, name in (
        ("set(?:res|re|fs)?gid|setgroups|initgroups", "SETGID"),
        ("set(?:res|re|fs)?uid|seteuid", "SETUID"),
        ("f?chown|lchown|fchownat", "CHOWN"),
        ("bind|bind\\(\\)", "NET_BIND_SERVICE"),
        ("chroot", "SYS_CHROOT"),
        ("kill", "KILL"),
        ("mlock|mlockall|shmctl", "IPC_LOCK"),
        ("setpriority|nice|sched_set\\w+", "SYS_NICE"),
        ("setrlimit|prlimit", "SYS_RESOURCE"),
        ("mount|umount2?|sethostname|unshare|setns|quotactl", "SYS_ADMIN"),
        ("mknod", "MKNOD"),
        ("ptrace", "SYS_PTRACE"),
        ("open|opendir|fopen|access|unlink|rename|mkdir", "DAC_OVERRIDE"),
    )
)
_KIN = {"CAP_DAC_OVERRIDE": ("CapabilityBoundingSet -CAP_DAC_READ_SEARCH", "ProtectHome", "UMask")}
# What makes a single path read-only, or hides it.
_CLOSED_BY = {
    "EROFS": ("ReadWritePaths", "ReadOnlyPaths"),
    "ENOENT": ("InaccessiblePaths", "TemporaryFileSystem"),
    "EACCES": ("InaccessiblePaths", "ExecPaths"),
}
# A time-out with no other trace is what a blocked address looks like: packets vanish, nobody logs.
_SILENT = ("IPAddressDeny", "PrivateNetwork")


def evidence(observation: Observation) -> list[str]:
    """Lines that may say why the trial failed, most telling first: kernel, failed step, manager, the service's own."""
    lines = list(observation.kernel)
    for step in observation.steps:
        if not step.ok:
            lines += [*step.stderr.splitlines()[-5:], *step.stdout.splitlines()[-5:]]
    if observation.start_problem:
        lines.append(observation.start_problem)
    lines += [line.message for line in observation.journal if line.from_manager and line.priority <= 5]
    own = [line for line in observation.journal if not line.from_manager][-40:]
    lines += [line.message for line in sorted(own, key=lambda line: not is_trouble(line))]
    return [line for line in lines if line.strip()]


def suspects(
    observation: Observation, catalogue: Catalogue, groups: Mapping[str, Collection[str]] | None = None
) -> tuple[str, ...]:
    """What the traces point to, those named by more lines first: directives, or labels of single tightenings.

    A label is given where a line tells that much; `groups` are the system call groups of the systemd inside.
    """
    points: dict[str, int] = {}
    for line in evidence(observation):
        for name in blamed(line, catalogue, groups, tried=observation.tightenings):
            points[name] = points.get(name, 0) + 1
    timed_out = any(step.timed_out or "no end within" in step.problem for step in observation.steps)
    if not points and timed_out:
        return _SILENT
    return tuple(sorted(points, key=lambda name: (-points[name], name)))


def blamed(
    line: str,
    catalogue: Catalogue,
    groups: Mapping[str, Collection[str]] | None = None,
    *,
    tried: Collection[str] = (),
) -> list[str]:
    """What one line of evidence points to; empty when it is no trace of a refusal.

    `tried` are labels of the tightenings in force. One of them that closes the very path of the line explains it alone.
    """
    told = trace(line)
    if closed := _closed(told, tried):
        return closed
    singles = _single(told, groups or {})
    narrowed = {label.split(" ")[0] for label in singles if " " in label}
    return [*singles, *(name for name in _blamed(told, catalogue) if name not in narrowed)]


def _closed(told: Trace, tried: Collection[str]) -> list[str]:
    """Labels of the tightenings that close a path the line names, those of the longest path that does."""
    directives = _CLOSED_BY.get(told.errno, ())
    found: dict[str, int] = {}
    for label in tried:
        directive, _, place = label.partition(" -")
        named = any(below(path, place) for path in told.paths)
        if directive in directives and place.startswith("/") and (named or _not_run(told.text, place)):
            found[label] = len(place)
    return sorted(label for label, length in found.items() if length == max(found.values()))


def _not_run(text: str, program: str) -> bool:
    """Whether a line complains of a program by its name alone, as shells and Python do after a search of $PATH."""
    name = re.escape(program.rpartition("/")[2])
    return (
        re.search(rf"(?:^|: ){name}: permission denied$|permission denied: '{name}'$", text, re.IGNORECASE) is not None
    )


def _single(told: Trace, groups: Mapping[str, Collection[str]]) -> list[str]:
    """Labels of the tightenings that alone explain the line; empty when it does not tell."""
    if call := told.killed_for:
        names = [call, *(name for name, calls in groups.items() if call in calls)]
        allowed = call in groups.get(ALLOW_LIST, ())
        return [f"SystemCallFilter -{name}" for name in names] + ([] if allowed else [f"SystemCallFilter={ALLOW_LIST}"])
    if told.errno not in ("EPERM", "EACCES"):
        return []
    lacking = next((name for pattern, name in _CALL_NEEDS if pattern.search(told.text)), "")
    if not lacking:
        return []
    # The same complaint comes from the ids that PrivateUsers= does not map.
    return [f"CapabilityBoundingSet -{lacking}", "PrivateUsers", *_KIN.get(lacking, ())]


def _blamed(told: Trace, catalogue: Catalogue) -> Iterable[str]:
    signals = {told.signal, "SIGSYS" if "audit: type=1326" in told.text else ""}
    return [directive.name for directive in catalogue if _matches(directive, told, signals=signals)]


def _matches(directive: Directive, told: Trace, *, signals: set[str]) -> bool:
    hints, line = directive.hints, told.text
    if signals & set(hints.signals) or told.status in hints.exit_statuses:
        return True
    if any(name in line for name in hints.capabilities):
        return True
    if told.errno not in hints.errnos:
        return False
    if any(re.search(rf"(?<![\w./-]){re.escape(path)}(?![\w.-])", line) for path in hints.paths):
        return True
    if any(re.search(rf"\b{re.escape(call)}\b", line) for call in hints.syscalls):
        return True
    return (not hints.paths and not hints.syscalls) or told.errno == "EAFNOSUPPORT"
