"""Memory limits of real services: harness beside two rules of thumb, and 30 held-back runs at the recommended limits.

`python -m bench.limits [SCENARIO...]` tunes each scenario in full and prints one line each. Need is the smallest
MemoryMax= that was found to work without being slow; slack is (limit - need) / limit. KRR's rule is the highest peak
x 1.15, that of Kubernetes' VPA the 90 % quantile of the peaks x 1.15, both of the same runs. Google's Autopilot is
published with 23 % slack.
"""

import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.attempts import labels
from harness.judge.rules import judge
from harness.judge.verdict import Verdict
from harness.limits.found import Found
from harness.results.recommendation import Answer
from harness.scenario import Scenario, load
from harness.session import Options, tune
from harness.trial.pool import Pool
from harness.trial.run import Trial
from harness.unit import catalogue
from harness.unit.quantity import MIB

SCENARIOS = ("redis", "nginx", "postgresql", "asgi")
HELD_BACK_RUNS = 30
FACTOR = 1.15
AIM_SLACK = 0.15
HEADER = f"{'scenario':12} {'need':>8} {'harness':>8} {'slack':>6} {'KRR':>8} {'slack':>6} {'VPA':>8} {'slack':>6}"


def need_bytes(found: Found) -> float:
    """The smallest limit that worked: the knee where it lies above the cliff."""
    worked = [found.memory_cliff.worked if found.memory_cliff else None]
    if found.knee is not None and found.knee.failed is not None:
        worked.append(found.knee.worked)
    return max(value for value in worked if value is not None)


def held_back(answer: Answer, scenario: Scenario, folder: Path) -> list[Verdict]:
    """Runs of the whole recommendation with seeds that no other trial had."""
    other = scenario.model_copy(update={"seed": scenario.seed + 1_000_000})
    trials = [
        Trial(
            scenario=other,
            trial_id=f"{number:04d}",
            candidate_id="held-back",
            drop_in=answer.drop_in(),
            seed=other.seed + number,
            tightenings=labels(answer.result.accepted),
            folder=folder / f"{number:04d}",
        )
        for number in range(1, HELD_BACK_RUNS + 1)
    ]
    observations = Pool(1).run(trials, done=lambda observation: None)
    return [judge(other, observation, catalogue=catalogue.load()) for observation in observations]


def row(name: str, found: Found) -> str:
    """One line of the table, in MiB and percent."""
    need, limit = need_bytes(found), found.limits.memory_bytes or 0
    peaks = [run.peak_bytes for run in found.measured if run.peak_bytes is not None]
    krr = FACTOR * max(peaks)
    vpa = FACTOR * statistics.quantiles(peaks, n=10, method="inclusive")[-1]
    columns = "".join(f" {value / MIB:8.1f} {1 - need / value:6.0%}" for value in (limit, krr, vpa))
    return f"{name:12} {need / MIB:8.1f}{columns}"


def main() -> None:
    """Print the table."""
    names = sys.argv[1:] or list(SCENARIOS)
    print(f"{HEADER}   trials  failures at the limits (aim: slack of {AIM_SLACK:.0%}, none; Autopilot: 23 % slack)")
    for name in names:
        scenario = load(Path("scenarios") / f"{name}.toml")
        with TemporaryDirectory() as folder:
            answer, store = tune(scenario, Options(results=Path(folder)))
            found = answer.limits
            if found is None or found.limits.memory_bytes is None:
                print(f"{name:12} no MemoryMax=: {'; '.join(found.notes) if found else 'no limits'}", flush=True)
                continue
            verdicts = held_back(answer, scenario, store.folder / "held-back")
            failed = [verdict for verdict in verdicts if not verdict.passed]
            text = f"{len(failed)} of {len(verdicts)}" + "".join(f"; {verdict.reason}" for verdict in failed[:3])
            print(f"{row(name, found)}   {found.trials:6}  {text}", flush=True)
            values = " ".join(f"{key}={value}" for key, value in found.limits.settings())
            print(f"{'':12} {values}; {found.state.value}, {found.clean} clean runs", flush=True)


if __name__ == "__main__":
    main()
