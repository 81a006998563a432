"""Imports go one way, and what thinks imports nothing that touches a machine (docs/design.md, section 2)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "harness"
RANKS = {
    "errors": 0,
    "mistakes": 0,
    "mountinfo": 0,
    "observation": 1,
    "inspection": 1,
    "check": 7,
    "unit": 1,
    "clashes": 1.5,
    "scenario": 1.75,
    "judge": 2,
    "machine": 2,
    "steps": 0,
    "samples": 1,
    "search": 3,
    "limits": 3,
    "fitting": 6,
    "bare": 6,
    "judging": 6,
    "results": 4,
    "report": 5,
    "trial": 3,
    "attempts": 5,
    "deploy": 6,
    "tune": 7,
    "init": 5,
    "stored": 8,
    "session": 9,
    "recheck": 9,
    "apart": 0,
    "schedule": 5,
    "notebook": 5,
    "nightly": 10,
    "commands": 11,
    "cli": 12,
}
TOUCHING = {
    *("machine", "trial", "attempts", "bare", "judging", "fitting", "tune", "deploy", "init", "stored", "session"),
    *("recheck", "check", "nightly", "apart", "schedule", "notebook", "commands", "cli"),
}
THINKING = set(RANKS) - TOUCHING
ONLY_IMPORTERS = {
    "sh": {"machine/shell.py"},
    "matplotlib": {"report/plots.py", "report/charts.py"},
    "jinja2": {"report/template.py"},
}


def imports() -> list[tuple[str, str]]:
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found += [(str(file.relative_to(PACKAGE)), name) for name in names]
    return found


def room(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def inside(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "harness" and len(parts) > 1 and parts[1] in RANKS else None


def test_every_room_has_a_rank():
    rooms = {room(str(file.relative_to(PACKAGE))) for file in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms == set(RANKS)


def test_imports_go_down():
    wrong = [
        f"{path} imports {name}"
        for path, name in imports()
        if (target := inside(name)) and room(path) in RANKS
        if target != room(path) and RANKS[target] >= RANKS[room(path)]
    ]
    assert wrong == []


def test_what_thinks_does_not_touch():
    wrong = [
        f"{path} imports {name}" for path, name in imports() if room(path) in THINKING and inside(name) in TOUCHING
    ]
    assert wrong == []


@pytest.mark.parametrize(("library", "importers"), ONLY_IMPORTERS.items())
def test_one_place_for_one_outside_contact(library, importers):
    assert {path for path, name in imports() if name.split(".")[0] == library} == importers


def test_modules_stay_readable():
    large = [str(file) for file in PACKAGE.rglob("*.py") if len(file.read_text().splitlines()) > 350]
    assert large == []


def test_the_command_line_starts_without_the_libraries_for_data():
    loaded = "import sys, harness.cli, harness.trial.run; print({'pandas', 'pyarrow', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    assert done.stdout == "set()\n"
