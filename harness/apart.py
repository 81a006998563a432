"""Work that needs large libraries, in a process of its own: what tunes stays small, and a failure costs no run."""

import subprocess
import sys
from pathlib import Path

_MAIN = "from harness.cli import main; main()"


def write_page(run: Path) -> str:
    """Write the page of a run. Returns why it could not be written, "" when it was."""
    return _harness("report", "--page-only", str(run))


def write_notebooks(results: Path, out: Path) -> str:
    """Execute the notebooks over a results folder into `out`. Returns why they could not be, "" when they were."""
    return _harness("notebooks", "--results", str(results), "--out", str(out))


def _harness(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _MAIN, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    return done.stderr.decode(errors="replace").strip() if done.returncode else ""
