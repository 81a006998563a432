"""How far ten whole fits of the same service lie apart.

`python -m bench.fits [--results FOLDER] [--fits N] [SERVICE...]` fits the limits anew each time, as `--only limits`
does, and prints for each limit the median, and the smallest and largest as it lies from that. Some names are
known-answer services, such as `holds`, which holds 200 MiB; any other is a scenario, whose directives are tuned first,
once. With a folder all is kept there, and what is there already is not run again.
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.limits.found import Found
from harness.limits.limitset import DIRECTIVES
from harness.results.store import Store
from harness.scenario import Scenario, load
from harness.session import Options, tune
from harness.stored import think_again
from harness.tune import Only
from harness.unit.quantity import readable_size, size_text
from tests.systemd.test_limits import scenario as appetite

# Known-answer services: how long their load lasts, in seconds, and the limits that they are not about.
KNOWN = {
    "holds": (0.5, ["CPUQuota"]),
    "caches": (1.5, ["CPUQuota"]),
    "forks": (0.5, ["CPUQuota", "MemoryMax"]),
    "burns": (1.5, ["MemoryMax"]),
    "descriptors": (0.5, ["CPUQuota", "MemoryMax"]),
}
SERVICES = ("holds", "forks", "burns")
FITS = 10
AIM = 0.10


def finished(scenario: Scenario, results: Path, only: Only) -> list[Store]:
    """The finished runs in `results` that were about this part."""
    stores = [Store.open(file.parent) for file in sorted(results.glob(f"{scenario.name}-*/run.json"))]
    same = [store for store in stores if store.facts["identity"] == scenario.identity()]
    return [store for store in same if store.facts["state"] == "done" and store.facts["only"] == only.value]


def fits(scenario: Scenario, results: Path, count: int) -> Iterator[Found]:
    """That many whole fits, stored ones first."""
    known = finished(scenario, results, Only.LIMITS)
    for number in range(count):
        if number < len(known):
            answer, _ = think_again(known[number].folder)
        else:
            answer, _ = tune(scenario, Options(results=results, only=Only.LIMITS))
        assert answer.limits is not None
        yield answer.limits


def report(name: str, results: Path, count: int) -> None:
    """Fit, and print how far the limits lie apart."""
    if name in KNOWN:
        load_s, alone = KNOWN[name]
        results /= name
        path = results / "scenario" / "appetite.toml"
        made = load(path) if path.exists() else appetite(path.parent, name, limits="", load_s=load_s, alone=alone)
    else:
        made = load(Path("scenarios") / f"{name}.toml")
        if not finished(made, results, Only.DIRECTIVES):
            tune(made, Options(results=results, only=Only.DIRECTIVES))
    found = list(fits(made, results, count))
    trials = sorted(item.trials for item in found)
    states = ", ".join(sorted({item.state.value for item in found}))
    print(f"{name}: {len(found)} fits, {trials[0]} to {trials[-1]} trials each, {states}")
    for directive, field in DIRECTIVES.items():
        values = [value for item in found if (value := getattr(item.limits, field)) is not None]
        if values:
            middle = statistics.median(values)
            shown = size_text(readable_size(middle)) if field.endswith("_bytes") else f"{middle:g}"
            least, most = min(values) / middle - 1, max(values) / middle - 1
            word = "" if max(-least, most) <= AIM else f", not within {AIM:.0%}"
            print(f"  {directive:12} in {len(values):2} fits, median {shown:>8}, {least:+.0%} to {most:+.0%}{word}")


def main() -> None:
    """Print the figures of each service."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="keep the runs in this folder (default: a temporary one)")
    parser.add_argument("--fits", type=int, default=FITS)
    parser.add_argument("service", nargs="*", default=list(SERVICES))
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        for name in given.service:
            report(name, given.results or Path(folder), given.fits)


if __name__ == "__main__":
    main()
