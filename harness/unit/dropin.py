"""A candidate as text: one drop-in that says everything itself, and the complete unit it makes with a base."""

from collections.abc import Collection, Mapping, Sequence

from harness.errors import UnitError
from harness.unit import listed
from harness.unit.catalogue import Directive, Kind, Rung, load
from harness.unit.itemset import kept_by
from harness.unit.itemset import written as written_set
from harness.unit.needs import NOTHING, Needs, below
from harness.unit.start import Start
from harness.unit.syscalls import calls_beyond, filter_lines, named
from harness.unit.tightening import Tightening
from harness.unit.unitfile import Assignment, UnitFile, parse, written

# More than one directive of the catalogue is written with it.
_ADDED_TO = "BindReadOnlyPaths"
# What these name is taken away, whoever names it.
_ADD_UP = frozenset({"ReadOnlyPaths", "InaccessiblePaths", "NoExecPaths", "TemporaryFileSystem"})
_Lines = list[tuple[str, str]]
FILE_NAME = "50-harness.conf"
# Not in the catalogue: they are fitted and not searched.
LIMITS = (
    *("MemoryHigh", "MemoryMax", "MemorySwapMax", "CPUQuota", "CPUQuotaPeriodSec", "TasksMax"),
    *("LimitNOFILE", "LimitNPROC"),
)


def render(
    accepted: Collection[Tightening],
    start: Start,
    *,
    needs: Needs = NOTHING,
    comments: Mapping[str, Sequence[str]] | None = None,
    header: Sequence[str] = (),
) -> str:
    """The drop-in of a candidate, in catalogue order, the same text for the same candidate.

    Lists begin with a reset. From a stripped start, what the shipped unit sets and the candidate does not is undone by
    name, so that the drop-in has the same effect on the shipped and on the stripped unit. `needs` are what the lines
    must spare, such as paths excepted from ProtectSystem=, less what the candidate denies of it;
    `comments` lines to stand above a directive; `header` lines at the top. Raises
    `UnitError` for an unknown directive, rung or item.
    """
    steps = _by_directive(accepted)
    out = _commented(header)
    out.append("[Service]")
    if start.run_as:
        out += _commented((comments or {}).get(start.run_as[0][0], ()))
        out += [written(key, value) for key, value in start.run_as]
    done = {key for key, _ in start.run_as}
    for directive in load():
        lines = _directive_lines(directive, steps.get(directive.name, []), start, needs)
        lines += _exceptions(directive.name, steps, needs)
        if _adds_to_shipped(directive, start) and (directive.name, "") not in lines:
            lines.insert(0, (directive.name, ""))
        lines = [(key, value) for key, value in lines if key not in done or key == _ADDED_TO]
        done.update(key for key, _ in lines)
        if lines:
            out += _commented((comments or {}).get(directive.name, ()))
            out += [written(key, value) for key, value in lines]
    return "".join(f"{line}\n" for line in out)


def full_unit(unit: UnitFile, drop_in_text: str) -> str:
    """The unit with the drop-in worked in: one text, each section once, what is overridden left out.

    `unit` is the base, shipped or stripped. Comments of the drop-in stay with its lines. What a drop-in sets that is
    read after ours comes after it here, too.
    """
    header, _, body = f"\n{drop_in_text}".partition("\n[Service]\n")
    overridden = _overridden(parse(drop_in_text))
    out = [header.lstrip("\n") + "\n"] if header else []
    for section in dict.fromkeys([*unit.sections(), "Service"]):
        own = [a for a in unit.assignments if a.section == section]
        text = f"[{section}]\n"
        if section == "Service":
            before = [a for a in own if not _is_later(a) and a.key not in overridden]
            text += _assigned(before) + body + _assigned([a for a in own if _is_later(a)])
        else:
            text += _assigned(own)
        out.append(text)
    return "\n".join(out)


def set_later(unit: UnitFile) -> dict[str, str]:
    """Directives that a drop-in which is read after ours sets, each with its file: what ours says would not hold.

    Lists of what is taken away are no such: there both add up. What a list gives, it would give again.
    """
    found: dict[str, str] = {}
    for item in unit.assignments:
        if item.section == "Service" and _is_later(item):
            for directive in load():
                if item.key in directive.keys and directive.name not in _ADD_UP:
                    found[directive.name] = item.source
    return found


def _is_later(item: Assignment) -> bool:
    folder, _, name = item.source.rpartition("/")
    return folder.endswith(".d") and name > FILE_NAME


def _assigned(items: Sequence[Assignment]) -> str:
    return "".join(written(item.key, item.value) + "\n" for item in items)


def _by_directive(accepted: Collection[Tightening]) -> dict[str, list[Tightening]]:
    steps: dict[str, list[Tightening]] = {}
    for tightening in sorted(accepted):
        if not load()[tightening.directive].searched:
            raise UnitError(f"{tightening.label}: not a directive that is searched")
        steps.setdefault(tightening.directive, []).append(tightening)
    return steps


def _adds_to_shipped(directive: Directive, start: Start) -> bool:
    """Whether lines would add to a list of the shipped unit that the search began without."""
    is_list = directive.kind in {Kind.PATHS, Kind.LIST}
    return is_list and start.strips(directive) and bool(start.lines(directive.name))


def _directive_lines(directive: Directive, steps: list[Tightening], start: Start, needs: Needs) -> _Lines:
    if not steps:
        undo = start.strips(directive) and start.lines(directive.name)
        return [(directive.name, directive.default)] if undo else []
    if directive.kind is Kind.SET:
        return [(directive.name, value) for value in _set_lines(directive, steps, start)]
    if directive.kind is Kind.SYSCALLS:
        return [(directive.name, value) for value in _syscall_lines(directive, steps, start, needs)]
    if directive.kind in {Kind.PATHS, Kind.LIST}:
        return listed.lines(directive, _denied(steps), start, needs)
    top = max((directive.rung(step.rung) for step in steps), key=directive.rungs.index)
    if directive.kind is Kind.ADDRESSES:
        return _address_lines(top, needs)
    # A ladder that begins with nothing is a list: systemd would add to it.
    reset = [(directive.name, "")] if directive.rungs[0].value == "" else []
    return [*reset, (directive.name, top.value)]


def _set_lines(directive: Directive, steps: list[Tightening], start: Start) -> tuple[str, ...]:
    own = kept_by(directive, start.own(directive))
    denied = _denied(steps)
    unknown = denied - set(directive.universe) - own.kept
    if unknown:
        raise UnitError(f"{directive.name}: no item {' '.join(sorted(unknown))}")
    return written_set(directive, own.without(denied))


def _syscall_lines(directive: Directive, steps: list[Tightening], start: Start, needs: Needs) -> tuple[str, ...]:
    allow = next((directive.rung(step.rung).value for step in steps if step.rung), "")
    denied = _denied(steps)
    unknown = {*map(named, denied)} - {item for bundle in directive.bundles for item in bundle.items}
    unknown -= set(needs.calls)
    unknown = unknown.difference(*(start.group(bundle.items[0]) for bundle in directive.bundles))
    if unknown:
        raise UnitError(f"{directive.name}: no item {' '.join(sorted(unknown))}")
    return filter_lines(directive, start, allow=allow, denied=denied, beyond=calls_beyond(start, needs))


def _address_lines(rung: Rung, needs: Needs) -> _Lines:
    lines = [("IPAddressDeny", ""), ("IPAddressDeny", "any"), ("IPAddressAllow", "")]
    allowed = [rung.allow, *needs.networks] if rung.networks else [rung.allow]
    if rung.peers and not needs.networks:
        allowed += needs.peers or ()
    return [*lines, ("IPAddressAllow", " ".join(allowed))] if rung.allow else lines


def _exceptions(name: str, steps: Mapping[str, list[Tightening]], needs: Needs) -> _Lines:
    """What stays open beside a restriction that is in force: written as a directive of its own."""
    denied = _denied(steps.get(name, []))
    if name == "ReadWritePaths" and ("ProtectSystem" in steps or "ProtectHome" in steps):
        own_tmp = listed.PRIVATE_TMP if "PrivateTmp" in steps else ()
        system = [step.rung for step in steps.get("ProtectSystem", [])]
        open_ones = listed.still_writable(denied, needs, system=system, home="ProtectHome" in steps)
        paths = [path for path in open_ones if not below(path, *own_tmp)]
        made = needs.directories if "ProtectSystem" in steps else ()
        return [*((name, listed.literal_path(path)) for path in paths), *((key, _plain(value)) for key, value in made)]
    if name == "TemporaryFileSystem":
        return listed.bound(denied, _denied(steps.get("ReadWritePaths", [])), needs)
    if name == "NoExecPaths":
        shut, private = _denied(steps.get("ReadWritePaths", [])), "PrivateTmp" in steps
        return [
            (name, listed.literal_path(path))
            for path in listed.closed_to_programs(denied, shut, needs, private_tmp=private)
        ]
    if name == "ExecPaths" and "NoExecPaths" in steps:
        # Not ExecPaths=: what that names is a mount of its own, and writable whatever ProtectSystem= says (252, 257).
        return [(listed.WRITTEN_AS[name], listed.source(path)) for path in listed.still_executable(denied, needs)]
    if name == "DeviceAllow" and "DevicePolicy" in steps:
        strict = any(step.rung == "strict" for step in steps["DevicePolicy"])
        return [(name, value) for value in listed.devices(denied, needs, strict=strict)]
    if name == "SocketBindAllow" and "SocketBindDeny" in steps:
        return [(name, port) for port in needs.ports if port not in denied]
    return []


def _denied(steps: list[Tightening]) -> set[str]:
    return {item for step in steps for item in step.items}


def _plain(value: str) -> str:
    return value.replace("%", "%%")


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
    return found | {key for key in LIMITS if drop_in.lines("Service", key)}
