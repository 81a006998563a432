"""Why a directive is as it is in a run's answer: what is in force, and the witness for what is not."""

import difflib
from pathlib import Path

from rich.console import Console

from harness.errors import UsageError
from harness.judge.verdict import Verdict
from harness.report.plain import plain
from harness.results.recommendation import Answer
from harness.unit import catalogue
from harness.unit.dropin import FILE_NAME
from harness.unit.tightening import Tightening


def explain(answer: Answer, folder: Path, name: str, out: Console) -> None:
    """Print all that the run knows of one directive. Raises UsageError for a name that is no directive."""
    directive = catalogue.load().get(name)
    if directive is None:
        known = [item.name for item in catalogue.load()]
        near = difflib.get_close_matches(name, known, n=3)
        raise UsageError(f"{name}: not a directive known here", hint=f"did you mean {', '.join(near) or known[0]}?")
    name = directive.name
    out.print(f"[bold]{name}[/]  {directive.manual}", soft_wrap=True)
    said = [
        *_canaries(answer, name),
        *_in_force(answer, name),
        *_left_out(answer, name),
        *(f"beyond: {key.told}, which needs {other.told}" for key, other in _unreached(answer, name)),
        *(f"undecided: {key.told}" for key in sorted(answer.result.undecided) if key.directive == name),
    ]
    for line in said:
        out.print(plain(line), soft_wrap=True)
    for key, verdicts in _witnesses(answer, name):
        _witness(key, verdicts, folder, answer, out)
    for pair in answer.result.pairs:
        if pair.refused.directive == name or any(key.directive == name for key in pair.kept):
            kept = ", ".join(sorted(key.told for key in pair.kept))
            out.print(plain(f"conflict: {pair.refused.told} fails together with {kept}"), soft_wrap=True)
    if not said and not _witnesses(answer, name):
        out.print("nothing in this run speaks of it", soft_wrap=True)


def _canaries(answer: Answer, name: str) -> list[str]:
    found = [result for result in answer.canaries if result.directive == name]
    names = [" ".join(filter(None, [result.rung, *result.items, result.part])) or name for result in found]
    return [
        f"canary: {what} {result.standing.value}: {result.detail}" for what, result in zip(names, found, strict=True)
    ]


def _in_force(answer: Answer, name: str) -> list[str]:
    trial = answer.passing_trial()
    return [
        f"in force: {key.told}, passed trial {trial} together with all the rest"
        for key in sorted(answer.result.accepted)
        if key.directive == name
    ]


def _left_out(answer: Answer, name: str) -> list[str]:
    reasons = [f"not searched: {item.reason}" for item in answer.left_out if item.directive == name]
    alone = answer.scenario.leave_alone.get(name)
    return [*reasons, f"the scenario says: {alone}"] if alone else reasons


def _unreached(answer: Answer, name: str) -> list[tuple[Tightening, Tightening]]:
    return [(key, other) for key, other in sorted(answer.result.unreached.items()) if key.directive == name]


def _witnesses(answer: Answer, name: str) -> list[tuple[Tightening, tuple[Verdict, ...]]]:
    return [(key, item.witnesses) for key, item in sorted(answer.result.refused.items()) if key.directive == name]


def _witness(key: Tightening, verdicts: tuple[Verdict, ...], folder: Path, answer: Answer, out: Console) -> None:
    last = verdicts[-1]
    again = f", and so did trial {verdicts[0].trial_id}" if len(verdicts) > 1 else ""
    out.print(f"\n[bold]refused[/]  {plain(key.told)}", soft_wrap=True)
    where = "in that run, on top of what it had" if "/" in last.trial_id else "on top of all the rest"
    out.print(plain(f"witness  trial {last.trial_id} failed with it {where}{again}"), soft_wrap=True)
    out.print(f"because  {plain(last.reason)}", soft_wrap=True)
    for line in last.detail.splitlines():
        out.print(f"[dim]         {plain(line)}[/]", soft_wrap=True)
    if usual := catalogue.load()[key.directive].too_tight:
        out.print(f"usually  {usual}", soft_wrap=True)
    # A trial of an earlier run is named RUN/ID; that run is beside this one.
    run, _, trial = last.trial_id.rpartition("/")
    drop_in = (folder.parent / run if run else folder) / "trials" / trial / FILE_NAME
    out.print(f"see it   harness try {plain(str(answer.scenario.path))} --with {plain(str(drop_in))}", soft_wrap=True)
