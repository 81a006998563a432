"""Canaries: what is probed of a directive, what the two runs of a probe mean, and which of them speak for a tightening.

The probes are rows of `canaries.toml`; `machine/canaries.py` runs them. A probe says whether what a directive promises
holds, once in a service under the directive and once in one without it: only a difference shows that it is enforced.
"""

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any

from harness.unit import catalogue, dropin
from harness.unit.catalogue import Directive
from harness.unit.itemset import OTHER
from harness.unit.start import Start, StartKind
from harness.unit.tightening import LeftOut, Offer, Tightening


class Standing(Enum):
    """Whether a directive is enforced in the machines of this host; only ENFORCED counts as tightened."""

    ENFORCED = "enforced"  # holds under it, and not without
    ALREADY = "already"  # holds both ways: the machine has it so by itself
    VACUOUS = "vacuous"  # does not hold under it, or systemd says that it ignores it
    UNKNOWN = "unknown"  # no probe is possible here, or the probe failed


@dataclass(frozen=True)
class CanaryResult:
    """What one canary found; `rung` or `items` is "" or empty where it speaks for the whole directive.

    `part` names the part of a directive that is made of several.
    """

    directive: str
    standing: Standing
    detail: str = ""
    rung: str = ""
    items: tuple[str, ...] = ()
    part: str = ""

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `from_json` takes."""
        return {
            "directive": self.directive,
            "rung": self.rung,
            "items": list(self.items),
            "part": self.part,
            "standing": self.standing.value,
            "detail": self.detail,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "CanaryResult":
        """The result that `to_json` wrote down."""
        standing, items = Standing(data["standing"]), tuple(data["items"])
        return cls(data["directive"], standing, data["detail"], data["rung"], items, data["part"])


class Answer(Enum):
    """What a probe says: its exit status. Any other, or a signal, is a failure of the probe itself."""

    HOLDS = 40
    DOES_NOT_HOLD = 41
    CANNOT_TELL = 42


@dataclass(frozen=True)
class Run:
    """One run of a probe: its answer, None when it gave none, and what it printed, or else why there is none.

    `ignored` is what systemd logged of ignoring a line of the unit.
    """

    answer: Answer | None
    said: str = ""
    ignored: str = ""


@dataclass(frozen=True)
class Canary:
    """One probe of one directive, as in `canaries.toml`. `under` and `without` are the lines of the two services.

    `version` is the first systemd that knows all of it. `script` and `subject` are parts of a `program`; the subject,
    if there is one, gets the lines in a service of its own, and the script looks at what is left of it.
    """

    name: str
    directive: str
    rung: str
    items: tuple[str, ...]
    part: str
    version: int
    script: str
    arguments: tuple[str, ...]
    under: tuple[str, ...]
    without: tuple[str, ...]
    shows: str
    subject: str = ""
    untold: str = ""

    def result(self, standing: Standing, detail: str) -> CanaryResult:
        """The result of this canary."""
        return CanaryResult(self.directive, standing, detail, self.rung, self.items, self.part)

    def compare(self, under: Run, without: Run) -> CanaryResult:
        """What the run under the directive and the one without it mean together."""
        standing, detail = _compared(self.shows, under, without)
        notes = [without.said if standing is not Standing.UNKNOWN else "", under.ignored, self._untold()]
        return self.result(standing, "; ".join([detail, *filter(None, notes)]))

    def _untold(self) -> str:
        return f"not probed: {self.untold}" if self.untold else ""


def _compared(shows: str, under: Run, without: Run) -> tuple[Standing, str]:
    for run, where in ((under, "under it"), (without, "without it")):
        if run.answer is Answer.CANNOT_TELL:
            return Standing.UNKNOWN, run.said or "the probe cannot tell here"
        if run.answer is None and not (run is without and under.answer is Answer.DOES_NOT_HOLD):
            return Standing.UNKNOWN, f"the probe failed {where}: {run.said}"
    if under.answer is Answer.DOES_NOT_HOLD:
        return Standing.VACUOUS, f"not so under it: {shows}"
    if without.answer is Answer.DOES_NOT_HOLD:
        # The difference was seen, so a line that is ignored is not what makes it.
        return Standing.ENFORCED, shows
    if under.ignored:
        return Standing.VACUOUS, f"systemd ignores it, though without it as well: {shows}"
    return Standing.ALREADY, f"without it as well: {shows}"


def of_tightening(results: Iterable[CanaryResult], tightening: Tightening) -> tuple[CanaryResult, ...]:
    """The results that speak for a tightening: of its rung or its items, else of the directive."""
    own = [result for result in results if result.directive == tightening.directive]
    named = {item for result in own for item in result.items}
    # An item without a bundle of its own is one of those that OTHER stands for.
    items = {item if item in named else OTHER for item in tightening.items}
    if items:
        close = [result for result in own if not items.isdisjoint(result.items)]
    else:
        close = [result for result in own if result.rung == tightening.rung != ""]
    whole = [result for result in own if not result.rung and not result.items]
    # A single system call is refused by the same mechanism as the groups that are probed.
    alike = [result for result in own if result.items] if items else []
    return tuple(close or whole or alike)


def standing_of(results: Iterable[CanaryResult], tightening: Tightening) -> Standing:
    """The standing of a tightening.

    A directive of several parts is enforced when one of them is seen to be; a tightening that spans several canaries'
    items is only when all of them are. UNKNOWN when nothing speaks for it.
    """
    parts: dict[tuple[str, tuple[str, ...]], list[Standing]] = {}
    for result in of_tightening(results, tightening):
        parts.setdefault((result.rung, result.items), []).append(result.standing)
    whole = [_first(found, _BEST) for found in parts.values()]
    return _first(whole, _WORST)


def enforceable(
    known: Sequence[Offer], canaries: Sequence[CanaryResult]
) -> tuple[tuple[Offer, ...], tuple[LeftOut, ...]]:
    """The offers without those that this host's machines accept and do not enforce, and what is left out with why."""
    vacuous = {
        offer.tightening for offer in known if canaries and standing_of(canaries, offer.tightening) is Standing.VACUOUS
    }
    kept = tuple(offer for offer in known if not vacuous & {offer.tightening, *offer.requires})
    reasons = []
    for tightening in sorted(vacuous):
        details = "; ".join(result.detail for result in of_tightening(canaries, tightening))
        reasons.append(LeftOut(tightening.directive, f"{tightening.label}: accepted and not enforced here ({details})"))
    return kept, tuple(reasons)


_BEST = (Standing.ENFORCED, Standing.VACUOUS, Standing.ALREADY, Standing.UNKNOWN)
_WORST = (Standing.VACUOUS, Standing.UNKNOWN, Standing.ALREADY, Standing.ENFORCED)


def _first(found: Sequence[Standing], order: Sequence[Standing]) -> Standing:
    return next((standing for standing in order if standing in found), Standing.UNKNOWN)


@cache
def _rows() -> dict[str, Any]:
    return tomllib.loads((files("harness.unit") / "canaries.toml").read_text(encoding="utf-8"))


def helper() -> str:
    """The script that runs once before all probes."""
    text: str = _rows()["helper"]
    return text


def program(plan: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """A Python program that runs scripts, each in a child: `plan` gives key, script and arguments of each.

    It prints a line for each of key, exit status or minus the signal, and what the script said, with tabs between.
    """
    literal = [(key, script, list(arguments)) for key, script, arguments in plan]
    return f"{_rows()['prelude']}\n\nPLAN = {literal!r}\n{_rows()['runner']}"


@cache
def load() -> tuple[Canary, ...]:
    """The canaries shipped with the package, in the order of their rows."""
    return tuple(canary for row in _rows()["canary"] for canary in _canaries(row))


def _canaries(row: dict[str, Any]) -> Iterator[Canary]:
    directive = catalogue.load()[row["directive"]]
    if row.get("each_bundle"):
        for bundle in directive.bundles:
            yield _canary({**row, "items": bundle.items, "arguments": bundle.items}, directive)
    else:
        yield _canary(row, directive)


def _canary(row: dict[str, Any], directive: Directive) -> Canary:
    probes: dict[str, str] = _rows()["probes"]
    rung, items = row.get("rung", ""), tuple(row.get("items", ()))
    both = tuple(row.get("both", ()))
    version = max(directive.version, directive.rung(rung).version if rung else 0)
    return Canary(
        name=_name(directive.name, rung, items, row.get("part", "")),
        directive=directive.name,
        rung=rung,
        items=items,
        part=row.get("part", ""),
        version=version,
        script=probes[row["probe"]],
        arguments=tuple(row.get("arguments", ())),
        under=(*both, *(row.get("lines") or _rendered(directive, rung, items)), *row.get("also", ())),
        without=(*both, *row.get("without", ())),
        shows=row["shows"],
        subject=probes[row["subject"]] if "subject" in row else "",
        untold=row.get("untold", ""),
    )


def _name(directive: str, rung: str, items: tuple[str, ...], part: str) -> str:
    """A name that can be part of a unit's, and that is another for every canary."""
    # The first item of a bundle is in no other.
    words = " ".join([directive, rung, *items[:1], part]).replace("@", "").replace("/", "").split()
    return "-".join(words).replace("_", "-").lower()


def _rendered(directive: Directive, rung: str, items: tuple[str, ...]) -> tuple[str, ...]:
    """The lines that the search itself writes for this step."""
    text = dropin.render([Tightening(directive.name, rung, items)], Start(StartKind.SHIPPED))
    return tuple(text.partition("[Service]\n")[2].splitlines())
