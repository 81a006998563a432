"""Lines that do nothing because of what other lines say, and lines that contradict one another.

Both are read from the unit's lines alone, so they hold for a file as well as for what runs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.judge import resources
from harness.judge.calls import walk
from harness.judge.score import LOCALHOST
from harness.judge.settings import Idle, Setting, place
from harness.unit.confined import Look
from harness.unit.itemset import kept_by
from harness.unit.needs import below
from harness.unit.paths import HOMES, OWN, named, plain
from harness.unit.quantity import parse_percent
from harness.unit.start import TRUE, NotUnderstood, words

Settings = dict[str, Setting]
# A line of the first kind does nothing without one of the second.
NEEDS = {
    "IPAddressAllow": ("IPAddressDeny",),
    "SystemCallErrorNumber": ("SystemCallFilter",),
    "ExecPaths": ("NoExecPaths",),
    "SocketBindAllow": ("SocketBindDeny",),
    "CPUQuotaPeriodSec": ("CPUQuota",),
    "ReadWritePaths": ("ProtectSystem", "ProtectHome", "ReadOnlyPaths", "DynamicUser", "ProtectKernelTunables"),
}
# These give the unit a mount namespace, which is all that PrivateMounts= asks for.
MOUNTING = (
    "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables", "ProtectKernelModules",
    "ProtectKernelLogs", "ProtectControlGroups", "ProtectProc", "ProcSubset", "ReadOnlyPaths", "InaccessiblePaths",
    "NoExecPaths", "TemporaryFileSystem", "BindReadOnlyPaths", "PrivateIPC",
)  # fmt: skip
# What ProtectSystem=strict leaves writable (systemd.exec(5)), and /run, which 252 forgets at times.
NOT_STRICT = ("/dev", "/proc", "/sys", "/run", *HOMES)
OWN_TMP = ("/tmp", "/var/tmp")
TREES = {"yes": ("/usr", "/boot", "/efi"), "full": ("/usr", "/boot", "/efi", "/etc")}
CLOSING = ("ReadOnlyPaths", "InaccessiblePaths")


@dataclass(frozen=True)
class Contradiction:
    """Two things a unit asks for that do not go together, and what comes of it."""

    what: str


def idle(settings: Settings, look: Look) -> list[Idle]:
    """Lines in force that change nothing beside the others."""
    found: list[Idle] = []
    for rule in _RULES:
        found += rule(settings, look)
    return found


def contradictions(settings: Settings, look: Look) -> list[Contradiction]:
    """What the lines ask for that cannot be had together."""
    return [Contradiction(text) for rule in _AGAINST for text in rule(settings, look)]


def is_root(settings: Settings) -> bool:
    """Whether the service runs as root by its lines."""
    dynamic = settings["DynamicUser"].value.lower() in TRUE
    return not dynamic and settings["User"].value in {"", "root", "0"}


def _on(settings: Settings, name: str) -> bool:
    return settings[name].confines


def _value(settings: Settings, name: str) -> str:
    return settings[name].value


def _needed(settings: Settings, look: Look) -> Iterator[Idle]:
    for name, others in NEEDS.items():
        if settings[name].lines and not any(_on(settings, other) for other in others):
            for line in settings[name].lines:
                yield Idle(line, "does nothing without " + " or ".join(f"{other}=" for other in others[:3]))


def _default(settings: Settings, look: Look) -> Iterator[Idle]:
    """A value that holds anyway, where no earlier line said otherwise."""
    for setting in settings.values():
        directive = setting.directive
        before = [a for a in look.unit.assignments if a.section == "Service" and a.key in directive.keys]
        if len(before) != 1 or not setting.lines or not setting.value or not directive.rungs:
            continue
        if _value(settings, "DynamicUser").lower() in TRUE and directive.dynamic_user:
            order = [rung.value for rung in directive.rungs]
            forced = directive.dynamic_user
            if setting.value in order and order.index(setting.value) <= order.index(forced):
                yield Idle(setting.lines[0], f"DynamicUser= brings {directive.name}={forced}")
        elif setting.value == directive.default:
            yield Idle(setting.lines[0], "is what holds without the line")


def _implied(settings: Settings, look: Look) -> Iterator[Idle]:
    if _value(settings, "PrivateMounts") == "yes":
        by = next((name for name in MOUNTING if _on(settings, name)), None)
        if by is not None:
            yield Idle(settings["PrivateMounts"].lines[-1], f"{by}= gives it a mount namespace already")
    if _value(settings, "DevicePolicy") == "closed" and _value(settings, "PrivateDevices") == "yes":
        yield Idle(settings["DevicePolicy"].lines[-1], "PrivateDevices= closes the device policy already")
    if is_root(settings):
        for name, why in (
            ("RemoveIPC", "does nothing for root"),
            ("LimitNPROC", "does not hold for root"),
        ):
            if _on(settings, name):
                yield Idle(settings[name].lines[-1], why)
        # A daemon may have given up the group that it was started with.
        in_group = any(0 in process.groups for process in look.processes) if look.processes else True
        hides = _value(settings, "ProtectProc") in {"noaccess", "invisible"}
        if hides and in_group and not look.unit.get("Service", "Group"):
            yield Idle(
                settings["ProtectProc"].lines[-1], "root's group 0 is exempt and sees all processes all the same"
            )
        elif _on(settings, "ProtectProc") and not _denies(settings, "CAP_SYS_PTRACE"):
            yield Idle(settings["ProtectProc"].lines[-1], "root with CAP_SYS_PTRACE sees all processes all the same")


def _denies(settings: Settings, capability: str) -> bool:
    """Whether the bounding set lacks a capability."""
    setting = settings["CapabilityBoundingSet"]
    if not setting.confines:
        return False
    if not any(setting.values):
        return True
    try:
        return capability not in kept_by(setting.directive, setting.values).kept
    except NotUnderstood:
        return True


def _calls(settings: Settings, look: Look) -> Iterator[Idle]:
    """Words of SystemCallFilter= that take nothing away, as the lines before have done so already."""
    setting = settings["SystemCallFilter"]
    if not setting.lines or not look.host.groups:
        return
    walked = walk(setting.values, look.host.groups)
    for number, line in enumerate(setting.lines):
        without = tuple(word for at, word in walked.idle if at == number)
        if not without:
            continue
        verb = "takes nothing away" if line.value.startswith("~") else "adds nothing"
        yield Idle(line, f"{verb}: the lines before have done so already", without)


def _paths(settings: Settings, look: Look) -> Iterator[Idle]:
    own_tmp = _value(settings, "PrivateTmp") not in {"", "no"} or _value(settings, "DynamicUser").lower() in TRUE
    strict = _value(settings, "ProtectSystem") == "strict"
    for line in settings["ReadWritePaths"].lines:
        inside = tuple(w for w in line.value.split() if own_tmp and below(plain(w, look.name), *OWN_TMP))
        if inside:
            yield Idle(line, "its own /tmp and /var/tmp are writable anyway", inside)
        same = tuple(w for w in line.value.split() if plain(w, look.name) in _protected(settings, look))
        if same:
            yield Idle(line, "of two settings for the very same path the stricter wins", same)
    opened = _writable(look) | (set(OWN_TMP) if own_tmp else set())
    for line in settings["ReadOnlyPaths"].lines:
        paths = {word: plain(word, look.name) for word in line.value.split()}
        covered = tuple(w for w, path in paths.items() if strict and _strict(path) and not below(path, *opened))
        if covered:
            yield Idle(line, "ProtectSystem=strict has made it read-only already", covered)


def _protected(settings: Settings, look: Look) -> set[str]:
    """Paths that a line names or stands for, and that no ReadWritePaths= of the same path opens again."""
    closed = {plain(word, look.name) for key in CLOSING for word in words(settings[key].values)}
    # "" stands for what cannot be told, and is no path that two lines have in common.
    return (closed - {""}) | set(TREES.get(_value(settings, "ProtectSystem"), ()))


def _writable(look: Look) -> set[str]:
    """Places that the unit opens below a read-only root, so that a read-only path in them is none by itself."""
    keys = ("ReadWritePaths", "ReadWriteDirectories", "BindPaths", "TemporaryFileSystem")
    found = {plain(word, look.name) for key in keys for word in words(look.unit.lines("Service", key))}
    for key, base in OWN.items():
        made = [word.partition(":")[0] for word in words(look.unit.lines("Service", key))]
        # Of a dynamic user they are in private/, with a link to there.
        found |= {plain(f"{at}/{name}", look.name) for name in made for at in (base, f"{base}/private")}
    return found - {""}  # "" cannot be told


def _strict(path: str) -> bool:
    """Whether ProtectSystem=strict covers it; of `/` it makes all read-only that ReadOnlyPaths=/ does (252 to 257)."""
    return path != "" and not below(path, *NOT_STRICT)


def _ample(settings: Settings, look: Look) -> Iterator[Idle]:
    """Limits that this machine cannot reach."""
    for name in ("MemoryMax", "MemoryHigh"):
        size = resources.size_bytes(_value(settings, name), look.host.memory_bytes) if _on(settings, name) else None
        if size is not None and look.host.memory_bytes is not None and size >= look.host.memory_bytes:
            yield Idle(settings[name].lines[-1], "this machine has no more memory than that")
    if _on(settings, "CPUQuota"):
        try:
            percent = parse_percent(_value(settings, "CPUQuota"))
        except ValueError:
            return
        if percent >= 100 * look.host.processors:
            yield Idle(settings["CPUQuota"].lines[-1], f"this machine has {look.host.processors} processors")


_RULES: tuple[Callable[[Settings, Look], Iterator[Idle]], ...] = (_needed, _default, _implied, _calls, _paths, _ample)


# -- contradictions


def _ambient(settings: Settings, look: Look) -> Iterator[str]:
    granted = words(settings["AmbientCapabilities"].values)
    missing = [name for name in granted if not name.startswith("~") and _denies(settings, name.upper())]
    if missing:
        yield (
            f"AmbientCapabilities= grants {' '.join(missing)}, which CapabilityBoundingSet= takes away: "
            "the service does not start (218/CAPABILITIES)"
        )


def _hidden_program(settings: Settings, look: Look) -> Iterator[str]:
    """A program or working directory that the unit hides from itself."""
    hidden = [path for path in named(look.unit, look.name) if path in _inaccessible(settings, look)]
    home = _value(settings, "ProtectHome")
    hidden += HOMES if home in {"yes", "tmpfs"} else ()
    shown = _shown(look)
    used = [
        (key, _program(value)) for key in ("ExecStart", "ExecStartPre") for value in look.unit.values("Service", key)
    ]
    used += [("WorkingDirectory", look.unit.get("Service", "WorkingDirectory") or "")]
    for key, path in used:
        by = next((folder for folder in hidden if below(path, folder)), None)
        if path and by is not None and not below(path, *shown):
            hider = f"ProtectHome={home}" if by in HOMES else "InaccessiblePaths="
            yield f"{key}= needs {path}, and {hider} hides {by}"


def _inaccessible(settings: Settings, look: Look) -> set[str]:
    return {plain(word, look.name) for word in words(settings["InaccessiblePaths"].values)}


def _shown(look: Look) -> tuple[str, ...]:
    keys = ("BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem")
    return tuple(plain(word, look.name) for key in keys for word in words(look.unit.lines("Service", key)))


def _program(command: str) -> str:
    return command.split()[0].lstrip("-@:+!") if command.split() else ""


def _opened(settings: Settings, look: Look) -> Iterator[str]:
    if _value(settings, "ProtectSystem") == "strict":
        for word in words(settings["ReadWritePaths"].values):
            if plain(word, look.name) == "/":
                yield "ReadWritePaths=/ undoes ProtectSystem=strict, and the exposure does not show it"
        if _on(settings, "ExecPaths"):
            yield "ExecPaths= makes what it names writable beside ProtectSystem=strict: BindReadOnlyPaths= does not"
    values = settings["SystemCallFilter"].values
    if values and values[0].startswith("~") and any(value and not value.startswith("~") for value in values):
        yield "SystemCallFilter= denies first and allows again: with ~ in its first line all else stays allowed"
    home = _value(settings, "ProtectHome")
    if home in {"yes", "tmpfs"}:
        for key in ("ReadWritePaths", "ReadOnlyPaths"):
            inside = [w for w in words(settings[key].values) if below(plain(w, look.name), *HOMES)]
            if inside:
                yield f"{key}= names {' '.join(inside)}, which ProtectHome={home} hides"


def _types(settings: Settings, look: Look) -> Iterator[str]:
    kind = look.unit.get("Service", "Type") or ""
    families = settings["RestrictAddressFamilies"].values
    allow = [value for value in families if value and not value.startswith("~")]
    local = {"AF_UNIX", "AF_LOCAL", "AF_FILE"}  # one family
    if kind.startswith("notify") and allow and local.isdisjoint(" ".join(allow).split()):
        yield f"Type={kind} needs AF_UNIX to report readiness, and RestrictAddressFamilies= refuses it"
    if kind == "forking" and _value(settings, "PrivatePIDs") == "yes":
        yield "PrivatePIDs=yes does not go with Type=forking: systemd refuses the unit"
    others = set(words(settings["IPAddressAllow"].values)) - LOCALHOST
    if _value(settings, "PrivateNetwork") == "yes" and others:
        yield "PrivateNetwork=yes leaves loopback alone, so IPAddressAllow= lets nobody else through"


def _limits(settings: Settings, look: Look) -> Iterator[str]:
    sizes = {
        name: resources.size_bytes(_value(settings, name), look.host.memory_bytes)
        for name in ("MemoryHigh", "MemoryMax")
    }
    high, most = sizes["MemoryHigh"], sizes["MemoryMax"]
    if high is not None and most is not None and high > most:
        yield "MemoryHigh= is above MemoryMax=: it never slows the service down"


def _comments(settings: Settings, look: Look) -> Iterator[str]:
    for line in look.unit.assignments:
        if line.key.startswith("Exec") and " #" in line.value:
            yield f"{place(line)}: what stands behind # in {line.key}= are arguments of the program"


_AGAINST: tuple[Callable[[Settings, Look], Iterator[str]], ...] = (
    _ambient, _hidden_program, _opened, _types, _limits, _comments,
)  # fmt: skip
