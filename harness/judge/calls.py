"""What the filters that were read must refuse for each directive that is made of a filter."""

from collections.abc import Iterable, Mapping, Sequence

from harness.judge import filters
from harness.judge.settings import Setting
from harness.unit.confined import Look, Rule
from harness.unit.itemset import OTHER, kept_by
from harness.unit.start import NotUnderstood

# linux/sched.h, sys/socket.h; families without a name in the catalogue stand in UNNAMED.
NAMESPACES = {
    "cgroup": 0x02000000, "ipc": 0x08000000, "mnt": 0x00020000, "net": 0x40000000, "pid": 0x20000000,
    "user": 0x10000000, "uts": 0x04000000,
}  # fmt: skip
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17}
UNNAMED = {"AF_VSOCK": 40, "AF_ALG": 38, "AF_BLUETOOTH": 31, "AF_CAN": 29, "AF_X25": 9}
AT_FDCWD = -100
# One call with its arguments that the directive refuses: system call, arguments, for people.
ONE: Mapping[str, tuple[str, tuple[int, ...], str]] = {
    "RestrictRealtime": ("sched_setscheduler", (0, 1, 0), "sched_setscheduler with SCHED_FIFO"),
    "RestrictSUIDSGID": ("fchmodat", (AT_FDCWD, 0, 0o4755), "fchmodat with a set-user-ID bit"),
    "LockPersonality": ("personality", (0x0040000,), "personality"),
    "MemoryDenyWriteExecute": ("mmap", (0, 4096, 7, 0x22, -1, 0), "mmap with write and execute"),
    "ProtectClock": ("adjtimex", (), "adjtimex"),
    "ProtectKernelModules": ("finit_module", (), "finit_module"),
    "ProtectKernelLogs": ("syslog", (), "syslog"),
    "ProtectHostname": ("sethostname", (), "sethostname"),
    "PrivateDevices": ("iopl", (), "iopl"),
}
_Filters = Sequence[Sequence[Rule]]


def refused(setting: Setting, look: Look, rules: _Filters) -> tuple[bool | None, str]:
    """Whether the filters refuse everything that the setting says, and what shows it; None where it cannot be told."""
    name = setting.directive.name
    if name in ONE:
        call, arguments, shown = ONE[name]
        return _all(rules, look, [(call, arguments)], shown)
    try:
        if name == "RestrictAddressFamilies":
            denied = _denied(setting)
            numbers = [FAMILIES[family] for family in denied if family in FAMILIES]
            if OTHER in denied:
                # The unit may allow some of the unnamed by name: one that it does not speaks for all others.
                kept = kept_by(setting.directive, setting.values).kept
                numbers += [number for family, number in UNNAMED.items() if family not in kept][:1]
            wanted = [("socket", (number, 3, 0)) for number in numbers]
            return _all(rules, look, wanted, "socket for " + " ".join(denied))
        if name == "RestrictNamespaces":
            denied = _denied(setting)
            return _all(rules, look, [("unshare", (NAMESPACES[n],)) for n in denied], "unshare for " + " ".join(denied))
    except NotUnderstood as error:
        return None, str(error)
    if name == "SystemCallArchitectures":
        if {"x86", "i386"} & set(setting.value.split()):
            return None, "it lets 32-bit x86 through, the only other architecture that is looked at"
        found = filters.refused(rules, 20, architecture=filters.I386)
        return found, "calls of 32-bit x86 are refused" if found else "calls of 32-bit x86 get through"
    return _filter(setting, look, rules)


def allowed(look: Look, rules: _Filters) -> int:
    """How many of the system calls that systemd knows get through, with all arguments zero."""
    return sum(not filters.refused(rules, number) for number in look.host.numbers.values())


def _denied(setting: Setting) -> list[str]:
    directive = setting.directive
    kept = kept_by(directive, setting.values).kept
    return [item for item in directive.universe if item not in kept]


def _all(
    rules: _Filters, look: Look, wanted: Iterable[tuple[str, tuple[int, ...]]], shown: str
) -> tuple[bool | None, str]:
    answers = [
        filters.refused(rules, look.host.numbers[call], *arguments)
        for call, arguments in wanted
        if call in look.host.numbers
    ]
    if not answers or None in answers:
        return None, f"cannot be told of {shown} on this architecture"
    return all(answers), f"{shown}: {'refused' if all(answers) else 'gets through'}"


def _filter(setting: Setting, look: Look, rules: _Filters) -> tuple[bool | None, str]:
    named = walk(setting.values, look.host.groups)
    everything = frozenset(look.host.numbers)
    wanted = everything - named.allowed if named.allowed is not None else named.denied & everything
    if not wanted:
        return None, "the filter names no call of this architecture"
    open_ = sorted(call for call in wanted if filters.refused(rules, look.host.numbers[call]) is not True)
    count = allowed(look, rules)
    if open_:
        return False, f"{len(open_)} of {len(wanted)} denied calls get through: {' '.join(open_[:4])}"
    return True, f"all {len(wanted)} denied calls are refused; {count} of {len(everything)} get through all filters"


class Walk:
    """A filter's lines read in order: what is allowed (None in a deny-list), what is denied, and words without effect.

    systemd.exec(5): the first line decides between an allow-list and a deny-list; `@default` is always allowed.
    """

    def __init__(self, groups: Mapping[str, frozenset[str]]) -> None:
        self._groups = groups
        self.allowed: frozenset[str] | None = None
        self.denied: frozenset[str] = frozenset()
        self.idle: list[tuple[int, str]] = []

    def line(self, number: int, value: str) -> None:
        """Take one line; `number` is only handed back in `idle`."""
        deny = value.startswith("~")
        found = value.removeprefix("~").split()
        if number == 0 and not deny:
            self.allowed = self._groups.get("@default", frozenset())
        for word in found:
            name = word.partition(":")[0]
            calls = self._groups.get(name, frozenset()) if name.startswith("@") else frozenset({name})
            if not self._changes(calls, deny=deny) and not (deny and ":" in word):
                self.idle.append((number, word))

    def _changes(self, calls: frozenset[str], *, deny: bool) -> bool:
        before = self.allowed, self.denied
        if self.allowed is not None:
            self.allowed = self.allowed - calls if deny else self.allowed | calls
        else:
            self.denied = self.denied | calls if deny else self.denied - calls
        return (self.allowed, self.denied) != before or not calls


def walk(values: Sequence[str], groups: Mapping[str, frozenset[str]]) -> Walk:
    """Read the lines of a filter, resets already taken out."""
    found = Walk(groups)
    for number, value in enumerate(values):
        found.line(number, value)
    return found
