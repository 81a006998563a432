"""Running candidates and judging what came of them: every verdict is kept, and what may be chance is tried again."""

from collections.abc import Sequence

from harness.attempts import Attempts, Request
from harness.inspection import Inspection
from harness.judge.baseline import Baseline
from harness.judge.doubt import Doubts
from harness.judge.rules import judge
from harness.judge.verdict import Verdict
from harness.observation import Observation
from harness.scenario import Scenario
from harness.unit.catalogue import Catalogue

Judged = tuple[Verdict, Observation]


class Judging:
    """The verdicts of one walk. `verdicts` are all that were ever given, by trial."""

    def __init__(self, scenario: Scenario, inspection: Inspection, attempts: Attempts, catalogue: Catalogue) -> None:
        self.verdicts: dict[str, Verdict] = {}
        self._scenario = scenario
        self._groups = inspection.syscall_groups
        self._attempts = attempts
        self._catalogue = catalogue
        self._doubts = Doubts()

    def keep(self, verdicts: Sequence[Verdict]) -> None:
        """Take in verdicts that were given elsewhere."""
        self.verdicts |= {verdict.trial_id: verdict for verdict in verdicts if verdict.trial_id}

    def known(self, baseline: Baseline, *, said: frozenset[str]) -> Baseline:
        """The baseline with what is known by now, and with templates that further runs `said`."""
        return self._doubts.known(baseline, said=said)

    def verdict(self, item: Observation, baseline: Baseline) -> Verdict:
        """Judge one observation, without a second thought."""
        told = judge(self._scenario, item, catalogue=self._catalogue, baseline=baseline, groups=self._groups)
        self.keep([told])
        return told

    def run(
        self, requests: Sequence[Request], baseline: Baseline, *, plain: Request, said: frozenset[str]
    ) -> list[Judged]:
        """Run and judge, in order.

        What was only too slow, or only glimpsed, is tried again beside a run with nothing tightened, which `plain` asks
        for, and counts only if it is so once more, against that one too: another load may have come over the host since
        the baseline. What only stayed away is, too, until it is known that it does not by chance.
        """
        baseline = self.known(baseline, said=said)
        results = self._all(self._attempts.run(requests), baseline)
        doubtful = [number for number, (verdict, _) in enumerate(results) if self._doubts.about(verdict)]
        if not doubtful:
            return results
        *again, bare = self._attempts.run([*(requests[number] for number in doubtful), plain])
        if judge(self._scenario, bare, catalogue=self._catalogue).passed:
            undone = judge(self._scenario, bare, catalogue=self._catalogue, baseline=baseline)
            for number, (verdict, _) in zip(doubtful, self._all(again, baseline), strict=True):
                self._doubts.learn(results[number][0], verdict, undone)
            baseline = self.known(baseline.slowed_by(bare), said=said)
        anew = dict(zip(doubtful, self._all(again, baseline), strict=True))
        return [anew.get(number, result) for number, result in enumerate(results)]

    def _all(self, observations: Sequence[Observation], baseline: Baseline) -> list[Judged]:
        return [(self.verdict(item, baseline), item) for item in observations]
