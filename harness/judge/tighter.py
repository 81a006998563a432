"""What it would take for a directive to be tighter, from the catalogue: the next rung, or the members still left."""

import ipaddress

from harness.judge.calls import walk
from harness.judge.settings import Setting
from harness.unit.catalogue import ALLOW_LIST, Directive, Kind, Rung
from harness.unit.confined import Look
from harness.unit.itemset import OTHER, kept_by
from harness.unit.start import NotUnderstood, words

MOST_ITEMS = 3


def tighter(setting: Setting, look: Look) -> str:
    """One line for people; empty where the directive has no tighter value, or only the service's owner can tell."""
    directive = setting.directive
    if directive.version > look.host.version:
        return f"needs systemd {directive.version}"
    match directive.kind:
        case Kind.SET:
            return _set(directive, setting)
        case Kind.SYSCALLS:
            return _calls(directive, setting, look)
        case Kind.BOOL | Kind.LADDER | Kind.MASK | Kind.ADDRESSES if directive.searched:
            return _rung(directive, setting, look)
        case Kind.QUANTITY if not setting.confines and directive.name in _FITTED:
            return "a limit fitted to measurements: harness tune"
        case Kind.PATHS if directive.searched and not setting.lines and directive.name in _EMPTY:
            return _EMPTY[directive.name]
    return ""


_FITTED = {"MemoryMax", "CPUQuota", "TasksMax", "LimitNOFILE"}
# Where nothing is named yet.
_EMPTY = {
    "InaccessiblePaths": "name places that it never needs",
    "NoExecPaths": "NoExecPaths=/ with BindReadOnlyPaths= for its programs",
    "TemporaryFileSystem": "put an empty one over places it needs little of",
}


def _rung(directive: Directive, setting: Setting, look: Look) -> str:
    rungs = [rung for rung in directive.rungs if rung.version <= look.host.version and not rung.why_not]
    names = [rung.value for rung in rungs]
    if directive.kind is Kind.ADDRESSES:
        return _addresses(setting, look)
    if directive.kind is Kind.MASK:
        return _mask(directive, setting, rungs)
    here = names.index(setting.value) if setting.value in names else 0
    if setting.lines and setting.value not in names:
        return ""
    return f"{directive.name}=" + " or ".join(names[here + 1 :]) if names[here + 1 :] else ""


def _mask(directive: Directive, setting: Setting, rungs: list[Rung]) -> str:
    try:
        own = int(setting.value, 8)
    except ValueError:
        return ""
    above = [rung.value for rung in rungs if int(rung.value, 8) & own == own != int(rung.value, 8)]
    return f"{directive.name}=" + " or ".join(above) if above else ""


def _addresses(setting: Setting, look: Look) -> str:
    if not setting.confines:
        return "IPAddressDeny=any with IPAddressAllow= for its peers"
    if "any" not in setting.value.split():
        return "IPAddressDeny=any"
    wide = [word for word in words(look.unit.values("Service", "IPAddressAllow")) if _is_wide(word)]
    return f"single addresses in IPAddressAllow= instead of {' '.join(wide)}" if wide else ""


def _is_wide(word: str) -> bool:
    """Whether a word of IPAddressAllow= stands for more hosts than one or this one."""
    if word in {"any", "link-local", "multicast"}:
        return True
    try:
        return ipaddress.ip_network(word, strict=False).num_addresses > 1 and not word.startswith("127.")
    except ValueError:
        return False


def _set(directive: Directive, setting: Setting) -> str:
    try:
        kept = kept_by(directive, setting.values).kept
    except NotUnderstood:
        return ""
    left = [item for item in directive.universe if item in kept and item != OTHER]
    left += ["all others"] if OTHER in kept else []
    if not left:
        return ""
    more = f" and {len(left) - MOST_ITEMS} more" if len(left) > MOST_ITEMS else ""
    return f"take away {' '.join(left[:MOST_ITEMS])}{more}"


def _calls(directive: Directive, setting: Setting, look: Look) -> str:
    if not setting.lines:
        return f"{directive.name}={ALLOW_LIST}, then ~@privileged ~@resources"
    walked = walk(setting.values, look.host.groups)
    open_ = []
    for bundle in directive.bundles:
        calls = look.host.groups.get(bundle.items[0], frozenset())
        let = calls & walked.allowed if walked.allowed is not None else calls - walked.denied
        if let and bundle.points:
            few = len(let) <= MOST_ITEMS < len(calls)
            open_.append("~" + (" ".join(sorted(let)) if few else bundle.items[0]))
    words = [] if walked.allowed is not None else [f"{directive.name}={ALLOW_LIST}"]
    return ", ".join([*words, *([" ".join(open_)] if open_ else [])])
