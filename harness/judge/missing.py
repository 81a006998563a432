"""What every baseline run had and a trial has not: processes, files and log lines that silently stay away."""

import re
from collections.abc import Iterable

from harness.judge.baseline import Baseline, file_templates, speakers
from harness.judge.novelty import templates
from harness.observation import Observation


def missing(observation: Observation, baseline: Baseline, *, ignore: Iterable[str] = ()) -> str:
    """The first thing that is missing, empty when nothing is; `ignore` are regular expressions of log lines.

    Only what every baseline run had counts, so that chance does not. A warning that stays away is no damage, unless
    nothing is heard any more of who warned.
    """
    if gone := sorted(baseline.lasting - {process.comm for process in observation.processes}):
        return f"no longer runs: {gone[0]}"
    if gone := sorted(baseline.kept_files - file_templates(observation.written)):
        return f"no longer written: {gone[0]}"
    ignored = [re.compile(pattern) for pattern in ignore]
    gone = sorted(baseline.said - templates(observation.journal))
    said = next((line for line in gone if not any(pattern.search(line) for pattern in ignored)), "")
    if said:
        return f"no longer logged: {said[:200]}"
    silent = sorted(baseline.speakers - speakers(observation.journal))
    return f"no longer logs anything: {silent[0]}" if silent else ""
