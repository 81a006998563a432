"""The end of a run on the terminal: what was found, why it is not tighter, where it is and what to do next."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report.limits import show as show_limits
from harness.report.plain import plain
from harness.results.recommendation import Answer, one_line, refusal_text
from harness.unit.dropin import FILE_NAME

MOST_REFUSALS = 30
PAGE = "report.html"


def show(answer: Answer, folder: Path, out: Console) -> None:
    """Print a few lines and one table that read well in 80 columns; paths stay whole for copying."""
    out.print()
    out.print(_headline(answer))
    out.print()
    out.print(_reach(answer))
    out.print()
    refusals = _refusals(answer)
    if refusals.row_count:
        out.print(refusals)
        out.print()
    if answer.limits is not None and answer.limits.trials:
        show_limits(answer.limits, out)
        out.print()
    out.print(_paths(answer, folder), soft_wrap=True)


def _headline(answer: Answer) -> Text:
    before, after = answer.exposure_before, answer.confirmation.exposure
    text = Text()
    text.append(answer.scenario.unit, style="bold")
    if before is not None and after is not None:
        text.append("  exposure ")
        text.append(f"{before:.1f}", style="red")
        text.append(" → ")
        text.append(f"{after:.1f}", style="bold green")
    unproven = len(answer.unproven())
    enforced = len(answer.result.accepted) - unproven
    text.append(f"\n{enforced} tightenings enforced, {len(answer.result.refused)} refused with a failing trial each")
    unreached = len(answer.result.unreached)
    if unreached:
        text.append(f", {unreached} beyond those")
    if unproven:
        text.append(f"\n{unproven} more in the drop-in that this host cannot show to be enforced")
    minutes, seconds = divmod(round(answer.duration_s), 60)
    spent = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    text.append(f"\n{answer.trials} trials in {spent}, ")
    if answer.confirmation.passed:
        text.append(f"the whole confirmed {answer.confirmed} times", style="green")
    else:
        text.append(f"not confirmed ({answer.state}: {answer.result.stop.value})", style="bold red")
    for caution in answer.cautions():
        text.append(f"\n{one_line(caution, most=2000)}", style="yellow")
    if answer.reliability.flaky:
        found = answer.reliability
        warned = f", and warned of something new in {found.novel}" if found.novel else ""
        text.append(f"\nflaky: with nothing tightened it failed {found.failures} of {found.runs} runs{warned}")
        text.append("; trials were repeated")
    if not answer.tracer:
        text.append("\nno tracer worked here (bpftrace, strace): the search took more trials than with one")
    return text


def _reach(answer: Answer) -> Table:
    table = Table(box=None, padding=(0, 1), show_header=True, header_style="bold", expand=False)
    for title in ("An intruder in it has", "before", "now"):
        table.add_column(title, overflow="fold")
    for row in answer.reach():
        table.add_row(plain(row.what), plain(row.before), plain(row.after))
    return table


def _refusals(answer: Answer) -> Table:
    table = Table(box=None, padding=(0, 1), show_header=True, header_style="bold", expand=False)
    table.add_column("Not tighter", overflow="fold", max_width=28)
    table.add_column("because", overflow="fold")
    for key, verdict in answer.refusals()[:MOST_REFUSALS]:
        reason = refusal_text(key, verdict).partition(": ")[2]
        table.add_row(plain(key.told), plain(one_line(reason, most=200)))
    for item in answer.result.pairs[:MOST_REFUSALS]:
        kept = ", ".join(sorted(key.told for key in item.kept))
        table.add_row(plain(item.refused.told), plain(f"excludes {kept}; the one worth more was kept"))
    return table


def _paths(answer: Answer, folder: Path) -> Text:
    drop_in = folder / "derived" / f"{answer.scenario.unit}.d" / FILE_NAME
    return Text.assemble(
        ("drop-in  ", "dim"),
        str(drop_in),
        ("\npage     ", "dim"),
        str(folder / "derived" / PAGE),
        ("\nrun      ", "dim"),
        str(folder),
        ("\nnext     ", "dim"),
        (f"harness {'accept' if answer.confirmation.passed else 'report'} {folder}", "bold"),
    )


def console(*, stderr: bool = False) -> Console:
    """A console that does not break paths, highlights nothing by guess and makes no pictures of `:100:`."""
    return Console(stderr=stderr, highlight=False, soft_wrap=False, emoji=False)
