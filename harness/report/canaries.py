"""What the canaries found, on the terminal: how many directives are enforced here, and which are not."""

from collections.abc import Sequence

from rich.console import Console

from harness.report.plain import plain
from harness.unit.canary import CanaryResult, Standing

MEANS = {
    Standing.ALREADY: "so without the directive as well; another host may tell more",
    Standing.VACUOUS: "accepted and not enforced: never counted as tightened",
    Standing.UNKNOWN: "cannot be told here",
}


def show(results: Sequence[CanaryResult], out: Console) -> None:
    """Print one line for what is enforced, and one for each canary that is not."""
    enforced = sum(result.standing is Standing.ENFORCED for result in results)
    out.print(f"[green]ok[/]  canaries         {enforced} of {len(results)} are enforced in machines of this host")
    for standing, means in MEANS.items():
        group = [result for result in results if result.standing is standing]
        if group:
            out.print(f"\n[bold]{standing.value}[/]  {means}")
        for result in group:
            what = " ".join(filter(None, [result.directive, result.rung, *result.items[:3], result.part]))
            out.print(f"    {plain(what)}: {plain(result.detail)}", soft_wrap=True)
