"""Mean trials of the search on made-up services, beside the figures it is held against.

    python bench/search.py

Each row is one size of problem and one way to search it; `reference` is the mean that the project's notes on searching
give for it (in rounds where two machines work side by side). `search only` leaves out what the reference leaves out
too: the trials that repeat a refusal and witness it in the final context. `tight` is the share of results to which
nothing can be added, checked against the known answer. Seeds are fixed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from statistics import mean

from bench.synthetic import (
    HINT_RIGHT,
    HINT_WRONG,
    Problem,
    Service,
    bound_bits,
    make_problem,
    traced,
)
from harness.judge.verdict import Outcome
from harness.search.result import Budget, Phase, SearchResult, Settings
from harness.search.search import search
from harness.search.sequential import Reliability
from harness.search.settle import Settling, Trials

RUNS = 100
SIZES = ((60, 3), (90, 8), (120, 12))
RATES = (0.0, 0.05, 0.15)
NARROWING = (Phase.PREDICT, Phase.NARROW)


@dataclass(frozen=True)
class Way:
    """One way to search, and the reference for each of `SIZES`; None where there is none."""

    name: str
    reference: tuple[float, float, float] | None
    trace: bool = True
    hints: bool = False
    workers: int = 1
    false_failures: float = 0.0


WAYS = (
    Way("uniform prior", (18, 42, 62), trace=False),
    Way("trace prior", (13, 27, 40)),
    Way("trace, hints", (12, 25, 36), hints=True),
    Way("trace, hints, 2 machines", (8.5, 19, 28), hints=True, workers=2),
)


def walk(way: Way, problem: Problem, rng: Random) -> SearchResult[str]:
    """One search of one made-up service."""
    service = Service(
        problem,
        rng,
        hint_right=HINT_RIGHT if way.hints else 0.0,
        hint_wrong=HINT_WRONG if way.hints else 0.0,
        false_failures=way.false_failures,
    )
    return search(problem.options, service, settings=Settings(workers=way.workers))


def problems(way: Way, count: int, breaking: int) -> Iterator[tuple[Problem, Random]]:
    """The same services for every way that knows as much."""
    for seed in range(RUNS):
        rng = Random(f"{count}/{breaking}/{seed}")
        problem = make_problem(count, breaking, pairs=seed % 3, rng=rng)
        yield (traced(problem, rng) if way.trace else problem), rng


def row(way: Way, size: int) -> str:
    """One line of the table."""
    count, breaking = SIZES[size]
    made = list(problems(way, count, breaking))
    results = [walk(way, problem, rng) for problem, rng in made]
    narrowing = mean(sum(d.phase in NARROWING for d in result.decisions) for result in results)
    trials = [result.trials for result in results]
    rounds = mean(result.rounds for result in results)
    narrowing_rounds = mean(len({d.round for d in result.decisions if d.phase in NARROWING}) for result in results)
    tight = mean(p.is_tight(result.accepted) for (p, _), result in zip(made, results, strict=True))
    reference = "-" if way.reference is None else f"{way.reference[size]:g}"
    return (
        f"{count:>4} {breaking:>3}  {way.name:<25}{bound_bits(made[0][0]):>7.1f}{reference:>10}"
        f"{narrowing:>9.1f}{narrowing_rounds:>8.1f}{mean(trials):>9.1f}{rounds:>8.1f}{max(trials):>6}{tight:>7.0%}"
    )


def settled(count: int, breaking: int, rate: float, seed: int, *, pairs: int) -> tuple[bool, int]:
    """Whether a service that fails at `rate` by itself is found right and confirmed, and all trials it took.

    With its baseline measured as in a real run: three times, and seventeen more when there is a reason.
    """
    rng = Random(f"flaky {count}/{breaking}/{rate}/{seed}")
    problem = traced(make_problem(count, breaking, pairs=pairs, rng=rng), rng)
    service = Service(problem, rng, hint_right=HINT_RIGHT, hint_wrong=HINT_WRONG, false_failures=rate)

    def measure(runs: int, failures: int = 0) -> Reliability:
        return Reliability(20, failures + sum(verdict.failed for verdict in service([frozenset()] * runs)))

    failures = sum(verdict.failed for verdict in service([frozenset()] * 3))
    known = measure(17, failures) if failures else Reliability(3, 0)
    answer = Settling(
        problem.options,
        Trials(service, service, lambda: measure(17)),
        known,
        confirm_runs=3,
        settings=Settings(workers=2, pair_trials=12),
        budget=Budget,
    ).run()
    right = answer.confirmed is Outcome.PASS and problem.is_tight(answer.result.accepted)
    return right, service.trials


def flaky_row(size: int, rate: float) -> str:
    """One line of the second table."""
    count, breaking = SIZES[size]
    found = [settled(count, breaking, rate, seed, pairs=seed % 3) for seed in range(RUNS)]
    right, trials = mean(right for right, _ in found), [trials for _, trials in found]
    return f"{count:>4} {breaking:>3} {rate:>9.0%}{right:>10.0%}{mean(trials):>9.1f}{max(trials):>6}"


def main() -> None:
    """Print the tables."""
    print(f"{'':<34}{'':>7}{'':>10}{'search only':>17}{'with repeats and witnesses':>30}")
    print(
        f"{'n':>4} {'d':>3}  {'way':<25}{'bound':>7}{'reference':>10}"
        f"{'trials':>9}{'rounds':>8}{'trials':>9}{'rounds':>8}{'max':>6}{'tight':>7}"
    )
    for size in range(len(SIZES)):
        for way in WAYS:
            print(row(way, size), flush=True)
    print("\nServices that fail at times by themselves, with baseline, pairs and confirmation:")
    print(f"{'n':>4} {'d':>3} {'fails':>9}{'right':>10}{'trials':>9}{'max':>6}")
    for size in range(len(SIZES)):
        for rate in RATES:
            print(flaky_row(size, rate), flush=True)


if __name__ == "__main__":
    main()
