"""What the report page says, as plain data: thinking about a stored run, and nothing about HTML."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import UsageError
from harness.observation import Observation
from harness.results.accepted import limits_of
from harness.results.folder import Run
from harness.unit import catalogue
from harness.unit.catalogue import Catalogue, Directive
from harness.unit.dropin import FILE_NAME, LIMITS
from harness.unit.tightening import Tightening
from harness.unit.unitfile import UnitFile, parse, parse_cat

MANUAL = "https://www.freedesktop.org/software/systemd/man/latest"
MOST_LINES = 60
MOST_CHARACTERS = 600
# In the order in which a reader asks: what is not stricter, what is in force, what was not claimed.
STATES = ("held back", "refused", "undecided", "tight", "not claimed", "left alone")


@dataclass(frozen=True)
class Step:
    """One step of a failing trial."""

    name: str
    part: str
    problem: str
    duration_s: float


@dataclass(frozen=True)
class Witness:
    """The failing trial that shows why something is not tighter; `usual` is how such a directive shows in general."""

    label: str
    usual: str
    tried: str
    trial: str
    reason: str
    evidence: tuple[str, ...]
    steps: tuple[Step, ...]
    log: tuple[str, ...]
    kernel: tuple[str, ...]
    left_out_lines: int
    command: str


@dataclass(frozen=True)
class Row:
    """One directive of the table."""

    name: str
    manual: str
    link: str
    value: str
    shipped: str
    state: str
    reason: str
    points: int
    witnesses: tuple[Witness, ...] = ()

    @property
    def rank(self) -> int:
        """Where its state stands among all."""
        return STATES.index(self.state)


@dataclass(frozen=True)
class Change:
    """One directive in the unit as shipped and as recommended. `kind`: added, changed, dropped or same."""

    name: str
    shipped: str
    recommended: str
    kind: str


@dataclass(frozen=True)
class Page:
    """Everything the page shows of a run; `data` is `recommendation.json`."""

    run: Run
    data: dict[str, Any]
    verdict: str
    good: bool
    rows: tuple[Row, ...]
    changes: tuple[Change, ...]
    vacuous: tuple[dict[str, Any], ...]
    limits: tuple[dict[str, Any], ...] = field(default=())
    exposure_shipped: float | None = None


def of_run(run: Run) -> Page:
    """Gather what the page shows. Raises UsageError when nothing was recommended yet."""
    data = run.recommendation
    if data is None:
        raise UsageError(
            f"{run.path} holds no recommendation", hint=f"make it from the trials: harness report {run.path}"
        )
    seen = {item.trial_id: item for item in run.observations}
    rows = tuple(_rows(run, data, seen))
    good = data["state"] == "tight"
    return Page(
        run=run,
        data=data,
        verdict=_verdict(data),
        good=good,
        rows=tuple(sorted(rows, key=lambda row: row.rank)),
        changes=tuple(_changes(run, catalogue.load())),
        vacuous=tuple(item for item in data["canaries"] if item["standing"] != "enforced"),
        limits=tuple(limits_of(data)),
        exposure_shipped=run.facts["inspection"].get("exposure"),
    )


def _verdict(data: dict[str, Any]) -> str:
    enforced = sum(item["standing"] == "enforced" for item in data["settings"])
    count = len(data["refused"])
    told = f"{enforced} tightenings are enforced"
    told += f"; {count} more were refused, each with a failing trial." if count else "; nothing was refused."
    if data["state"] == "tight":
        return f"Works as tight as it gets: the whole passed {data['confirmed']} more times, and {told}"
    if data["state"] == "partial":
        return f"Not finished ({data['stop']}): {len(data['undecided'])} tightenings are undecided. So far {told}"
    return f"Not confirmed: do not use this yet. {told[0].upper()}{told[1:]}"


def _rows(run: Run, data: dict[str, Any], seen: dict[str, Observation]) -> Iterable[Row]:
    settings, refused = _by_directive(data["settings"]), _by_directive(data["refused"])
    undecided = _by_directive([_labelled(label) for label in data["undecided"]])
    unreached = _by_directive([_labelled(item["label"]) for item in data["unreached"]])
    drop_in, shipped = parse(run.drop_in), parse_cat(run.facts["inspection"]["unit_text"])
    for directive in catalogue.load():
        name = directive.name
        accepted, denied = settings.get(name, []), refused.get(name, [])
        alone = data["left_alone"].get(name)
        if not (accepted or denied or alone or name in undecided or name in unreached):
            continue
        claimed = [item for item in accepted if item["standing"] == "enforced"]
        witnesses = tuple(_witness(run, directive, item, seen) for item in denied)
        state = _state(claimed, accepted, denied, alone=alone, undecided=name in undecided)
        yield Row(
            name=name,
            manual=directive.manual,
            link=link(directive),
            value=_value(drop_in, directive),
            shipped=_value(shipped, directive),
            state=state,
            reason=alone or _reason(state, accepted, denied),
            points=_points(directive),
            witnesses=witnesses,
        )


def _state(
    claimed: Sequence[Any], accepted: Sequence[Any], denied: Sequence[Any], *, alone: str | None, undecided: bool
) -> str:
    if alone:
        return "left alone"
    if denied:
        return "held back" if accepted else "refused"
    if undecided:
        return "undecided"
    return "tight" if claimed else "not claimed" if accepted else "refused"


def _reason(state: str, accepted: Sequence[dict[str, Any]], denied: Sequence[dict[str, Any]]) -> str:
    trial = accepted[0]["trial"] if accepted else ""
    unclaimed = sorted({item["standing"] for item in accepted} - {"enforced"})
    if state == "tight":
        also = f"; part of it is {' or '.join(unclaimed)} on this host" if unclaimed else ""
        return f"passed trial {trial} with all the rest; nothing is stricter{also}"
    if state == "not claimed":
        return f"in the drop-in, but {' or '.join(unclaimed)} on this host: not counted as tightened"
    if state == "undecided":
        return "the run stopped before it was decided"
    if state == "held back":
        return f"as strict as works: passed trial {trial} with all the rest"
    return "not in force: it broke the service" if denied else "beyond something that was refused"


def _witness(run: Run, directive: Directive, item: dict[str, Any], seen: dict[str, Observation]) -> Witness:
    observation = seen.get(item["trial"])
    journal = observation.journal if observation else ()
    lines = [f"{line.identifier}: {line.message}" for line in journal]
    file = run.store.trial_folder(item["trial"]) / FILE_NAME
    return Witness(
        label=Tightening.from_label(item["label"]).told,
        usual=directive.too_tight,
        tried=item["rung"] if item.get("rung") else f"denying {' '.join(item['items'])}",
        trial=item["trial"],
        reason=item["reason"],
        evidence=tuple(map(_cut, item["evidence"])),
        steps=tuple(
            Step(step.name, step.part, _cut(step.problem), step.duration_s)
            for step in (observation.steps if observation else ())
        ),
        log=tuple(map(_cut, lines[-MOST_LINES:])),
        kernel=tuple(map(_cut, (observation.kernel if observation else ())[-MOST_LINES:])),
        left_out_lines=max(0, len(lines) - MOST_LINES),
        command=shlex.join(["harness", "try", str(run.facts["scenario_path"]), "--with", str(file)]),
    )


def _changes(run: Run, known: Catalogue) -> Iterable[Change]:
    shipped, answer = parse_cat(run.facts["inspection"]["unit_text"]), parse(run.drop_in)
    for directive in known:
        before, after = _value(shipped, directive), _value(answer, directive)
        if before or after:
            yield _change(directive.name, before, after)
    for name in (name for name in LIMITS if known.get(name) is None):
        before, after = (" ".join(unit.values("Service", name)) for unit in (shipped, answer))
        if before or after:
            yield _change(name, before, after)


def _change(name: str, before: str, after: str) -> Change:
    """What the drop-in does not speak of stays as shipped."""
    if not after or _same(before, after):
        return Change(name, before, after or before, "same")
    return Change(name, before, after, "changed" if before else "added")


def _same(before: str, after: str) -> bool:
    spelling = {"true": "yes", "on": "yes", "1": "yes", "false": "no", "off": "no", "0": "no"}
    words = [sorted(spelling.get(word, word).lstrip("-") for word in text.split()) for text in (before, after)]
    return words[0] == words[1]


def _value(unit: UnitFile, directive: Directive) -> str:
    """What a unit sets, one line for each value that counts, "" when it says nothing of it."""
    lines = unit.lines("Service", *directive.keys)
    if not lines:
        return ""
    values = unit.values("Service", *directive.keys) if lines[0] == "" or len(lines) > 1 else lines
    if directive.name == "IPAddressDeny" and (allowed := unit.values("Service", "IPAddressAllow")):
        values = (*values, *(f"except {value}" for value in allowed))
    return "\n".join(values) or "(none)"


def link(directive: Directive) -> str:
    """Where the manual describes a directive."""
    page = directive.manual.partition("(")[0]
    return f"{MANUAL}/{page}.html#{directive.name}="


def _points(directive: Directive) -> int:
    return max([rung.points for rung in directive.rungs] + [sum(bundle.points for bundle in directive.bundles)])


def _by_directive(items: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        found.setdefault(item["directive"], []).append(item)
    return found


def _labelled(label: str) -> dict[str, Any]:
    return {"directive": Tightening.from_label(label).directive, "label": label}


def _cut(line: str) -> str:
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"
