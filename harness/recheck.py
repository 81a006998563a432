"""What was accepted, tried again: whether it still works, and if not, which of its lines is to blame.

Every candidate is the accepted drop-in with some lines as they were before anything was tightened, so that what is
tried is what a person has, and not what a search of today would make of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from harness.attempts import Request
from harness.errors import BaselineError, UnitError
from harness.judge.baseline import Baseline
from harness.judge.rules import judge
from harness.judge.verdict import Verdict
from harness.limits.run import FORK_REJECTED, OUT_OF_MEMORY
from harness.results.accepted import Accepted
from harness.results.judgement import Culprit, Tries
from harness.search import run_as
from harness.search.sequential import MOST_TRIALS, Reliability
from harness.tune import Walk
from harness.unit.dropin import LIMITS
from harness.unit.tightening import Tightening

LEAST_TRIES = 3
MOST_CULPRITS = 3
# Lines that say nothing without the one they belong to.
_WITH = {"MemoryMax": ("MemorySwapMax",), "CPUQuota": ("CPUQuotaPeriodSec",)}
Lines = dict[str, tuple[str, ...]]
Steps = frozenset[Tightening]


@dataclass
class Recheck:
    """Trials of one accepted drop-in over `walk`, whose run it belongs to. `stopped` says that no more may be made.

    `exposure` is the highest that systemd reported of the accepted drop-in, None before it was tried; `rate` how often
    the service fails by itself, 0 where it never did.
    """

    walk: Walk
    accepted: Accepted
    stopped: Callable[[], bool] = lambda: False
    baseline: Baseline | None = field(default=None, init=False)
    exposure: float | None = field(default=None, init=False)
    rate: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        if self.walk.scenario.run_as:
            # Another user is no tightening: what it brings is compared with, and stays when lines are set back.
            self.walk.start = replace(self.walk.start, run_as=run_as.read_back(self.accepted.drop_in))
        self._open = _by_directive(self.walk.render(()))
        self._accepted = _by_directive(self.accepted.drop_in)

    @property
    def tries(self) -> int:
        """How often a candidate must pass before it counts as working."""
        return max(LEAST_TRIES, self.walk.scenario.confirm_runs)

    def unbaselined(self) -> str:
        """Try the service without any tightening: why it does not pass its own scenario, "" when it does."""
        try:
            observations, reliability = self.walk.plain_baseline()
        except BaselineError as error:
            return error.message
        before = Reliability(**(self.accepted.recommendation.get("baseline") or {"runs": 0, "failures": 0}))
        # What warned at times was known to the search, and is not to a night.
        failures = reliability.failures + before.failures + before.novel
        known = Reliability(reliability.runs + before.runs, failures)
        self.rate = known.rate if known.flaky else 0.0
        self.baseline = Baseline.of(observations)
        self.walk.attempts.patience_s = self.baseline.patience_s(self.walk.scenario)
        return ""

    def as_accepted(self) -> Tries:
        """Try the accepted drop-in as it stands, more often where it passes only sometimes."""
        return self._tries((), "accepted", self.tries)

    def culprits(self, failed: Tries) -> tuple[Culprit, ...]:
        """Lines of a drop-in that failed without which the rest works, the most telling first; none where not found.

        Directives that the failure points to are tried first. Between the accepted drop-in, which fails, and none at
        all, which works, the one whose absence turns it is found by halving, and again beside it while need be.
        """
        order = self._suspected_first(failed)
        blamed: list[str] = []
        reason, trial = failed.reason, failed.trial
        found: list[Culprit] = []
        while order and len(blamed) < MOST_CULPRITS and not self.stopped():
            count = self._fewest(order, blamed)
            if count == 0:
                break
            blamed.append(order[count - 1])
            order = order[: count - 1]
            rest = self._tries(blamed, "without", self.tries)
            found.append(Culprit(blamed[-1], self._accepted[blamed[-1]], reason, trial, rest))
            if rest.works:
                return tuple(found)
            reason, trial = rest.reason, rest.trial
        return ()

    def gained(
        self, labels: Sequence[str], closed: Sequence[str], render: Callable[[Steps], str]
    ) -> tuple[tuple[str, ...], Tries]:
        """Try what a search tightened beyond what was accepted, all together: what of it counts, and how it went.

        `labels` are tightenings that it gained, `closed` those of places that it found to be used no longer; `render`
        makes the drop-in of a candidate as it did. What the accepted drop-in has in effect already, since it never left
        open what is closed by it, does not count.
        """
        accepted = frozenset(map(Tightening.from_label, self.accepted.labels))
        steps = frozenset(map(Tightening.from_label, labels))
        there = set(self.accepted.without_limits.splitlines())
        try:
            whole = set(render(accepted | steps).splitlines())
            counting = [step for step in sorted(steps) if self._tells(render, accepted | steps, step)]
            candidate = accepted | frozenset(counting)
            text = render(candidate)
        except UnitError:
            return (), Tries()  # what was accepted is no candidate of this systemd
        names = [step.label for step in counting]
        names += [label for label in closed if any(line.startswith(_key(label)) for line in there - whole)]
        if not names:
            return (), Tries()
        limits = "".join(f"{line}\n" for key in LIMITS for line in self._accepted.get(key, ()))
        request = Request(text + limits, tuple(sorted(key.label for key in candidate)), "tighter")
        return tuple(names), self._judge(request, self.tries)

    def _tells(self, render: Callable[[Steps], str], candidate: Steps, step: Tightening) -> bool:
        """Whether the accepted drop-in lacks what a step brings, or leaves open what it closes."""
        there = set(self.accepted.without_limits.splitlines())
        whole, less = (set(render(steps).splitlines()) for steps in (candidate, candidate - {step}))
        return bool((whole - less) - there or (less - whole) & there)

    def _suspected_first(self, failed: Tries) -> list[str]:
        told = failed.reason
        limits = {
            "MemoryMax": "lack of memory" in told or "oom-kill" in told or OUT_OF_MEMORY in told,
            "TasksMax": "fork(s) rejected" in told or FORK_REJECTED in told,
        }
        pointed = [name for name, blamed in limits.items() if blamed]
        pointed += [label.partition("=")[0].partition(" ")[0] for label in failed.suspects]
        belonging = {name for names in _WITH.values() for name in names}
        keys = [key for key, lines in self._accepted.items() if key not in belonging and lines != self._open.get(key)]
        return sorted(keys, key=lambda key: (pointed.index(key) if key in pointed else len(pointed), key not in LIMITS))

    def _fewest(self, order: Sequence[str], blamed: Sequence[str]) -> int:
        """Fewest directives from the front of `order` that must go for the rest to work; 0 where none need."""
        low, high, step = 0, len(order), 1
        while low + step < high and not self.stopped():  # the front is most likely: 1, 2, 4, 8 …
            if self._works([*blamed, *order[: low + step]]):
                high = low + step
                break
            low, step = low + step, 2 * step
        while high - low > 1 and not self.stopped():
            middle = (low + high) // 2
            if self._works([*blamed, *order[:middle]]):
                high = middle
            else:
                low = middle
        return 0 if self.stopped() else high

    def _works(self, without: Sequence[str]) -> bool:
        tries = self._tries(without, "without", 1)
        return tries.works if self.rate else tries.passed > 0

    def _tries(self, without: Sequence[str], purpose: str, least: int) -> Tries:
        keys = {key for name in without for key in (name, *_WITH.get(name, ()))}
        gone = {key.partition("=")[0] for key in keys}
        names = tuple(label for label in self.accepted.labels if label.partition("=")[0].partition(" ")[0] not in gone)
        text = "[Service]\n"
        for key in dict.fromkeys([*self._accepted, *self._open]):
            lines = self._open.get(key, ()) if key in keys else self._accepted.get(key, ())
            text += "".join(f"{line}\n" for line in lines)
        return self._judge(Request(text, names, purpose), least)

    def _judge(self, request: Request, least: int) -> Tries:
        """Try until it is clear what the trials say: at least so often, at most twice that, or as the test needs.

        One after the other: limits were found that way, and side by side the service has less than it was given.
        """
        self.walk.heard(request.purpose, None)
        total, most = Tries(rate=self.rate, least=least), MOST_TRIALS if self.rate else 2 * least
        asked = 0
        while asked < most and not self.stopped():
            asked += 1
            total = _sum(total, self._verdict(request))
            # A lost machine is no try.
            if total.count >= least and (total.clear or (least == 1 and not self.rate)):
                break
        return total

    def _verdict(self, request: Request) -> Verdict:
        walk = self.walk
        if self.baseline is not None:
            ((verdict, observation),) = walk.judged([request], self.baseline)
        else:
            (observation,) = walk.attempts.run([request])
            verdict = judge(walk.scenario, observation, catalogue=walk.catalogue)
        if request.purpose == "accepted" and observation.exposure is not None:
            self.exposure = max(observation.exposure, self.exposure or 0.0)
        return verdict


def _sum(tries: Tries, verdict: Verdict) -> Tries:
    """One more; a lost machine says nothing."""
    if verdict.passed:
        return replace(tries, passed=tries.passed + 1)
    if not verdict.failed:
        return tries
    if tries.failed:
        return replace(tries, failed=tries.failed + 1)
    return replace(tries, failed=1, reason=verdict.reason, trial=verdict.trial_id, suspects=verdict.suspects)


def _key(label: str) -> str:
    """How lines of a label's directive begin."""
    return label.partition("=")[0].partition(" ")[0] + "="


def _by_directive(drop_in: str) -> Lines:
    """Lines of the [Service] section by directive, in order."""
    found: Lines = {}
    for line in drop_in.splitlines():
        key, assigns, _ = line.partition("=")
        if assigns and not line.startswith(("#", "[")):
            found[key] = (*found.get(key, ()), line)
    return found
