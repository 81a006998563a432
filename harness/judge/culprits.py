"""From the traces of a failed trial to the directives they point to: suspects, hints for the search, never proof.

Every line of evidence is held against the hints in the directive catalogue: errno, exit status (systemd.exec(5),
"Process exit codes"), signal, system call and path.
"""

import errno
import os
import re
from collections.abc import Iterable

from harness.observation import Observation
from harness.unit.catalogue import Catalogue, Directive

_ERRNO_NAMES = tuple(
    name
    for name in (
        "EPERM", "EACCES", "EROFS", "ENOENT", "EAFNOSUPPORT", "ENETUNREACH", "EADDRNOTAVAIL", "ECONNREFUSED",
        "EINVAL", "ENOSYS", "EAGAIN", "ENOMEM", "EMFILE",
    )
    if hasattr(errno, name)
)  # fmt: skip
_ERRNO_TEXTS = {name: os.strerror(getattr(errno, name)).lower() for name in _ERRNO_NAMES}
_STATUS = re.compile(r"status=(\d+)(?:/([A-Z_0-9]+))?")
_SIGNAL = re.compile(r"code=(?:killed|dumped), status=\d+/([A-Z0-9]+)")
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
    lines += [line.message for line in observation.journal if not line.from_manager][-40:]
    return [line for line in lines if line.strip()]


def suspects(observation: Observation, catalogue: Catalogue) -> tuple[str, ...]:
    """Names of the directives that the traces point to, those named by more lines first."""
    points: dict[str, int] = {}
    for line in evidence(observation):
        for name in _blamed(line, catalogue):
            points[name] = points.get(name, 0) + 1
    timed_out = any(step.timed_out or "no end within" in step.problem for step in observation.steps)
    if not points and timed_out:
        return _SILENT
    return tuple(sorted(points, key=lambda name: (-points[name], name)))


def _blamed(line: str, catalogue: Catalogue) -> Iterable[str]:
    lowered = line.lower()
    errnos = {name for name, text in _ERRNO_TEXTS.items() if text in lowered or re.search(rf"\b{name}\b", line)}
    statuses = {int(found[1]) for found in _STATUS.finditer(line)}
    signals = {"SIG" + found[1] for found in _SIGNAL.finditer(line)}
    if "audit: type=1326" in line:
        signals.add("SIGSYS")
    return [
        directive.name
        for directive in catalogue
        if _matches(directive, line, errnos=errnos, statuses=statuses, signals=signals)
    ]


def _matches(directive: Directive, line: str, *, errnos: set[str], statuses: set[int], signals: set[str]) -> bool:
    hints = directive.hints
    if signals & set(hints.signals) or statuses & set(hints.exit_statuses):
        return True
    if any(name in line for name in hints.capabilities):
        return True
    if not errnos & set(hints.errnos):
        return False
    if any(re.search(rf"(?<![\w./-]){re.escape(path)}(?![\w.-])", line) for path in hints.paths):
        return True
    if any(re.search(rf"\b{re.escape(call)}\b", line) for call in hints.syscalls):
        return True
    return (not hints.paths and not hints.syscalls) or "EAFNOSUPPORT" in errnos & set(hints.errnos)
