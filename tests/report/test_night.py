"""A night for people and for machines: the index in a real browser, the metrics as Prometheus reads them."""

import io
import json
import re
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from harness.report import listing, night, nights
from harness.results import nights as kept
from harness.results.accepted import Accepted
from harness.results.folder import Run
from harness.results.judgement import Word
from harness.results.nights import Night, Service
from tests.report import sample
from tests.report.test_page import HOSTILE, browser, opened  # noqa: F401

NAMES = [f"202601{day:02}-020000" for day in range(1, 4)]
WORDS = {"broken": Word.BROKEN, "notes": Word.SAME, "redis": Word.TIGHTER}


def service(name: str, word: Word, reason: str = "why") -> Service:
    limits = (
        {"directive": "MemoryMax", "value": "22M", "number": 23068672},
        {"directive": "CPUQuota", "value": "61%", "number": 61},
        {"directive": "MemorySwapMax", "value": "0"},
    )
    return Service(
        name, f"{name}.service", word, reason, causes=("package x: 1 → 2",), limits=limits, exposure=0.9, trials=5,
        run=f"{name}-20260103-020100", accepted_at="2026-01-01T00:00:00+00:00", differences=("lost: UMask=0077",),
    )  # fmt: skip


def night_of(name: str, services: dict[str, Word], reason: str = "why") -> Night:
    told = tuple(service(item, word, reason) for item, word in services.items())
    return Night(name, f"2026-01-{name[6:8]}T02:00:00+00:00", 60.0, 7, tuple(services), told)


@pytest.fixture
def three() -> list[Night]:
    """In the last of them one service was not tried."""
    return [night_of(NAMES[0], WORDS), night_of(NAMES[1], WORDS), night_of(NAMES[2], dict(list(WORDS.items())[:2]))]


class TestMetrics:
    def families(self, nights_):
        return {family.name: family for family in text_string_to_metric_families(night.metrics(nights_))}

    def test_every_service_has_its_newest_figures(self, three):
        found = self.families(three)
        assert [sample.labels["scenario"] for sample in found["harness_exposure"].samples] == sorted(WORDS)
        assert {item.value for item in found["harness_limit_memory_bytes"].samples} == {23068672}
        assert {item.value for item in found["harness_limit_cpu_ratio"].samples} == {0.61}
        checked = {item.labels["scenario"]: item.value for item in found["harness_checked_timestamp_seconds"].samples}
        assert checked["notes"] - checked["redis"] == 86400

    def test_a_service_that_a_night_did_not_come_to_was_not_checked_then(self, three):
        late = Service("notes", "", Word.UNDECIDED, "not tried: the night's deadline has passed")
        found = self.families([*three, Night("20260104-020000", "2026-01-04T02:00:00+00:00", 1.0, 7, (), (late,))])
        (checked,) = (
            item
            for item in found["harness_checked_timestamp_seconds"].samples
            if item.labels == {"scenario": "notes", "unit": "notes.service"}
        )
        assert checked.value == datetime(2026, 1, 3, 2, tzinfo=UTC).timestamp()
        assert {item.labels["unit"] for item in found["harness_limit_memory_bytes"].samples} >= {"notes.service"}
        assert {
            item.labels["word"]
            for item in found["harness_verdict"].samples
            if item.labels["scenario"] == "notes" and item.value == 1
        } == {"undecided"}

    def test_one_word_for_each(self, three):
        told = self.families(three)["harness_verdict"].samples
        assert {item.labels["scenario"]: item.labels["word"] for item in told if item.value == 1} == {
            name: word.value for name, word in WORDS.items()
        }
        assert len(told) == len(WORDS) * len(Word)

    def test_names_are_escaped(self):
        hostile = 'a"b\\c\nd'
        (item,) = self.families([night_of(NAMES[0], {hostile: Word.SAME})])["harness_exposure"].samples
        assert item.labels["scenario"] == hostile

    def test_no_night_no_metric(self):
        assert night.metrics([]) == ""


@pytest.mark.browser
class TestIndex:
    def test_the_worst_first_and_what_was_last_said_of_each(self, opened, tmp_path, three):  # noqa: F811
        shown = opened(nights.write(tmp_path, three))
        rows = shown.page.locator("#services tbody tr")
        assert [row.get_attribute("data-state") for row in rows.all()] == [
            "no longer works", "could be tighter", "same",
        ]  # fmt: skip
        assert "1 of 2 services no longer works as accepted: broken" in shown.one(".verdict").text_content()
        assert "package x: 1 → 2" in rows.first.text_content()
        assert "20260102-020000" in rows.nth(1).text_content()
        assert shown.page.locator(".nights tbody td").count() == 9
        assert shown.complaints == []

    def test_filtering(self, opened, tmp_path, three):  # noqa: F811
        shown = opened(nights.write(tmp_path, three))
        shown.page.get_by_label("Show").select_option("same")
        assert shown.page.locator("#services tbody tr:visible").count() == 1
        shown.page.get_by_role("searchbox").fill("nothing like it")
        assert shown.page.get_by_text("No service matches.").is_visible()

    def test_pages_of_runs_are_linked_where_they_are(self, opened, tmp_path, three):  # noqa: F811
        page = kept.folder_of(tmp_path) / NAMES[2] / "notes-20260103-020100" / "derived" / "report.html"
        page.parent.mkdir(parents=True)
        page.write_text("<title>the run</title>")
        shown = opened(nights.write(tmp_path, three))
        assert shown.page.locator("#services a").count() == 1
        shown.page.get_by_role("link", name="notes", exact=True).click()
        assert shown.page.title() == "the run"

    @pytest.mark.parametrize("width", [360, 768, 1200])
    def test_nothing_is_wider_than_the_screen(self, opened, tmp_path, three, width):  # noqa: F811
        shown = opened(nights.write(tmp_path, three), viewport={"width": width, "height": 800})
        assert shown.page.evaluate("document.documentElement.scrollWidth") == width

    def test_a_hostile_reason_stays_text(self, opened, tmp_path):  # noqa: F811
        hostile = HOSTILE.replace("\udcff", "")
        shown = opened(nights.write(tmp_path, [night_of(NAMES[0], {"notes": Word.BROKEN}, reason=hostile)]))
        assert shown.page.evaluate("window.pwned") is None
        assert "<script>window.pwned=1</script>" in shown.page.locator("#services").text_content()

    def test_no_night_yet(self, opened, tmp_path):  # noqa: F811
        shown = opened(nights.write(tmp_path, []))
        assert "No night yet" in shown.one(".verdict").text_content()
        assert shown.complaints == []


def printed(show, *arguments) -> str:
    out = Console(file=io.StringIO(), width=120)
    show(*arguments, out)
    return out.file.getvalue()


def test_a_service_on_the_terminal():
    text = printed(night.show_service, service("notes", Word.BROKEN, "TasksMax=7: trial 0003, \x1b[31mrejected"))
    first, second, third = text.splitlines()
    assert re.fullmatch(r"no longer works +notes  exposure 0.9, 5 trials in 0.0 s", first)
    assert second.strip() == "TasksMax=7: trial 0003, [31mrejected"
    assert third.strip() == "since it was accepted: package x: 1 → 2"


def test_the_end_of_a_night_that_was_stopped(three, tmp_path):
    stopped = Night(NAMES[0], "", 3.0, 1, ("notes", "redis"), (service("notes", Word.SAME),), "stopped by Ctrl-C")
    text = printed(night.show_end, stopped, tmp_path, tmp_path / "index.html")
    assert "1 of 2 services in 3.0 s: 1 same" in text
    assert "stopped by Ctrl-C; not tried: redis" in text


class TestListing:
    @pytest.fixture
    def results(self, tmp_path):
        one, two = (sample.copied(tmp_path, f"notes-2026010{day}-000000") for day in (2, 1))
        sample.edit(one / "run.json", lambda facts: facts.update(started_at="2026-01-02T00:00:00+00:00"))
        sample.edit(two / "run.json", lambda facts: facts.update(started_at="2026-01-01T00:00:00+00:00"))
        (tmp_path / "broken-20260103-000000").mkdir()
        (tmp_path / "broken-20260103-000000" / "run.json").write_text("{")
        Accepted.of_run(Run.open(one)).write(tmp_path)
        return tmp_path

    def test_oldest_first_and_what_cannot_be_read_is_said(self, results):
        items = listing.runs(results)
        assert [item.name for item in items] == [
            "broken-20260103-000000", "notes-20260101-000000", "notes-20260102-000000",
        ]  # fmt: skip
        assert "is not a run folder" in items[0].problem
        assert [item.is_accepted for item in items] == [False, False, True]
        data = sample.sample().recommendation
        assert (items[1].state, items[1].trials) == ("tight", data["trials"])
        assert "MemoryMax=" in items[1].limits

    def test_limits_that_are_not_confirmed_are_none(self, results):
        file = results / "notes-20260101-000000" / "derived" / "recommendation.json"
        sample.edit(file, lambda data: data["limits"].update(state="unconfirmed"))
        assert [bool(item.limits) for item in listing.runs(results)] == [False, False, True]

    def test_printed(self, results):
        text = printed(listing.show, listing.runs(results))
        assert "tight, accepted" in text
        assert "9.2 → 0.9" in text

    def test_a_damaged_accepted_file_is_not_its_business(self, results):
        (results / "accepted" / "other.json").write_text(json.dumps([]))
        assert any(item.is_accepted for item in listing.runs(results))
