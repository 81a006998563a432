"""The notebooks, executed on the committed sample run, and how they are kept."""

import json
import re
from pathlib import Path

import pytest

from harness import notebook
from harness.errors import UsageError
from tests.report import sample

NOTEBOOKS = sorted(notebook.FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("pages")
    return {path.stem: path.read_text() for path in notebook.execute(sample.RESULTS, out)}


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["nightly_drift", "review_directives", "review_limits"]


def test_limits_are_reviewed(pages):
    text = pages["review_limits"]
    limits = sample.sample().recommendation["limits"]
    assert limits["proof"] in text
    assert all(item["value"] in text for item in limits["limits"])
    assert text.count('src="data:image/png') == 3


def test_directives_are_reviewed(pages):
    refused = sample.sample().recommendation["refused"]
    assert all(item["trial"] in pages["review_directives"] for item in refused)
    assert text_of(refused[0]["reason"]) in text_of(pages["review_directives"])


def test_nights_are_reviewed(pages):
    assert pages["nightly_drift"].count('src="data:image/png') == 2
    assert "no longer works" in pages["nightly_drift"]


def test_a_page_stands_alone(pages):
    for text in pages.values():
        assert not re.search(r'<(?:script|img|link)[^>]+(?:src|href)="https?:', text)


def test_where_nothing_was_run_yet_they_say_so(tmp_path):
    pages = notebook.execute(tmp_path, tmp_path / "out")
    assert len(pages) == 3
    assert "has fitted limits" in (tmp_path / "out" / "review_limits.html").read_text()


def test_a_notebook_that_fails_says_which(tmp_path):
    run = sample.copied(tmp_path)
    sample.edit(run / "run.json", lambda facts: facts.pop("scenario"))
    with pytest.raises(UsageError, match=r"review_limits\.ipynb failed: KeyError"):
        notebook.execute(tmp_path, tmp_path / "out", only="review_limits")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestKept:
    def cells(self, path: Path) -> list[dict]:
        return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]

    def test_without_outputs(self, path):
        assert [cell for cell in self.cells(path) if cell["outputs"] or cell["execution_count"]] == []

    def test_with_parameters(self, path):
        assert self.cells(path)[0]["metadata"]["tags"] == ["parameters"]

    def test_no_logic(self, path):
        code = "".join("".join(cell["source"]) + "\n" for cell in self.cells(path))
        assert not re.findall(r"^\s*(?:def|class|while|try|open)\b", code, re.MULTILINE)
        imported = set(re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE))
        assert imported <= {"harness", "pandas", "IPython"}


def text_of(html: str) -> str:
    return re.sub(r"&\w+;|[^\w]", "", html)
