"""A service changed on purpose, and what a night says of it: the right word with the right cause, each time?

`python -m bench.changed [TIMES]` tunes a small service with limits, accepts that, and then spends nights on it: as it
is, writing to /etc, forking twice as much, holding 40 % more memory. Only what was accepted is tried (`--search
never`), so that a night takes seconds; the tests make one with the search that follows.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from harness import nightly
from harness.nightly import Plan, Search
from harness.results.accepted import Accepted
from harness.results.folder import Run
from harness.results.judgement import Word
from harness.results.nights import Service
from harness.scenario import load
from harness.session import Options, tune
from tests.nightly import changing

CHANGES: dict[str, tuple[dict[str, object], Word, str, str]] = {
    "nothing changed": ({}, Word.SAME, "", "nothing around it changed"),
    "now writes to /etc": ({"writes": "/etc/changing-state"}, Word.BROKEN, "ProtectSystem", "/etc/changing-state"),
    "now forks twice as much": ({"children": 24}, Word.BROKEN, "TasksMax", "fork rejected"),
    "memory up 40 %": ({"held_mib": 84}, Word.BROKEN, "MemoryMax", "oom-kill"),
}
FILE = "file /usr/local/lib/changing/changing.py of the scenario: changed"


def is_right(service: Service, word: Word, directive: str, why: str) -> bool:
    """Whether word, line to blame, reason and change are all the right ones."""
    blamed = {line.partition("=")[0] for line in service.culprits}
    causes = (FILE,) if directive else ()
    return (
        service.word is word
        and blamed == ({directive} if directive else set())
        and why in service.reason
        and service.causes == causes
    )


def main() -> None:
    """Print how often each was judged right, and what else was said."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory(prefix="harness-bench-", dir="/var/tmp") as scratch:
        folder = Path(scratch)
        results = folder / "results"
        _, store = tune(load(changing.write(folder)), Options(results=results, workers=1))
        accepted = Accepted.of_run(Run.open(store.folder))
        accepted.write(results)
        print("accepted:", ", ".join(line for line in accepted.drop_in.splitlines()[1:]), flush=True)
        for name, (changes, *expected) in CHANGES.items():
            path = changing.write(folder, **changes)
            right, trials, said = 0, 0, Counter[str]()
            for _ in range(times):
                (service,) = nightly.run([path], Plan(results, workers=1, search=Search.NEVER)).services
                if is_right(service, *expected):
                    right += 1
                else:
                    said[f"{service.word.value}: {service.reason}"] += 1
                trials += service.trials
            print(f"{name:24} right {right} of {times}, {trials / times:.1f} trials a night", flush=True)
            for text, count in said.items():
                print(f"    {count} times {text}", flush=True)


if __name__ == "__main__":
    main()
