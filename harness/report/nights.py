"""`results/nights/index.html`: what every night said of every service, on one page."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.report.summary import PAGE
from harness.report.template import from_template
from harness.results import nights
from harness.results.judgement import Word
from harness.results.nights import Night, Service
from harness.results.store import write_whole

FILE_NAME = "index.html"
# Columns of the table over the nights; older ones are in the list below it.
MOST_COLUMNS = 30


@dataclass(frozen=True)
class Cell:
    """What one night says of one service; `page` is where its run's page is, "" when it has none."""

    night: str
    service: Service
    page: str

    @property
    def kind(self) -> str:
        """The word as a class of the style sheet."""
        return self.service.word.name.lower()


@dataclass(frozen=True)
class Line:
    """One service over the nights, oldest first; None where a night did not come to it."""

    scenario: str
    cells: tuple[Cell | None, ...]
    newest: Cell


def write(results: Path, all_nights: Sequence[Night]) -> Path:
    """Write the page; returns its path."""
    path = nights.folder_of(results) / FILE_NAME
    write_whole(path, render(results, all_nights))
    return path


def render(results: Path, all_nights: Sequence[Night]) -> str:
    """The page as text; `all_nights` are oldest first."""
    shown = all_nights[-MOST_COLUMNS:]
    lines = [line for name in _names(all_nights) if (line := _line(results, name, all_nights, len(shown)))]
    lines.sort(key=lambda line: (_rank(line.newest.service.word), line.scenario))
    return from_template(
        "nights.html.j2",
        nights=shown,
        lines=lines,
        last=all_nights[-1] if all_nights else None,
        words=[(word, sum(line.newest.service.word is word for line in lines)) for word in Word],
        notebooks=_notebooks(results),
        count=len(all_nights),
    )


def _names(all_nights: Sequence[Night]) -> list[str]:
    return sorted({item.scenario for night in all_nights for item in night.services})


def _line(results: Path, name: str, all_nights: Sequence[Night], columns: int) -> Line | None:
    cells = [_cell(results, name, night) for night in all_nights]
    known = [cell for cell in cells if cell is not None]
    return Line(name, tuple(cells[-columns:]), known[-1]) if known else None


def _cell(results: Path, name: str, night: Night) -> Cell | None:
    service = next((item for item in night.services if item.scenario == name), None)
    if service is None:
        return None
    page = Path(night.name, service.run, "derived", PAGE) if service.run else None
    there = page is not None and (nights.folder_of(results) / page).exists()
    return Cell(night.name, service, page.as_posix() if page is not None and there else "")


def _rank(word: Word) -> int:
    """The worst first."""
    return [Word.BROKEN, Word.LIMITS, Word.TIGHTER, Word.UNDECIDED, Word.SAME].index(word)


def _notebooks(results: Path) -> list[str]:
    """Pages of the notebooks, as links from the index."""
    folder = nights.folder_of(results)
    return [os.path.relpath(file, folder) for file in sorted((folder / "notebooks").glob("*.html"))]
