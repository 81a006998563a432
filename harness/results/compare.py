"""Two recommendations side by side, and what changed around a service since one of them was accepted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.limits.bound import LEAST_RUNS
from harness.results.accepted import Accepted, limits_of

Data = Mapping[str, Any]
# Cliffs of an unchanged service lie within 10 % of their median: further apart than this is no chance.
MOVED = 1.25
# Counts of a few things: one more of three is no move, whatever the ratio.
MOVED_AT_LEAST = {"TasksMax": 3, "LimitNPROC": 3, "LimitNOFILE": 16, "CPUQuota": 10}
MOST_PACKAGES = 8
# Fitted to what was timed or sampled, and not to a cliff that the kernel counts: on a busy host that says little.
_TIMED = frozenset({"CPUQuota", "LimitNOFILE"})


@dataclass(frozen=True)
class Difference:
    """One thing that differs: `change` is gained, lost, opened, closed or moved; `why` is what the later run says."""

    change: str
    what: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.change}: {self.what}" + (f" ({self.why})" if self.why else "")


def differences(before: Data, after: Data) -> list[Difference]:
    """All that differs between two recommendations of one scenario: settings, what is left open, limits."""
    refused = {item["label"]: f"trial {item['trial']}, {item['reason']}" for item in after["refused"]}
    refused |= {item["label"]: f"needs {item['because']}" for item in after["unreached"]}
    had, has = labels(before), labels(after)
    # What a service never used is in no list of either run, and has no label: such a member is opened or closed.
    newly = {label for label in has if label not in had and not _known(label, before)}
    found = [Difference("gained", label) for label in has if label not in had and label not in newly]
    found += [Difference("lost", label, refused.get(label, "")) for label in had if label not in has]
    return found + _opened(before, after) + moves(before, after)


def labels(data: Data) -> dict[str, None]:
    """Labels of what is in force, in order."""
    return dict.fromkeys(item["label"] for item in data["settings"])


def moves(before: Data, after: Data) -> list[Difference]:
    """Limits further apart than fits of one service are, and those that only one of the two has.

    None where one of them was made without limits.
    """
    old, new = ({item["directive"]: item for item in limits_of(data)} for data in (before, after))
    if not old or not new:
        return []
    found = []
    for name in dict.fromkeys([*old, *new]):
        one, other = old.get(name), new.get(name)
        if name in _TIMED and not (_rests_on_quiet_runs(one) and _rests_on_quiet_runs(other)):
            continue
        if one is None or other is None or _moved(name, *_sizes(one, other)):
            told = f"{name}: {_value(one)} → {_value(other)}"
            found.append(Difference("moved", told, str(next(iter((other or {}).get("reasons") or ()), ""))))
    return found


def moved_alike(first: Sequence[Difference], second: Sequence[Difference]) -> list[Difference]:
    """Those of `first` whose limit moved in `second` too: two fits say so."""
    again = {item.what.partition(":")[0] for item in second}
    return [item for item in first if item.what.partition(":")[0] in again]


def causes(accepted: Accepted, facts: Data) -> list[str]:
    """What changed around the service since it was accepted: likely causes, the closest to the service first.

    `facts` is the `run.json` of a later run. Empty where all that is known of is the same.
    """
    found = _of_scenario(accepted, facts)
    before, after = accepted.inspection, facts.get("inspection") or {}
    if not after:
        return found
    if before.get("unit_text") != after.get("unit_text"):
        found.append(f"the unit {facts['scenario_data']['unit']}")
    found += _of_packages(before, after)
    for name in ("systemd", "kernel", "cgroups"):
        if before.get(name) != after.get(name):
            found.append(f"{name}: {before.get(name)} → {after.get(name)}")
    maker = str(facts.get("git_commit") or facts.get("harness", ""))
    return found + ([f"harness: {accepted.harness[:12]} → {maker[:12]}"] if maker != accepted.harness else [])


def _of_scenario(accepted: Accepted, facts: Data) -> list[str]:
    """Files that it brings, and keys that it sets; what a new version of harness adds to all scenarios is no change."""
    before, after = accepted.files, facts.get("files") or {}
    keys = _changed(accepted.scenario_data, facts.get("scenario_data") or {})
    found = [f"file {path} of the scenario: {_how(path, before, after)}" for path in _changed(before, after)]
    return found + ([f"the scenario: {', '.join(keys)}"] if keys else [])


def _changed(before: Data, after: Data) -> list[str]:
    return [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]


def _how(key: str, before: Data, after: Data) -> str:
    return "changed" if key in before and key in after else "gone" if key in before else "new"


def _of_packages(before: Data, after: Data) -> list[str]:
    """The scenario's own packages first, then all others that were installed, upgraded or removed."""
    own = [*before.get("packages", {}), *after.get("packages", {})]
    old = {**before.get("installed", {}), **before.get("packages", {})}
    new = {**after.get("installed", {}), **after.get("packages", {})}
    if not before.get("installed") or not after.get("installed"):
        old, new = ({name: data[name] for name in own if name in data} for data in (old, new))
    changed = sorted(_changed(old, new), key=lambda name: (name not in own, name))
    told = [f"package {name}: {old.get(name, 'none')} → {new.get(name, 'none')}" for name in changed[:MOST_PACKAGES]]
    more = len(changed) - len(told)
    return told + ([f"{more} more packages"] if more > 0 else [])


def _known(label: str, data: Data) -> bool:
    """Whether a run speaks of a tightening at all."""
    spoken = [item["label"] for name in ("settings", "refused", "unreached") for item in data[name]]
    return label in spoken or label in data.get("undecided", ()) or "=" in label


def _opened(before: Data, after: Data) -> list[Difference]:
    """Members of lists that one of the two leaves open and the other does not know: what it uses has changed."""
    one, other = _open(before), _open(after)
    found = [Difference("opened", label, why) for label, why in other.items() if not _known(label, before)]
    return found + [Difference("closed", label) for label in one if not _known(label, after)]


def _open(data: Data) -> dict[str, str]:
    return {item["label"]: f"trial {item['trial']}, {item['reason']}" for item in data["refused"]}


def _sizes(one: Data, other: Data) -> tuple[float | None, float | None]:
    """What two limits are compared by: their cliffs, found by trial, else the numbers that were fitted.

    How far a limit lies above its cliff is extrapolated from few runs, and differs from fit to fit of one service.
    """
    cliffs = one.get("cliff_worked"), other.get("cliff_worked")
    return cliffs if None not in cliffs else (one.get("number"), other.get("number"))


def _moved(name: str, one: float | None, other: float | None) -> bool:
    if not one or not other:
        return one != other
    return max(one, other) / min(one, other) > MOVED and abs(one - other) >= MOVED_AT_LEAST.get(name, 0)


def _rests_on_quiet_runs(item: Data | None) -> bool:
    """Whether a limit was fitted to runs that were not censored; one that is not there rests on nothing."""
    return item is None or (item.get("fitted_to") or {}).get("runs", 0) >= LEAST_RUNS


def _value(item: Data | None) -> str:
    return "none" if item is None else str(item["value"])
