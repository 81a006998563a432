"""How long reviewing takes: the page of a run of 100 trials, and a listing and an index over 1,000 runs.

`python -m bench.review`, from the committed sample run; nothing is booted.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.report import sample

RUNS, NIGHTS, TRIALS = 1000, 100, 100
HARNESS = str(Path(sys.executable).with_name("harness"))
INDEX = """
from pathlib import Path
from harness.report import nights as page
from harness.results import nights
results = Path({results!r})
page.write(results, list(nights.read(results)))
"""


def timed(*argv: str, check: bool = True) -> float | None:
    """Seconds that a command takes, started as a user starts it; None when it failed and that is not to be checked."""
    began = time.monotonic()
    done = subprocess.run(argv, check=check, stdout=subprocess.DEVNULL, stderr=None if check else subprocess.DEVNULL)
    return None if done.returncode else time.monotonic() - began


def of_hundred_trials(folder: Path) -> Path:
    """A copy of the sample run with as many trials as asked, the further ones being copies of its own."""
    run = sample.copied(folder)
    file = run / "observations.jsonl"
    lines = file.read_text().splitlines()
    items = [json.loads(line) for line in lines]
    for number in range(len(items), TRIALS):
        copy = dict(items[number % len(lines)])
        source = copy["trial_id"]
        copy["trial_id"], copy["repeat"] = f"{number + 1:04d}", copy["repeat"] + 100
        items.append(copy)
        shutil.copytree(run / "trials" / source, run / "trials" / copy["trial_id"])
    file.write_text("".join(json.dumps(item, separators=(",", ":")) + "\n" for item in items))
    return run


def thousand_runs(results: Path) -> None:
    """Copies of the sample run's facts and answer, in ten scenarios."""
    source = sample.sample().path
    for number in range(RUNS):
        folder = results / f"service{number % 10}-{20200101 + number // 10}-{number % 10:06d}"
        (folder / "derived").mkdir(parents=True)
        shutil.copy(source / "run.json", folder)
        shutil.copy(source / "derived" / "recommendation.json", folder / "derived")
        shutil.copy(source / "observations.jsonl", folder)


def nights(results: Path) -> None:
    """A hundred nights of ten services, whose runs are below them."""
    from harness.results.judgement import Word
    from harness.results.nights import Night, Service

    words = list(Word)
    for number in range(NIGHTS):
        services = tuple(
            Service(f"service{item}", "x.service", words[(number + item) % 5], "why", run=f"run{item}", exposure=0.9)
            for item in range(10)
        )
        name = f"{20200101 + number}-020000"
        Night(name, "2026-01-01T02:00:00+00:00", 60.0, 1, ("x",), services).write(results)
        for item in range(10):
            run = results / "nights" / name / f"run{item}" / "derived"
            run.mkdir(parents=True)
            (run / "report.html").touch()


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="harness-bench-", dir="/var/tmp") as scratch:
        folder = Path(scratch)
        run = of_hundred_trials(folder)
        # A sample that another version searched cannot be thought over again: then only its page is made.
        whole_s = timed(HARNESS, "report", str(run), check=False)
        page_s = timed(HARNESS, "report", "--page-only", str(run))
        size = (run / "derived" / "report.html").stat().st_size
        whole = "not possible with this sample" if whole_s is None else f"{whole_s:.1f} s"
        print(f"harness report, {TRIALS} trials: {whole}; page alone {page_s:.1f} s, {size / 1e6:.2f} MB")
        results = folder / "results"
        thousand_runs(results)
        print(f"harness list, {RUNS} runs: {timed(HARNESS, 'list', '--results', str(results)):.1f} s")
        nights(results)
        index_s = timed(sys.executable, "-c", INDEX.format(results=str(results)))
        print(f"index over {NIGHTS} nights of 10 services, {RUNS} runs: {index_s:.1f} s")


if __name__ == "__main__":
    main()
