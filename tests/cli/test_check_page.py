"""`harness check` on a unit file, as docs/check.md shows it; no systemd has to run for that."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.command import HARNESS

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "check.md").read_text()
GUIDE = PROJECT / "scenarios" / "flask-mongo"


def block(kind: str, page: str = PAGE) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HARNESS, "check", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.service").write_text(block("ini"))
    return tmp_path


def same(text: str) -> str:
    """Without what other versions of systemd word or count differently."""
    text = re.sub(r"exposure \d+\.\d", "exposure N", text)
    return re.sub(r"systemd ignores it: .*?;", "systemd ignores it;", text)


def test_the_page_shows_what_is_printed(shop: Path) -> None:
    done = check(shop, "./shop.service")
    assert done.returncode == 0, done.stderr
    assert same(done.stdout) == same(block("text"))


def test_the_guides_lines_are_as_its_readme_says() -> None:
    done = check(GUIDE, "./guide.service")
    assert done.returncode == 0, done.stderr
    assert block("text", (GUIDE / "README.md").read_text()) in done.stdout
    assert "score 85 of 100" in done.stdout


def test_exposure_is_that_of_systemd(shop: Path) -> None:
    argv = ["systemd-analyze", "security", "--no-pager", "--offline=true", str(shop / "shop.service")]
    told = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    found = json.loads(check(shop, "shop.service", "--json").stdout)
    assert f"shop.service: {found['exposure']:.1f} " in told


def test_the_least_score_decides_the_status(shop: Path) -> None:
    score = json.loads(check(shop, "shop.service", "--json").stdout)["score"]
    assert check(shop, "shop.service", "--min", str(score)).returncode == 0
    assert check(shop, "shop.service", "--min", str(score + 1)).returncode == 1


def test_drop_ins_beside_the_file_count(shop: Path) -> None:
    (shop / "shop.service.d").mkdir()
    (shop / "shop.service.d/50-more.conf").write_text("[Service]\nProtectSystem=full\n")
    found = json.loads(check(shop, "shop.service", "--json").stdout)
    assert {each["name"]: each["value"] for each in found["directives"]}["ProtectSystem"] == "full"
    overridden = next(each for each in found["idle"] if each["directive"] == "ProtectSystem")
    assert (Path(overridden["file"]).name, overridden["line"]) == ("shop.service", 4)


def test_what_cannot_be_looked_at_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.timer").write_text("[Timer]\nOnCalendar=weekly\n")
    (tmp_path / "broken.service").write_text("[Service\nExecStart=/bin/true\n")
    for argument, said in (
        ("./nothing.service", "cannot read"),
        ("./a.timer", "has no [Service] section"),
        ("./broken.service", "invalid section header"),
        ("a.socket", "is not a service"),
    ):
        done = check(tmp_path, argument)
        assert done.returncode == 2, argument
        assert said in done.stderr
        assert "hint" in done.stderr


def test_a_line_number_stays_a_number(tmp_path: Path) -> None:
    """Between colons, terminals are given pictures of some words and numbers."""
    (tmp_path / "a.service").write_text("[Service]\nExecStart=/bin/true\n" + "\n" * 97 + "AmbientCapabilities=\n")
    assert "a.service:100: AmbientCapabilities=" in check(tmp_path, "./a.service").stdout
