"""The report page in a real browser: what a reader does with it, and what a hostile log cannot do to it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from harness.report import page as report
from harness.results.folder import Run
from harness.unit import catalogue
from tests.conftest import unavailable
from tests.report import sample

pytestmark = pytest.mark.browser
HOSTILE = (
    '</pre></td></table><script>window.pwned=1</script><img src=x onerror="window.pwned=1">'
    "{{ 7*7 }}{% raw %}\x1b[31m\x00 &amp; 'quoted' \u202e \udcff"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        unavailable("no chromium here: apt-get install --no-install-recommends chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


class Opened:
    """A page in the browser, with all it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def rows(self) -> list[str]:
        """Names of the directives shown, from top to bottom."""
        return [row.text_content() or "" for row in self.page.locator("#rows tbody tr:visible th").all()]

    def one(self, selector: str) -> Locator:
        return self.page.locator(selector).first


@pytest.fixture
def opened(browser) -> Iterator:
    contexts = []

    def open_page(path: Path, **options) -> Opened:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.goto(path.as_uri())
        return found

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return report.write(Run.open(sample.copied(tmp_path_factory.mktemp("sample"))))


@pytest.fixture
def shown(opened, written) -> Opened:
    return opened(written)


def test_the_first_screen_says_it_all(shown):
    data = sample.sample().recommendation
    seen = [shown.one(selector).text_content() for selector in ("h1", ".verdict", ".tiles")]
    assert seen[0] == data["unit"]
    assert f"passed {data['confirmed']} more times" in seen[1]
    for told in (f"{data['exposure_before']:.1f}", f"{data['exposure_after']:.1f}", str(data["trials"])):
        assert told in seen[2]
    assert shown.one(".tiles").bounding_box()["y"] < 500


def test_it_is_self_contained_and_complains_of_nothing(shown, written):
    assert shown.complaints == []
    assert shown.requests == [written.as_uri()]


def test_sorting(shown):
    before = shown.rows()
    names = shown.page.get_by_role("button", name="Directive")
    names.click()
    assert shown.rows() == sorted(before, key=str.lower) != before
    assert shown.one("#rows th").get_attribute("aria-sort") == "ascending"
    names.click()
    assert shown.rows() == sorted(before, key=str.lower, reverse=True)
    assert shown.one("#rows th").get_attribute("aria-sort") == "descending"


def test_sorting_by_weight_is_by_number(shown):
    shown.page.locator("#rows").get_by_role("button", name="Weight").click()
    weights = [int(cell.text_content()) for cell in shown.page.locator("#rows td.number").all()]
    assert weights == sorted(weights)
    assert weights[-1] >= 1000 > weights[0]  # as text it would be in another order


def test_filtering_by_text_and_state(shown):
    everything = shown.rows()
    search = shown.page.get_by_role("searchbox")
    search.fill("protectkernel")
    assert shown.rows() == [name for name in everything if name.startswith("ProtectKernel")] != []
    assert shown.page.get_by_role("status").text_content() == f"{len(shown.rows())} of {len(everything)}"
    search.fill("no such words")
    assert shown.rows() == []
    assert shown.page.get_by_text("No directive matches.").is_visible()
    search.fill("")
    shown.page.get_by_label("Show").select_option("held back")
    assert (
        set(shown.rows()) == {row["directive"] for row in sample.sample().recommendation["refused"]} - refused_whole()
    )


def refused_whole() -> set[str]:
    data = sample.sample().recommendation
    return {row["directive"] for row in data["refused"]} - {row["directive"] for row in data["settings"]}


def test_from_the_page_alone_to_why_a_directive_is_not_stricter(shown):
    item = next(item for item in sample.sample().recommendation["refused"] if item["evidence"])
    row = shown.page.locator("#rows tr").filter(has=shown.page.get_by_role("link", name=item["directive"], exact=True))
    witness = row.locator("details").first
    assert f"trial {item['trial']}" in witness.locator("summary").text_content()
    evidence = witness.locator("pre").first
    assert not evidence.is_visible()
    witness.locator("summary").focus()
    shown.page.keyboard.press("Enter")
    assert evidence.is_visible()
    assert item["evidence"][0][:100] in evidence.text_content()
    assert f"shows as: {catalogue.load()[item['directive']].too_tight}." in witness.text_content()


def test_sorting_takes_the_witnesses_along(shown):
    name = sample.sample().recommendation["refused"][0]["directive"]
    shown.page.get_by_role("button", name="Directive").click()
    row = shown.page.locator("#rows tr").filter(has=shown.page.get_by_role("link", name=name, exact=True))
    assert row.locator("details").count() >= 1


class TestCopying:
    @pytest.fixture
    def allowed(self, opened, written) -> Opened:
        return opened(written, permissions=["clipboard-read", "clipboard-write"])

    def copied(self, shown: Opened) -> str:
        button = shown.page.locator(".copy:visible")
        button.click()
        shown.page.wait_for_function("document.querySelector('.answer:not([hidden]) .copy').textContent == 'Copied'")
        return shown.page.evaluate("navigator.clipboard.readText()")

    def test_the_drop_in(self, allowed):
        assert self.copied(allowed) == sample.sample().drop_in

    def test_without_its_reasons(self, allowed):
        allowed.page.get_by_label("reasons").first.uncheck()
        lines = [line for line in sample.sample().drop_in.splitlines() if not line.startswith("#")]
        assert self.copied(allowed) == "\n".join(lines) + "\n"

    def test_another_form_of_it(self, allowed):
        allowed.page.get_by_role("tab", name="Drop-in").focus()
        allowed.page.keyboard.press("ArrowRight")
        assert self.copied(allowed) == sample.sample().full_unit

    def test_where_the_clipboard_is_denied_the_old_way_is_taken(self, opened, written):
        shown = opened(written)
        shown.page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('denied')))")
        shown.page.locator(".copy:visible").click()
        shown.page.wait_for_function("document.querySelector('.copy').textContent == 'Copied'")


@pytest.mark.parametrize("width", [360, 768, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(opened, written, width, scheme):
    shown = opened(written, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert shown.page.evaluate("document.documentElement.scrollWidth") == width
    background = shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) > 384) == (scheme == "light")


def test_everything_is_reached_by_keyboard(shown):
    for element in shown.page.locator("a, button, input, select, summary").all():
        if element.is_visible() and element.get_attribute("tabindex") != "-1":
            element.focus()
            assert element.evaluate("item => item === document.activeElement")


def test_figures_have_words_and_colours_of_the_page(shown):
    figures = shown.page.locator("figure svg")
    assert figures.count() >= 3
    for figure in figures.all():
        assert len(figure.get_attribute("aria-label")) > 20
        assert "var(--ink)" in figure.inner_html()
    ids = shown.page.evaluate("[...document.querySelectorAll('[id]')].map(item => item.id)")
    assert len(ids) == len(set(ids))


def hostile(folder: Path) -> Path:
    """A run in which everything that a service or a scenario can write is hostile."""
    run = sample.copied(folder)

    def observation(item):
        item["kernel"] = [HOSTILE]
        item["journal"] = [
            {"priority": 3, "identifier": HOSTILE, "pid": 1, "message": HOSTILE, "from_manager": False},
        ]
        for step in item["steps"]:
            step["name"] += HOSTILE
            step["problem"] = step["problem"] and HOSTILE

    def recommendation(data):
        for item in data["refused"]:
            item["reason"], item["evidence"] = HOSTILE, [HOSTILE]
        for item in data["left_out"] + data["canaries"]:
            item["reason" if "reason" in item else "detail"] = HOSTILE
        data["packages"] = {HOSTILE: HOSTILE}
        data["verdicts"] = [{**item, "reason": HOSTILE} for item in data["verdicts"]]

    def facts(data):
        data["scenario_path"] = HOSTILE.replace("\udcff", "")

    sample.edit_observations(run, observation)
    sample.edit(run / "derived" / "recommendation.json", recommendation)
    sample.edit(run / "run.json", facts)
    for file in (run / "derived").rglob("50-harness.conf"):
        file.write_text(file.read_text() + f"# {HOSTILE}\n".replace("\udcff", "").replace("\x00", ""))
    return run


def test_a_hostile_log_stays_text(opened, tmp_path):
    shown = opened(report.write(Run.open(hostile(tmp_path))))
    for summary in shown.page.locator("summary").all():
        if summary.is_visible():
            summary.click()
    assert shown.page.evaluate("window.pwned") is None
    assert shown.complaints == []
    assert shown.page.locator("img").count() == 0
    assert shown.page.locator("script").count() == 1
    text = shown.page.locator("#rows").text_content()
    assert '<script>window.pwned=1</script><img src=x onerror="window.pwned=1">{{ 7*7 }}{% raw %}' in text
    assert not set(text) & {"\x00", "\x1b", "\u202e"}


def test_were_it_not_escaped_it_would_still_not_run(opened, tmp_path, written):
    """The page's policy allows its own script by hash, and no other."""
    path = tmp_path / "page.html"
    path.write_text(written.read_text().replace("<h1>", "<script>window.pwned=1</script><h1>"))
    shown = opened(path)
    assert shown.page.evaluate("window.pwned") is None
    assert any("Content Security Policy" in text for text in shown.complaints)
