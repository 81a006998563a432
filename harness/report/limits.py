"""The limits on the terminal: each with the number it was fitted to, and what the runs prove."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.limits.advice import advice, proof
from harness.limits.fit import statement
from harness.limits.found import Found, State
from harness.report.plain import plain
from harness.results.recommendation import one_line


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
        out.print(Text(f"note: {one_line(note, most=400)}", style="yellow"), soft_wrap=True)
    for name, run in found.refused.items():
        out.print(
            Text(f"no {name}=: trial {run.trial_id}, {one_line(run.reason, most=400)}", style="yellow"), soft_wrap=True
        )


def show_data(found: Found, out: Console) -> None:
    """Print the runs without limits that the fit rests on, one a line; censored ones with why."""
    table = Table(box=None, padding=(0, 1), show_header=True, header_style="bold", expand=False)
    for title in ("trial", "needed MiB", "peak MiB", "CPU mean %", "CPU 100 ms %", "tasks", "highest fd", "censored"):
        table.add_column(title, justify="left" if title == "censored" else "right")
    for run in found.measured:
        table.add_row(
            run.trial_id,
            _shown(run.needed_bytes, 2**20),
            _shown(run.peak_bytes, 2**20),
            _shown(run.cpu_percent),
            _shown(run.window_percent),
            "-" if run.tasks is None else str(run.tasks),
            "-" if run.fd_highest is None else str(run.fd_highest),
            plain("; ".join(run.censored)),
        )
    out.print(table)
    out.print()
    for sample, what in ((found.needed, "memory"), (found.tasks, "tasks"), (found.window, "processor time")):
        if sample is not None:
            kind = {"memory": "bytes", "processor time": " %"}.get(what, "")
            out.print(Text(f"{what}: {statement(sample, kind)}"), soft_wrap=True)
    out.print()


def _shown(value: float | None, divisor: int = 1) -> str:
    return "-" if value is None else f"{value / divisor:.1f}"


__all__ = ["show", "show_data"]
