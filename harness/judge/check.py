"""The judgement on a unit as it is: every directive with what holds of it, idle lines, contradictions, and a score."""

from collections.abc import Iterable
from dataclasses import dataclass

from harness.judge import score as scoring
from harness.judge.enforced import find
from harness.judge.holding import Finding, Hold, Part
from harness.judge.idle import Contradiction, contradictions, idle
from harness.judge.settings import Idle, Setting, in_effect, read
from harness.judge.tighter import tighter
from harness.unit.canary import Standing
from harness.unit.confined import Look

# How much of what a directive says may count in the score.
COUNTS = {Hold.ABSENT: 0.0, Hold.PARTLY: 0.5}


@dataclass(frozen=True)
class Row:
    """One directive: its value by the unit's lines, "" where it is not set, and what was found of it."""

    name: str
    value: str
    effect: str
    tighter: str
    finding: Finding
    manual: str


@dataclass(frozen=True)
class Check:
    """Everything that is said of a unit."""

    name: str
    rows: tuple[Row, ...]
    idle: tuple[Idle, ...]
    contradictions: tuple[Contradiction, ...]
    scored: tuple[scoring.Scored, ...]
    exposure: float | None
    running: bool
    processes: int
    reload_needed: bool
    systemd: int

    @property
    def score(self) -> int:
        """Points out of 100."""
        return scoring.total(self.scored)

    @property
    def not_enforced(self) -> tuple[Row, ...]:
        """Directives that are set and that the kernel, in part or altogether, does not hold the unit to."""
        return tuple(row for row in self.rows if row.finding.hold in (Hold.ABSENT, Hold.PARTLY))


def check(look: Look) -> Check:
    """Judge a look."""
    settings, written = read(look)
    findings = {name: _finding(setting, look) for name, setting in settings.items()}
    held = {name: COUNTS.get(finding.hold, 1.0) for name, finding in findings.items()}
    rows = (
        Row(
            name=name,
            value=_text(setting),
            effect=setting.directive.effect,
            tighter=tighter(in_effect(settings, name), look),
            finding=findings[name],
            manual=setting.directive.manual,
        )
        for name, setting in settings.items()
    )
    return Check(
        name=look.name,
        rows=tuple(rows),
        idle=tuple(_in_order([*written, *idle(settings, look), *_vacuous(settings, look)], look)),
        contradictions=tuple(contradictions(settings, look)),
        scored=scoring.score(settings, held, look.host.groups),
        exposure=look.exposure,
        running=look.running,
        processes=len(look.processes),
        reload_needed=look.reload_needed,
        systemd=look.host.version,
    )


def _text(setting: Setting) -> str:
    """The value as the unit writes it; an empty capability set is one, too."""
    if setting.directive.name == "CapabilityBoundingSet" and setting.lines and not any(setting.values):
        return "(empty)"
    return setting.value if setting.lines else ""


def _finding(setting: Setting, look: Look) -> Finding:
    """What the kernel shows; where nothing runs and canaries were run, that this host does not enforce it."""
    finding = find(setting, look)
    results = [result for result in look.canaries if result.directive == setting.directive.name]
    if not results or finding.hold not in (Hold.NOT_RUNNING, Hold.UNKNOWN):
        return finding
    if all(result.standing is Standing.VACUOUS for result in results):
        return Finding(Hold.ABSENT, (Part("", Hold.ABSENT, f"a canary shows: {results[0].detail}"),))
    if any(result.standing is Standing.ENFORCED for result in results):
        return Finding(finding.hold, (Part("", finding.hold, "machines of this host enforce it, as canaries show"),))
    return finding


def _vacuous(settings: dict[str, Setting], look: Look) -> Iterable[Idle]:
    """Lines that this host accepts and does not enforce, as its canaries show."""
    for name, setting in settings.items():
        results = [result for result in look.canaries if result.directive == name]
        if setting.lines and setting.confines and results and all(r.standing is Standing.VACUOUS for r in results):
            yield Idle(setting.lines[-1], f"vacuous here, as a canary shows: {results[0].detail}")


def _in_order(found: list[Idle], look: Look) -> list[Idle]:
    """In the order of the unit's lines, each line's words said once."""
    order = {id(line): at for at, line in enumerate(look.unit.assignments)}
    return sorted(dict.fromkeys(found), key=lambda each: order.get(id(each.line), 0))
