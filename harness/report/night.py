"""A night on the terminal, and as a text file for Prometheus."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.errors import UsageError
from harness.report.plain import plain
from harness.report.template import figure, seconds
from harness.results.folder import Run
from harness.results.judgement import Word
from harness.results.nights import Night, Service
from harness.results.recommendation import one_line
from harness.results.store import write_whole

STYLES = {
    Word.SAME: "green",
    Word.TIGHTER: "cyan",
    Word.LIMITS: "yellow",
    Word.UNDECIDED: "yellow",
    Word.BROKEN: "bold red",
}
# Limit → (metric, what one of its number is in the metric's unit). MemoryMax= is in bytes, CPUQuota= in percent.
_LIMITS = {
    "MemoryMax": ("memory_bytes", 1.0),
    "CPUQuota": ("cpu_ratio", 0.01),
    "TasksMax": ("tasks", 1.0),
    "LimitNOFILE": ("open_files", 1.0),
}
Sample = tuple[Service, str, float | None]


def show_service(service: Service, out: Console) -> None:
    """Print one service: the word, exposure and reason in a line, and below it what is worth knowing."""
    text = Text(f"{service.word.value:18}", style=STYLES[service.word])
    text.append(service.scenario, style="bold")
    text.append(f"  exposure {figure(service.exposure)}, {service.trials} trials in {seconds(service.duration_s)}")
    out.print(text, soft_wrap=True)
    out.print(Text(f"    {one_line(service.reason, most=400)}"), soft_wrap=True)
    if service.word is not Word.SAME:
        for cause in service.causes:
            out.print(Text(f"    since it was accepted: {one_line(cause)}", style="dim"), soft_wrap=True)


def show_end(night: Night, results: Path, index: Path, out: Console) -> None:
    """Print how many services got which word, what to do about it, and where everything is."""
    counts = [(word, sum(item.word is word for item in night.services)) for word in Word]
    text = Text.assemble("\n", f"{len(night.services)} of {len(night.order)} services in {seconds(night.duration_s)}: ")
    for word, count in counts:
        if count:
            text.append(f"{count} {word.value}  ", style=STYLES[word])
    out.print(text, soft_wrap=True)
    if night.stopped:
        left = [name for name in night.order if name not in {item.scenario for item in night.services}]
        out.print(plain(f"{night.stopped}; not tried: {', '.join(left)}"), soft_wrap=True)
    folder = results / "nights" / night.name
    out.print(f"index    {plain(str(index))}\nnight    {plain(str(folder / 'nightly.json'))}", soft_wrap=True)
    for item in night.services:
        if item.run and item.word is not Word.SAME and _is_whole(folder / item.run):
            out.print(f"accept   harness accept {plain(str(folder / item.run))}", soft_wrap=True)


def _is_whole(run: Path) -> bool:
    """Whether a run has an answer that can be accepted."""
    try:
        data = Run.open(run).recommendation
    except UsageError:
        return False
    return data is not None and data["state"] == "tight"


def write_metrics(nights: Sequence[Night], path: Path) -> None:
    """Write the newest word, exposure and limits of every service for node_exporter's textfile collector."""
    write_whole(path, metrics(nights))


def metrics(nights: Sequence[Night]) -> str:
    """The text: one family after the other, each with its help and type (Prometheus exposition format)."""
    newest: dict[str, Service] = {}
    tried: dict[str, tuple[Night, Service]] = {}
    for night in nights:
        newest |= {item.scenario: item for item in night.services}
        tried |= {item.scenario: (night, item) for item in night.services if item.trials}
    services = [_known(newest[name], tried.get(name, (None, newest[name]))[1]) for name in sorted(newest)]
    families = [
        ("exposure", "Exposure as systemd says, 0 is best", _each(services, lambda item: item.exposure)),
        ("exposure_accepted", "The same of what was accepted", _each(services, lambda item: item.exposure_accepted)),
        (
            "verdict",
            "1 for the word of the newest night, else 0",
            ((item, f'word="{word.value}"', float(item.word is word)) for item in services for word in Word),
        ),
        *(
            (f"limit_{metric}", f"{name}= of the recommendation", _limit(services, name, per))
            for name, (metric, per) in _LIMITS.items()
        ),
        (
            "checked_timestamp_seconds",
            "When the newest night that tried it began",
            ((item, "", _timestamp(tried[item.scenario][0].started_at)) for item in services if item.scenario in tried),
        ),
        (
            "accepted_timestamp_seconds",
            "When it was accepted",
            _each(services, lambda item: _timestamp(item.accepted_at)),
        ),
        ("trials", "Trials of the newest night", _each(services, lambda item: float(item.trials))),
        ("duration_seconds", "What it took", _each(services, lambda item: item.duration_s)),
    ]
    return "".join(_family(*family) for family in families)


def _known(newest: Service, tried: Service) -> Service:
    """What a night says of a service that it did not come to, beside what is still true of it."""
    if newest.trials:
        return newest
    return replace(tried, word=newest.word, reason=newest.reason, trials=0, duration_s=newest.duration_s)


def _each(services: Iterable[Service], value: Callable[[Service], float | None]) -> Iterator[Sample]:
    return ((item, "", value(item)) for item in services)


def _limit(services: Iterable[Service], directive: str, per: float) -> Iterator[Sample]:
    for service in services:
        for limit in service.limits:
            if limit["directive"] == directive and limit.get("number") is not None:
                yield service, "", limit["number"] * per


def _family(name: str, what: str, samples: Iterable[Sample]) -> str:
    lines = [
        f"harness_{name}{{{','.join(filter(None, [_labels(service), more]))}}} {value:.17g}\n"
        for service, more, value in samples
        if value is not None
    ]
    return f"# HELP harness_{name} {what}\n# TYPE harness_{name} gauge\n" + "".join(lines) if lines else ""


def _labels(service: Service) -> str:
    return f'scenario="{_escaped(service.scenario)}",unit="{_escaped(service.unit)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _timestamp(text: str) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None
