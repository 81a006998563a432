"""Memory limits of real services: harness beside two rules of thumb, and 30 held-back runs at the recommended limits.

`python -m bench.limits [--results FOLDER] [--held-back N] [SCENARIO...]` tunes each scenario in full and prints a line
each. With a folder all is kept there, and what is there already is not run again. Need is the smallest MemoryMax= that
was found to work without being slow; slack is (limit - need) / limit. KRR's rule is the highest peak x 1.15, that of
Kubernetes' VPA the 90 % quantile of the peaks x 1.15, both of the same runs. Google's Autopilot is published with 23 %
slack. A held-back run fails by its start, its steps, kills, refused forks and its stop, not by its log or its speed.
"""

import argparse
import hashlib
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import samples
from harness.attempts import labels
from harness.judge.rules import judge
from harness.judge.verdict import Verdict
from harness.limits.found import Found
from harness.limits.limitset import LimitSet
from harness.limits.run import Cause, read
from harness.observation import Observation
from harness.results.recommendation import Answer
from harness.results.store import Store
from harness.scenario import Scenario, load
from harness.session import Options, tune
from harness.stored import think_again
from harness.trial.pool import Pool
from harness.trial.run import Trial
from harness.unit import catalogue
from harness.unit.quantity import MIB

SCENARIOS = ("redis", "nginx", "postgresql", "asgi")
HELD_BACK_RUNS = 30
OTHER_SEED = 1_000_000
FACTOR = 1.15
AIM_SLACK = 0.15
HEADER = f"{'scenario':12} {'need':>8} {'harness':>8} {'slack':>6} {'KRR':>8} {'slack':>6} {'VPA':>8} {'slack':>6}"


def need_bytes(found: Found) -> float:
    """The smallest limit that worked, the knee where it lies above the cliff; what failed, where only the limit did.

    The limit itself, where nothing failed.
    """
    known = []
    for bracket in (found.memory_cliff, found.knee):
        if bracket is not None and bracket.failed is not None:
            tried = bracket.worked is not None and bracket.worked != found.limits.memory_bytes
            known.append(bracket.worked if tried else bracket.failed)
    return max((value for value in known if value is not None), default=found.limits.memory_bytes or 0)


def answered(scenario: Scenario, results: Path) -> tuple[Answer, Store]:
    """The newest finished run in `results`, thought over again; a new one, or the rest of one, where there is none."""
    for file in sorted(results.glob(f"{scenario.name}-*/run.json"), reverse=True):
        store = Store.open(file.parent)
        if store.facts["state"] == "done" and store.facts["identity"] == scenario.identity():
            return think_again(store.folder)
    return tune(scenario, Options(results=results))


def held_back(answer: Answer, scenario: Scenario, folder: Path, *, runs: int) -> list[tuple[Verdict, Cause]]:
    """Runs of the whole recommendation with seeds that no other trial had; what failed, and for want of what."""
    folder /= hashlib.sha256(answer.drop_in().encode()).hexdigest()[:12]  # of this drop-in, and no other
    folder.mkdir(exist_ok=True, parents=True)
    kept = folder / "observations.jsonl"
    known = [Observation.from_json(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    trials = [
        Trial(
            scenario=scenario,
            trial_id=f"{number:04d}",
            candidate_id="held-back",
            drop_in=answer.drop_in(),
            seed=scenario.seed + OTHER_SEED + number,
            tightenings=labels(answer.result.accepted),
            sampled=True,
            folder=folder / f"{number:04d}",
        )
        for number in range(len(known) + 1, runs + 1)
    ]
    with kept.open("a") as file:

        def keep(observation: Observation) -> None:
            file.write(observation.to_json() + "\n")
            file.flush()

        observations = known + Pool(1).run(trials, done=keep)
    judged = []
    for observation in observations:
        verdict = judge(scenario, observation, catalogue=catalogue.load())
        frame = samples.read(folder / observation.trial_id)
        judged.append((verdict, read(observation, verdict, frame, LimitSet()).cause))
    return judged


def row(name: str, found: Found) -> str:
    """One line of the table, in MiB and percent."""
    need, limit = need_bytes(found), found.limits.memory_bytes or 0
    peaks = [run.peak_bytes for run in found.measured if run.peak_bytes is not None]
    krr = FACTOR * max(peaks)
    vpa = FACTOR * statistics.quantiles(peaks, n=10, method="inclusive")[-1]
    columns = "".join(f" {value / MIB:8.1f} {1 - need / value:6.0%}" for value in (limit, krr, vpa))
    return f"{name:12} {need / MIB:8.1f}{columns}"


def report(name: str, results: Path, runs: int) -> None:
    """Tune, hold back, and print what came out."""
    scenario = load(Path("scenarios") / f"{name}.toml")
    answer, store = answered(scenario, results)
    found = answer.limits
    if found is None or found.limits.memory_bytes is None:
        print(f"{name:12} no MemoryMax=: {'; '.join(found.notes) if found else 'no limits'}", flush=True)
        return
    judged = held_back(answer, scenario, store.folder / "held-back", runs=runs)
    failed = [f"{verdict.reason} ({cause.value})" for verdict, cause in judged if not verdict.passed]
    text = "; ".join([f"{len(failed)} of {len(judged)}", *failed[:3]])
    print(f"{row(name, found)}   {found.trials:6}  {text}", flush=True)
    values = " ".join(f"{key}={value}" for key, value in found.limits.settings())
    print(f"{'':12} {values}; {found.state.value}, {found.clean} clean runs", flush=True)
    for note in found.notes:
        print(f"{'':12} {note}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="keep the runs in this folder (default: a temporary one)")
    parser.add_argument("scenario", nargs="*", default=list(SCENARIOS))
    parser.add_argument("--held-back", type=int, default=HELD_BACK_RUNS, help="runs at the limits")
    given = parser.parse_args()
    print(f"{HEADER}   trials  failures at the limits (aim: slack of {AIM_SLACK:.0%}, none; Autopilot: 23 % slack)")
    with TemporaryDirectory() as folder:
        for name in given.scenario:
            report(name, given.results or Path(folder), given.held_back)


if __name__ == "__main__":
    main()
