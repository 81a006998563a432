"""What a unit's settings really deny: questions about its effective values, each answered with the line that says so.

Effective values come from `systemctl show`, where lists are merged and what one directive brings with it is worked in;
the lines come from `systemctl cat`. So no answer names a directive that the unit does not set.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.unit import catalogue
from harness.unit.capability import TAKEN_BY
from harness.unit.needs import below
from harness.unit.paths import HOMES, OWN, READ_ONLY_BY
from harness.unit.unitfile import UnitFile, written

NO = frozenset({"", "no", "default", "all", "infinity", "[not set]", "[no data]", "auto"})
# systemd.exec(5), ProtectKernelTunables=.
TUNABLES = (
    "/proc/sys", "/proc/sysrq-trigger", "/proc/latency_stats", "/proc/acpi", "/proc/timer_stats", "/proc/fs",
    "/proc/irq", "/sys",
)  # fmt: skip


@dataclass(frozen=True)
class Mount:
    """How one path is shown to the unit: `ro`, `rw`, `hidden`, `empty` or `private`, and by which directive."""

    path: str
    mode: str
    directive: str
    rung: str = ""


_STRICTNESS = ("hidden", "private", "empty", "ro", "rw")


class Denials:
    """What the settings of one unit deny."""

    def __init__(self, shown: Mapping[str, str], text: UnitFile) -> None:
        self.shown = shown
        self.text = text
        self.mounts = tuple(self._mounts())

    def value(self, name: str) -> str:
        """Effective value as systemd shows it, "" where it says nothing."""
        return self.shown.get(name, "")

    def words(self, name: str) -> tuple[str, ...]:
        """Effective value as a list; an ignored missing path loses its `-`."""
        return tuple(self.value(name).split())

    def is_set(self, name: str) -> bool:
        """Whether the directive restricts anything, by its effective value."""
        if name in ("SystemCallFilter", "RestrictAddressFamilies", "RestrictFileSystems", "SystemCallArchitectures"):
            return bool(self.words(name))
        if name == "CapabilityBoundingSet":
            return bool(self.text.lines("Service", name)) or any(self.is_set(other) for other in TAKEN_BY)
        return self.value(name) not in NO

    def line(self, name: str, item: str = "") -> str:
        """The assignment that counts, with the file it stands in; the last one that names `item`, if any does."""
        directive = catalogue.load().get(name)
        keys = directive.keys if directive is not None else (name,)
        found = [a for a in self.text.assignments if a.section == "Service" and a.key in keys and a.value]
        named = [a for a in found if item and item in a.value]
        if found:
            last = (named or found)[-1]
            return f"{written(last.key, last.value)} ({last.source})" if last.source else written(last.key, last.value)
        if self.value("DynamicUser") == "yes" and directive is not None and directive.dynamic_user:
            return self.line("DynamicUser") + f", which brings {name}="
        return f"{name}={self.value(name)} (systemd's own default)"

    def mount_of(self, path: str) -> Mount | None:
        """What decides how `path` is shown: the innermost mount, of those on the same path the strictest."""
        over = [mount for mount in self.mounts if below(path, mount.path)]
        return min(over, key=lambda m: (-len(PurePosixPath(m.path).parts), _STRICTNESS.index(m.mode)), default=None)

    def denies_call(self, call: str) -> bool:
        """Whether SystemCallFilter= denies a system call."""
        words = self.words("SystemCallFilter")
        if not words:
            return False
        if not words[0].startswith("~"):
            # Those with an error are denied with it: an allow-list lists them, too.
            return call not in words
        names = {word.partition(":")[0] for word in words}
        return call in names or f"~{call}" in names

    def errno_of_call(self, call: str) -> str:
        """What SystemCallFilter= answers a system call with, "" where it ends the process."""
        found = (word.removeprefix("~").partition(":") for word in self.words("SystemCallFilter"))
        own = next((error for name, _, error in found if name == call), "")
        value = own or self.value("SystemCallErrorNumber")
        return "" if value in ("0", "kill") else value

    def lacks(self, capability: str) -> str:
        """The directive that keeps a capability such as CAP_CHOWN from the unit, "" when it could have it."""
        if capability.lower() in self.words("CapabilityBoundingSet") or not self.value("CapabilityBoundingSet").strip():
            emptied = not self.value("CapabilityBoundingSet").strip() and self.text.lines(
                "Service", "CapabilityBoundingSet"
            )
            return "CapabilityBoundingSet" if emptied else ""
        for name, taken in TAKEN_BY.items():
            if capability in taken and self.is_set(name):
                return name
        return "CapabilityBoundingSet" if self.is_set("CapabilityBoundingSet") else ""

    def denies_address(self, text: str) -> bool:
        """Whether IPAddressDeny= blocks an address: not one that IPAddressAllow= lets through, however wide its net."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        return self._has(address, "IPAddressDeny") and not self._has(address, "IPAddressAllow")

    def denies_family(self, family: str) -> bool:
        """Whether RestrictAddressFamilies= denies a family such as AF_NETLINK."""
        words = self.words("RestrictAddressFamilies")
        if not words or words == ("none",):
            return bool(words)
        return family in {word.lstrip("~") for word in words} if words[0].startswith("~") else family not in words

    def executable(self, path: str) -> bool:
        """Whether `path` may run: NoExecPaths= reaches down to the next path that any directive names (252, 257)."""
        over = [(mount.path, 0, True) for mount in self.mounts]
        over += [(_bare(word), 1, False) for word in self.words("NoExecPaths")]
        over += [(_bare(word), 2, True) for word in self.words("ExecPaths")]
        inner = [(len(PurePosixPath(place).parts), rank, runs) for place, rank, runs in over if below(path, place)]
        return max(inner, default=(0, 0, True))[2]

    @property
    def is_root(self) -> bool:
        """Whether the unit's processes start as root."""
        return self.value("User") in ("", "root", "0") and self.value("DynamicUser") != "yes"

    def _has(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, name: str) -> bool:
        networks = (ipaddress.ip_network(word, strict=False) for word in self.words(name))
        return any(network.version == address.version and address in network for network in networks)

    def _mounts(self) -> Iterator[Mount]:
        system, home = self.value("ProtectSystem"), self.value("ProtectHome")
        yield from (Mount(path, "ro", "ProtectSystem", system) for path in READ_ONLY_BY.get(system, ()))
        if system == "strict":
            yield from (Mount(path, "rw", "") for path in ("/proc", "/sys", "/dev", *HOMES))
        modes = {"yes": "hidden", "read-only": "ro", "tmpfs": "empty"}
        if home in modes:
            yield from (Mount(path, modes[home], "ProtectHome", home) for path in HOMES)
        for name, base in OWN.items():
            yield from (Mount(f"{base}/{word.partition(':')[0]}", "rw", name) for word in self.words(name))
        lists = {"ReadWritePaths": "rw", "ReadOnlyPaths": "ro", "InaccessiblePaths": "hidden"}
        for name, mode in lists.items():
            yield from (Mount(_bare(word), mode, name) for word in self.words(name))
        yield from (
            Mount(word.partition(":")[0], "empty", "TemporaryFileSystem") for word in self.words("TemporaryFileSystem")
        )
        for name, mode in {"BindPaths": "rw", "BindReadOnlyPaths": "ro"}.items():
            yield from (Mount(_bound(word), mode, name) for word in self.words(name))
        yield from self._of_switches()

    def _of_switches(self) -> Iterator[Mount]:
        if self.value("PrivateTmp") not in NO:
            yield from (Mount(path, "private", "PrivateTmp") for path in ("/tmp", "/var/tmp"))
        if self.is_set("PrivateDevices"):
            yield Mount("/dev", "private", "PrivateDevices")
            yield from (
                Mount(f"/dev/{name}", "rw", "") for name in ("null", "zero", "full", "random", "urandom", "tty", "shm")
            )
        if self.is_set("ProtectKernelTunables"):
            yield from (Mount(path, "ro", "ProtectKernelTunables") for path in TUNABLES)
            yield from (Mount(path, "rw", "") for path in ("/sys/fs/cgroup", "/sys/fs/bpf"))
            yield from (Mount(path, "hidden", "ProtectKernelTunables") for path in ("/proc/kallsyms", "/proc/kcore"))
        if self.is_set("ProtectKernelModules"):
            yield from (Mount(path, "hidden", "ProtectKernelModules") for path in ("/usr/lib/modules", "/lib/modules"))
        if self.is_set("ProtectKernelLogs"):
            yield from (Mount(path, "hidden", "ProtectKernelLogs") for path in ("/proc/kmsg", "/dev/kmsg"))
        if self.is_set("ProtectControlGroups"):
            yield Mount("/sys/fs/cgroup", "ro", "ProtectControlGroups")


def _bare(word: str) -> str:
    return word.lstrip("-+")


def _bound(word: str) -> str:
    """Where a bound path is shown."""
    parts = _bare(word).split(":")
    return parts[1] if len(parts) > 1 and parts[1].startswith("/") else parts[0]
