"""A stored run: what a walk over it needs, thinking over it again without a machine, and writing what is derived."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.attempts import Attempts
from harness.errors import UsageError
from harness.inspection import Inspection
from harness.machine import tree
from harness.results.earlier import Earlier
from harness.results.recommendation import Answer
from harness.results.store import Store, write_whole
from harness.scenario import Scenario
from harness.search.result import Stop
from harness.tune import Only, Walk
from harness.unit.canary import CanaryResult
from harness.unit.dropin import FILE_NAME
from harness.unit.tightening import Tightening


def parts(store: Store) -> dict[str, Any]:
    """What of a tuning the run is about, as arguments of the walk."""
    given = frozenset(Tightening.from_label(label) for label in store.facts.get("given", ()))
    earlier = None
    if "earlier" in store.facts:
        earlier = Earlier.from_facts(store.facts["earlier"], store.earlier_baseline())
    return {"only": Only(store.facts.get("only", Only.BOTH.value)), "given": given, "earlier": earlier}


def tree_of(store: Store, scenario: Scenario) -> Callable[[Sequence[str]], Mapping[str, str]]:
    """Ask the root tree once for a run, and the run's own facts ever after."""

    def ask(paths: Sequence[str]) -> Mapping[str, str]:
        if "tree" not in store.facts:
            store.update(tree=tree.describe(Path(scenario.root), paths))
        found: dict[str, str] = store.facts["tree"]
        return found

    return ask


def think_again(folder: Path) -> tuple[Answer, Store]:
    """Walk over a stored run once more, without a machine, and write what is derived from it anew.

    Raises UsageError when the folder is no run, or holds too little to say anything.
    """
    store = Store.open(folder)
    if "inspection" not in store.facts:
        raise UsageError(f"{folder} holds no trials yet", hint="run `harness tune` first")
    scenario = store.scenario()
    inspection = Inspection.from_facts(store.facts["inspection"])
    attempts = Attempts(store, scenario, None)
    results = tuple(CanaryResult.from_json(item) for item in store.facts.get("canaries", ()))
    walk = Walk(
        scenario,
        inspection,
        attempts,
        int(store.facts["workers"]),
        tree_of(store, scenario),
        canaries=results,
        **parts(store),
    )
    answer = walk.run(spent_s=float(store.facts.get("duration_s", 0.0)), clock=lambda: 0.0)
    was_lost = store.facts.get("stop") == Stop.MACHINE_LOST.value
    if answer.result.stop is Stop.MACHINE_LOST and store.facts["state"] != "done" and not was_lost:
        # No machine was asked for: the run was cut off where its trials end.
        answer = replace(answer, result=replace(answer.result, stop=Stop.BUDGET))
    if store.facts["state"] == "done" and answer.result.stop is not Stop.TIGHT and has_answer(store):
        raise UsageError(
            f"{folder} was searched in another way than this version would; what it recommended stays as it is",
            hint=f"its page is made from that: harness report --page-only {folder}",
        )
    write_derived(store, answer)
    return answer, store


def has_answer(store: Store) -> bool:
    """Whether a recommendation was derived before."""
    return (store.derived / "recommendation.json").exists()


def write_derived(store: Store, answer: Answer) -> None:
    """Write what can be made again: the drop-in, the full unit and `recommendation.json`."""
    unit = answer.scenario.unit
    write_whole(store.derived / f"{unit}.d" / FILE_NAME, answer.drop_in())
    write_whole(store.derived / unit, answer.full_unit())
    write_whole(store.derived / "recommendation.json", json.dumps(answer.to_json(), indent=2) + "\n")
