"""What a unit's lines amount to: which are in force, and which do nothing because of how they are written.

systemd.syntax(7): a later value replaces an earlier one, an empty one resets a list, and no comment stands behind one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.unit import catalogue
from harness.unit.catalogue import Directive, Kind
from harness.unit.confined import Look, Warned
from harness.unit.itemset import kept_by
from harness.unit.start import FALSE, TRUE, NotUnderstood
from harness.unit.unitfile import Assignment

TRAILING_COMMENT = re.compile(r"\s[#;]")
# What else systemd says of a line (deprecated, updated, not safe) leaves it in force.
_IGNORING = re.compile(r"(?!.*unknown escape sequences).*\bignor(?:ing|ed)\b", re.IGNORECASE | re.DOTALL)
# Of these systemd drops the words it cannot read and keeps the rest; of every other the whole line.
_BY_WORD = {"SystemCallFilter", "RestrictAddressFamilies", "IPAddressDeny", "IPAddressAllow", "SystemCallLog"}


@dataclass(frozen=True)
class Idle:
    """A line, or some of its words, that does nothing, and why."""

    line: Assignment
    why: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What holds of a directive by the unit's lines: those in force, in order; none where it is not set."""

    directive: Directive
    lines: tuple[Assignment, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """The values in force, in order."""
        return tuple(line.value for line in self.lines)

    @property
    def value(self) -> str:
        """The value in force in the spelling of the ladder; lists as one text, the default where nothing is set."""
        if not self.lines:
            return self.directive.default
        if not is_list(self.directive):
            return spelled(self.directive, self.lines[-1].value) or self.directive.default
        return " ".join(line.value for line in self.lines).strip()

    @property
    def confines(self) -> bool:
        """Whether anything is set that differs from what holds without it."""
        if self.directive.kind is Kind.SET and self.lines:
            try:
                left = kept_by(self.directive, self.values)
            except NotUnderstood:
                return True
            return left.kept != frozenset(self.directive.universe) or bool(left.named_denied)
        if self.directive.name == "User":
            return self.value not in {"", "root", "0"}
        if self.directive.name == "DynamicUser":
            return self.value.lower() in TRUE
        if self.directive.name.startswith("Limit") and self.value == "infinity":
            return False
        return bool(self.lines) and self.value not in {self.directive.default, ""}


def is_list(directive: Directive) -> bool:
    """Whether lines add to one another, and an empty one starts anew."""
    ladder = directive.kind is Kind.LADDER and directive.rungs[0].value == ""
    return ladder or directive.kind in {Kind.SET, Kind.SYSCALLS, Kind.ADDRESSES, Kind.PATHS, Kind.LIST}


def spelled(directive: Directive, value: str) -> str:
    """A value in the spelling of the ladder: `true` is yes."""
    names = {rung.value for rung in directive.rungs}
    if value.lower() in TRUE and "yes" in names:
        return "yes"
    return "no" if value.lower() in FALSE and "no" in names else value


def read(look: Look) -> tuple[dict[str, Setting], list[Idle]]:
    """The setting of every directive by its name, and the lines that do nothing as they are written."""
    idle: list[Idle] = []
    settings = {}
    for directive in catalogue.load():
        lines = [a for a in look.unit.assignments if a.section == "Service" and a.key in directive.keys]
        understood = [line for line in lines if not _ignored(line, directive, look, idle)]
        settings[directive.name] = _in_force(directive, understood, idle)
    return settings, [*_unknown(look), *idle]


def in_effect(settings: Mapping[str, Setting], name: str) -> Setting:
    """A setting with what DynamicUser= brings worked in, which no line takes back (systemd 252 to 257)."""
    setting = settings[name]
    forced, order = setting.directive.dynamic_user, [rung.value for rung in setting.directive.rungs]
    if not forced or not settings["DynamicUser"].confines:
        return setting
    if setting.value in order and order.index(setting.value) >= order.index(forced):
        return setting
    return Setting(setting.directive, (Assignment("Service", name, forced),))


def place(line: Assignment) -> str:
    """Where a line stands, for people: the file's name, of a drop-in its folder's too, and the number."""
    parts = line.source.split("/")
    return f"{'/'.join(parts[-2:] if parts[-1].endswith('.conf') else parts[-1:])}:{line.line}"


def _ignored(line: Assignment, directive: Directive, look: Look, idle: list[Idle]) -> bool:
    """Whether systemd takes nothing of the line; what it leaves out is noted."""
    said = _said(line, look)
    comment = TRAILING_COMMENT.search(line.value) is not None
    if directive.version > look.host.version:
        idle.append(Idle(line, f"systemd {look.host.version} does not know it: since {directive.version}"))
        return True
    by_word = directive.name in _BY_WORD or directive.kind in {Kind.PATHS, Kind.LIST}
    if said and not by_word:
        idle.append(Idle(line, _why(said, comment)))
        return True
    if said:
        idle.append(Idle(line, _why(said, comment), _words(said)))
    unknown = _unknown_capabilities(directive, line.value)
    if unknown:
        why = "no such capability, and systemd says nothing of it: " + " ".join(unknown)
        idle.append(Idle(line, why + ("; there are no trailing comments" if comment else ""), unknown))
    return False


def _said(line: Assignment, look: Look) -> list[Warned]:
    """What systemd says it leaves out of a line."""
    return [w for w in look.warned if (w.file, w.line) == (line.source, line.line) and _IGNORING.match(w.message)]


def _why(said: Iterable[Warned], comment: bool) -> str:
    messages = "; ".join(dict.fromkeys(w.message for w in said))
    trailing = "a comment cannot stand behind a value, so it counts as part of it" if comment else ""
    return "; ".join(filter(None, [f"systemd ignores it: {messages}", trailing]))


def _words(said: Iterable[Warned]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(w.message.rpartition(": ")[2] for w in said))


def _unknown_capabilities(directive: Directive, value: str) -> tuple[str, ...]:
    if directive.name not in {"CapabilityBoundingSet", "AmbientCapabilities"}:
        return ()
    known = catalogue.load()["CapabilityBoundingSet"].universe
    return tuple(word for word in value.lstrip("~").split() if word.upper() not in known)


def _in_force(directive: Directive, lines: list[Assignment], idle: list[Idle]) -> Setting:
    if not lines:
        return Setting(directive)
    if not is_list(directive):
        idle += [Idle(line, f"overridden by {place(lines[-1])}") for line in lines[:-1]]
        return Setting(directive, (lines[-1],))
    # Of capabilities ~ alone is all of them, whatever was said before.
    all_again = "~" if directive.name == "CapabilityBoundingSet" else ""
    resets = [at for at, line in enumerate(lines) if line.value in {"", all_again}]
    if not resets:
        return Setting(directive, tuple(lines))
    last = resets[-1]
    idle += [Idle(line, f"reset by {place(lines[last])}") for line in lines[:last]]
    kept = tuple(lines[last + 1 :])
    if directive.name == "CapabilityBoundingSet":
        return Setting(directive, (lines[last], *kept))  # empty is a value: no capability
    if last == 0 and not kept:
        idle.append(Idle(lines[0], "empty is what holds without the line"))
    return Setting(directive, kept)


def _unknown(look: Look) -> list[Idle]:
    """Lines of any key, in any section, that systemd does not know; a directive known here is told of elsewhere."""
    known = catalogue.load()
    found = []
    for line in look.unit.assignments:
        if line.section == "Service" and known.get(line.key) is not None:
            continue
        said = _said(line, look)
        if said:
            found.append(Idle(line, _why(said, TRAILING_COMMENT.search(line.value) is not None)))
    return found
