"""A candidate as text: one drop-in that says everything itself, and the complete unit it makes with a base."""

from collections.abc import Collection, Mapping, Sequence

from harness.errors import UnitError
from harness.unit.catalogue import Directive, Kind, Rung, load
from harness.unit.itemset import kept_by
from harness.unit.itemset import written as written_set
from harness.unit.start import Start
from harness.unit.syscalls import filter_lines
from harness.unit.tightening import Tightening
from harness.unit.unitfile import UnitFile, parse, written

_Lines = list[tuple[str, str]]
FILE_NAME = "50-harness.conf"
# The rungs of ProtectSystem= under which /var or /etc is read-only and a service may need exceptions.
_READ_ONLY_RUNGS = {"full", "strict"}
# Not in the catalogue: they are fitted and not searched.
_LIMITS = ("MemoryMax", "MemorySwapMax", "CPUQuota", "CPUQuotaPeriodSec", "TasksMax", "LimitNOFILE", "LimitNPROC")


def render(
    accepted: Collection[Tightening],
    start: Start,
    *,
    networks: Sequence[str] = (),
    writable: Sequence[str] = (),
    directories: Sequence[tuple[str, str]] = (),
    comments: Mapping[str, Sequence[str]] | None = None,
    header: Sequence[str] = (),
) -> str:
    """The drop-in of a candidate, in catalogue order, the same text for the same candidate.

    Lists begin with a reset. From a stripped start, what the shipped unit sets and the candidate does not is undone by
    name, so that the drop-in has the same effect on the shipped and on the stripped unit. `networks` are ADDRESS/PREFIX
    let through beside the local networks; `writable` absolute paths excepted from ProtectSystem=full and strict, when
    the candidate climbs there, and `directories` (directive, name) ones for systemd to make then;
    `comments` lines to stand above a directive; `header` lines at the top. Raises
    `UnitError` for an unknown directive, rung or item.
    """
    steps = _by_directive(accepted)
    out = _commented(header)
    out.append("[Service]")
    done: set[str] = set()
    for directive in load():
        lines = _directive_lines(directive, steps.get(directive.name, []), start, networks)
        if directive.name == "ReadWritePaths" and _read_only(steps.get("ProtectSystem", [])):
            lines += [("ReadWritePaths", _literal_path(path)) for path in writable]
            lines += [(key, name.replace("%", "%%")) for key, name in directories]
        lines = [(key, value) for key, value in lines if key not in done]
        done.update(key for key, _ in lines)
        if lines:
            out += _commented((comments or {}).get(directive.name, ()))
            out += [written(key, value) for key, value in lines]
    return "".join(f"{line}\n" for line in out)


def full_unit(unit: UnitFile, drop_in_text: str) -> str:
    """The unit with the drop-in worked in: one text, each section once, what is overridden left out.

    `unit` is the base, shipped or stripped. Comments of the drop-in stay with its lines.
    """
    header, _, body = f"\n{drop_in_text}".partition("\n[Service]\n")
    overridden = _overridden(parse(drop_in_text))
    out = [header.lstrip("\n") + "\n"] if header else []
    for section in dict.fromkeys([*unit.sections(), "Service"]):
        kept = [a for a in unit.assignments if a.section == section]
        if section == "Service":
            kept = [a for a in kept if a.key not in overridden]
        text = f"[{section}]\n" + "".join(written(a.key, a.value) + "\n" for a in kept)
        out.append(text + body if section == "Service" else text)
    return "\n".join(out)


def _by_directive(accepted: Collection[Tightening]) -> dict[str, list[Tightening]]:
    steps: dict[str, list[Tightening]] = {}
    for tightening in sorted(accepted):
        if not load()[tightening.directive].searched:
            raise UnitError(f"{tightening.label}: not a directive that is searched")
        steps.setdefault(tightening.directive, []).append(tightening)
    return steps


def _directive_lines(directive: Directive, steps: list[Tightening], start: Start, networks: Sequence[str]) -> _Lines:
    if not steps:
        undo = start.strips(directive) and start.lines(directive.name)
        return [(directive.name, directive.default)] if undo else []
    if directive.kind is Kind.SET:
        return [(directive.name, value) for value in _set_lines(directive, steps, start)]
    if directive.kind is Kind.SYSCALLS:
        return [(directive.name, value) for value in _syscall_lines(directive, steps, start)]
    top = max((directive.rung(step.rung) for step in steps), key=directive.rungs.index)
    if directive.kind is Kind.ADDRESSES:
        return _address_lines(top, networks)
    # A ladder that begins with nothing is a list: systemd would add to it.
    reset = [(directive.name, "")] if directive.rungs[0].value == "" else []
    return [*reset, (directive.name, top.value)]


def _set_lines(directive: Directive, steps: list[Tightening], start: Start) -> tuple[str, ...]:
    own = kept_by(directive, start.own(directive))
    denied = {item for step in steps for item in step.items}
    unknown = denied - set(directive.universe) - own.kept
    if unknown:
        raise UnitError(f"{directive.name}: no item {' '.join(sorted(unknown))}")
    return written_set(directive, own.without(denied))


def _syscall_lines(directive: Directive, steps: list[Tightening], start: Start) -> tuple[str, ...]:
    allow = next((directive.rung(step.rung).value for step in steps if step.rung), "")
    denied = {item for step in steps for item in step.items}
    unknown = denied - {item for bundle in directive.bundles for item in bundle.items}
    unknown = unknown.difference(*(start.group(bundle.items[0]) for bundle in directive.bundles))
    if unknown:
        raise UnitError(f"{directive.name}: no item {' '.join(sorted(unknown))}")
    return filter_lines(directive, start, allow=allow, denied=denied)


def _address_lines(rung: Rung, networks: Sequence[str]) -> _Lines:
    lines = [("IPAddressDeny", ""), ("IPAddressDeny", "any"), ("IPAddressAllow", "")]
    allowed = [rung.allow, *networks] if rung.networks else [rung.allow]
    return [*lines, ("IPAddressAllow", " ".join(allowed))] if rung.allow else lines


def _read_only(steps: list[Tightening]) -> bool:
    return any(step.rung in _READ_ONLY_RUNGS for step in steps)


def _literal_path(path: str) -> str:
    """A path for ReadWritePaths=: `-` because it may not exist yet (226 otherwise), no specifier, one word."""
    if not path.startswith("/") or len(path.splitlines()) > 1:
        raise UnitError(f"{path!r} is not an absolute path on one line", hint="ReadWritePaths= takes no other")
    escaped = path.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"-{escaped}"' if any(c in path for c in " \t\"'\\") else f"-{escaped}"


def _commented(lines: Sequence[str]) -> list[str]:
    return [f"# {part}".rstrip() for line in lines for part in line.splitlines() or [""]]


def _overridden(drop_in: UnitFile) -> set[str]:
    """Keys and aliases whose earlier values no longer count once the drop-in is read."""
    found: set[str] = set()
    for directive in load():
        values = drop_in.lines("Service", *directive.keys)
        adds = directive.kind in {Kind.PATHS, Kind.LIST} and values and values[0] != ""
        if values and not adds:
            found.update(directive.keys)
    return found | {key for key in _LIMITS if drop_in.lines("Service", key)}
