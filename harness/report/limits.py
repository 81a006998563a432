"""The limits on the terminal: each with the number it was fitted to, and what the runs prove."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.limits.advice import advice, proof
from harness.limits.found import Found, State
from harness.report.plain import plain


def show(found: Found, out: Console) -> None:
    """Print a table and a sentence or two."""
    items = advice(found)
    if items:
        table = Table(box=None, padding=(0, 1), show_header=True, header_style="bold", expand=False)
        table.add_column("Limit", no_wrap=True)
        table.add_column("fitted to", overflow="fold")
        for item in items:
            table.add_row(plain(item.line), plain("; ".join(item.reasons)))
        out.print(table)
        out.print()
    style = "green" if found.state is State.CONFIRMED else "bold red"
    out.print(Text(proof(found), style=style), soft_wrap=True)
    out.print(Text(f"{found.trials} trials for limits"), soft_wrap=True)
    for note in found.notes:
        out.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)
    for name, run in found.refused.items():
        out.print(Text(f"no {name}=: trial {run.trial_id}, {run.reason}", style="yellow"), soft_wrap=True)


__all__ = ["show"]
