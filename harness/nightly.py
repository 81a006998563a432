"""A night: every scenario once, in a random order, compared with what a person accepted for it.

What was accepted is tried as it stands first. Where that works and nothing around the service has changed, a search
would ask the same questions and hear the same answers, so the night goes on to the next one. Else the service is tuned
anew, and a difference counts only when trials of just that difference confirm it (docs/decisions/0011).
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from harness import apart, scenario
from harness.errors import BaselineError, HarnessError, Interrupted
from harness.recheck import Recheck
from harness.results import accepted as accepted_file
from harness.results import nights
from harness.results.accepted import Accepted, limits_set
from harness.results.compare import causes, differences, moves
from harness.results.judgement import Evidence, Word, judge_night
from harness.results.nights import Night, Service
from harness.results.recommendation import Answer
from harness.scenario import Scenario
from harness.session import Listener, Options, Session, opened, tune
from harness.tune import Only
from harness.unit import dropin

CHECKED = "checked"


class Search(Enum):
    """When a night tunes a service anew, beside trying what was accepted."""

    CHANGED = "changed"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class Plan:
    """What the user may say about a night. Minutes of None are no deadline; `keep` counts nights.

    A `search` of "changed" is made where something around the service has changed, or it no longer works. `seed` draws
    the order, None a new one.
    """

    results: Path = Path("results")
    minutes: float | None = None
    minutes_each: float | None = None
    workers: int = 0
    seed: int | None = None
    keep: int = 30
    search: Search = Search.CHANGED


@dataclass(frozen=True)
class Watcher:
    """Who is told how a night goes on: before each service, after it, and of each trial by `session`."""

    begins: Callable[[str, int, int], None] = lambda name, number, count: None
    ends: Callable[[Service], None] = lambda service: None
    session: Listener = field(default_factory=Listener)


def run(files: Sequence[Path], plan: Plan, watcher: Watcher | None = None) -> Night:
    """Spend a night on scenario files, and write `nightly.json` after each; old nights are deleted at the end.

    A service that cannot be tried is undecided, and says why. Raises UsageError when another night is under way.
    """
    watcher = watcher or Watcher()
    with nights.lock(plan.results):
        night = _begin(files, plan)
        began = time.monotonic()
        by_name = {file.stem: file for file in files}
        for number, name in enumerate(night.order, 1):
            watcher.begins(name, number, len(night.order))
            try:
                service = _one(by_name[name], night, replace(plan, minutes=_left(plan.minutes, began)), watcher.session)
            except (Interrupted, KeyboardInterrupt):
                night = replace(night, stopped="stopped by Ctrl-C", duration_s=round(time.monotonic() - began, 1))
                break
            services = (*night.services, service)
            night = replace(night, services=services, duration_s=round(time.monotonic() - began, 1))
            night.write(plan.results)
            watcher.ends(service)
        night.write(plan.results)
        nights.prune(plan.results, plan.keep, spare=night.name)
    return night


def _begin(files: Sequence[Path], plan: Plan) -> Night:
    now = datetime.now(UTC)
    seed = random.SystemRandom().randrange(2**32) if plan.seed is None else plan.seed
    order = sorted(file.stem for file in files)
    random.Random(seed).shuffle(order)
    name, number = now.strftime("%Y%m%d-%H%M%S"), 1
    while (nights.folder_of(plan.results) / name).exists():
        number += 1
        name = f"{now.strftime('%Y%m%d-%H%M%S')}-{number}"
    (nights.folder_of(plan.results) / name).mkdir(parents=True)
    return Night(name, now.isoformat(timespec="seconds"), 0.0, seed, tuple(order))


def _left(minutes: float | None, began: float) -> float | None:
    return None if minutes is None else minutes - (time.monotonic() - began) / 60


def _one(file: Path, night: Night, plan: Plan, listener: Listener) -> Service:
    """What the night says of one scenario."""
    empty = Service(file.stem, "", Word.UNDECIDED, "")
    if plan.minutes is not None and plan.minutes <= 0:
        return replace(empty, reason="not tried: the night's deadline has passed")
    try:
        made = scenario.load(file)
        known = accepted_file.read(plan.results, made.name)
        return _Evening(made, known, plan, listener, nights.folder_of(plan.results) / night.name).service()
    except Interrupted:
        raise
    except HarnessError as error:
        return replace(empty, reason=f"could not be tried: {error.message}")
    except OSError as error:
        return replace(empty, reason=f"could not be tried: {error}")
    except Exception as error:  # whatever one service brings with it, the others have their night
        return replace(empty, reason=f"could not be tried: {type(error).__name__}: {error}")


class _Evening:
    """One service in one night."""

    def __init__(self, made: Scenario, accepted: Accepted | None, plan: Plan, listener: Listener, folder: Path) -> None:
        self.scenario = made
        self.accepted = accepted
        self.plan = plan
        self.listener = listener
        self.folder = folder
        self.began = time.monotonic()
        self.evidence = Evidence(accepted)
        self.run = ""
        self.trials = 0
        self.exposure: float | None = None

    def service(self) -> Service:
        """Try it, search where need be, and judge."""
        with opened(self.scenario, self._options(), self.listener) as session:
            self.run = session.store.folder.name
            if self.accepted is None or self._needs_search(session, self.accepted):
                self._search(session)
            else:
                session.store.update(state=CHECKED)
            if session.pool.stopped:
                raise Interrupted("stopped by Ctrl-C")
            self.trials = sum(1 for _ in session.store.observations())
        self._fit_again()
        if self.evidence.now is not None:
            apart.write_page(self.folder / self.run)
        return self._told()

    def _options(self) -> Options:
        return Options(self.folder, self.plan.workers, max_minutes=self._minutes())

    def _minutes(self) -> float | None:
        """Minutes that the service may still take."""
        left = [_left(most, self.began) for most in (self.plan.minutes, self.plan.minutes_each)]
        return min((minutes for minutes in left if minutes is not None), default=None)

    def _expired(self) -> bool:
        minutes = self._minutes()
        return minutes is not None and minutes <= 0

    def _recheck(self, session: Session, accepted: Accepted) -> Recheck:
        return Recheck(session.walk(), accepted, lambda: session.pool.stopped or self._expired())

    def _needs_search(self, session: Session, accepted: Accepted) -> bool:
        """Try what was accepted; whether there is something that only a search can tell."""
        recheck = self._recheck(session, accepted)
        changes = tuple(causes(accepted, session.store.facts))
        unbaselined = recheck.unbaselined()
        tries = recheck.as_accepted()
        culprits = recheck.culprits(tries) if tries.broken and not unbaselined else ()
        self.exposure = recheck.exposure
        self.evidence = replace(self.evidence, changes=changes, unbaselined=unbaselined, tries=tries, culprits=culprits)
        wanted = bool(changes) or not tries.works or self.plan.search is Search.ALWAYS
        return wanted and not unbaselined and self.plan.search is not Search.NEVER

    def _search(self, session: Session) -> None:
        timed = replace(session, options=replace(session.options, max_minutes=self._minutes()))
        try:
            answer = timed.finish()
        except Interrupted:
            raise
        except HarnessError as error:
            unbaselined = error.message if isinstance(error, BaselineError) else ""
            self.evidence = replace(self.evidence, problem=error.message, unbaselined=unbaselined)
            return
        now = answer.to_json()
        problem = "" if answer.is_tight else f"tonight's search is {answer.state} ({answer.stop})"
        self.exposure = answer.confirmation.exposure
        self.evidence = replace(self.evidence, now=now, problem=problem)
        if self.accepted is not None and self.evidence.tries.works and not problem:
            self._try_gained(session, self.accepted, answer, now)

    def _try_gained(self, session: Session, accepted: Accepted, answer: Answer, now: dict[str, Any]) -> None:
        found = differences(accepted.recommendation, now)
        labels, closed = ([item.what for item in found if item.change == change] for change in ("gained", "closed"))
        if not labels and not closed:
            return
        recheck = self._recheck(session, accepted)
        recheck.unbaselined()  # stored: only its facts are wanted
        gained, tries = recheck.gained(
            labels, closed, lambda keys: dropin.render(keys, answer.start, needs=answer.needs)
        )
        self.evidence = replace(self.evidence, gained=gained, tighter=tries)

    def _fit_again(self) -> None:
        """Limits that moved are fitted a second time: only what both say counts."""
        evidence, accepted = self.evidence, self.accepted
        if accepted is None or evidence.now is None or not evidence.tries.works or self._expired():
            return
        if moves(accepted.recommendation, evidence.now):
            options = replace(self._options(), only=Only.LIMITS, fresh=True)
            try:
                answer, store = tune(self.scenario, options, self.listener)
            except Interrupted:
                raise
            except HarnessError:
                return
            self.trials += sum(1 for _ in store.observations())
            self.evidence = replace(evidence, again=answer.to_json())

    def _told(self) -> Service:
        judged, evidence, accepted = judge_night(self.evidence), self.evidence, self.accepted
        before = accepted.recommendation if accepted is not None else {}
        limits = limits_set(evidence.now if evidence.now is not None else before)
        return Service(
            scenario=self.scenario.name,
            unit=self.scenario.unit,
            word=judged.word,
            reason=judged.reason,
            causes=evidence.changes,
            culprits=tuple(line for item in evidence.culprits for line in item.lines),
            differences=tuple(map(str, judged.differences)),
            run=self.run,
            accepted_at=accepted.accepted_at if accepted is not None else "",
            exposure_accepted=before.get("exposure_after"),
            exposure=self.exposure,
            limits=tuple(
                {key: item[key] for key in ("directive", "value", "number") if key in item} for item in limits
            ),
            trials=self.trials,
            duration_s=round(time.monotonic() - self.began, 1),
        )
