"""What every baseline run had and a trial has not: processes, ports, files and log lines that silently stay away."""

import re
from collections.abc import Iterable

from harness.judge.baseline import Baseline, file_templates, inet, speakers
from harness.judge.novelty import templates
from harness.observation import Observation


def missing(observation: Observation, baseline: Baseline, *, ignore: Iterable[str] = ()) -> tuple[str, ...]:
    """All that is missing, in words, the worst first; `ignore` are regular expressions of log lines.

    Only what every baseline run had counts, less what has turned out to come by chance. A warning that stays away is no
    damage, unless nothing is heard any more of who warned.
    """
    ignored = [re.compile(pattern) for pattern in ignore]
    gone = sorted(baseline.said.keys() - templates(observation.journal))
    said = [line for line in gone if not any(pattern.search(baseline.said[line]) for pattern in ignored)]
    found = {
        "no longer runs": sorted(baseline.lasting - {process.comm for process in observation.processes}),
        "no longer listens": sorted(baseline.listens - inet(observation.listening)),
        "no longer written": sorted(baseline.kept_files - file_templates(observation.written)),
        "no longer logged": [line[:200] for line in said],
        "no longer logs anything": sorted(baseline.speakers - speakers(observation.journal)),
    }
    told = (f"{what}: {which}" for what, each in found.items() for which in each)
    return tuple(text for text in told if text not in baseline.by_chance)
