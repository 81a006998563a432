"""Executing the notebooks over a results folder, and writing them as pages."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from harness.errors import UsageError
from harness.machine.leftovers import new_name, scratch
from harness.results.store import write_whole

FOLDER = Path(__file__).parents[1] / "notebooks"
# Libraries that nbconvert's pages fetch for widgets and formulas, of which there are none: a page stands alone.
_FETCHED = re.compile(r'<script src="https://[^"]*">\s*</script>')
NEEDED = ("papermill", "nbconvert", "ipykernel")


def execute(results: Path, out: Path, *, only: str = "") -> list[Path]:
    """Run every notebook with `results` as its parameter, and write it to `out` as HTML without its code.

    `only` names one of them. Returns the paths of the pages. Raises UsageError when a library is missing, or a
    notebook fails.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UsageError(
            f"notebooks need {', '.join(missing)}", hint="install them: .venv/bin/pip install 'harness[notebooks]'"
        )
    import nbconvert
    import papermill
    from traitlets.config import Config

    out.mkdir(parents=True, exist_ok=True)
    exporter = nbconvert.HTMLExporter(exclude_input=True, exclude_output_prompt=True)  # type: ignore[no-untyped-call]
    pages = []
    with scratch(new_name()) as folder, _at_home_in(str(folder)):
        for source in sorted(FOLDER.glob(f"{only or '*'}.ipynb")):
            done = folder / source.name
            try:
                papermill.execute_notebook(
                    str(source),
                    str(done),
                    parameters={"results": str(results.absolute())},
                    kernel_name="python3",
                    progress_bar=False,
                    log_output=False,
                    # Sockets in a folder of its own, and no port that any user of the machine could talk to.
                    config=Config({"KernelManager": {"transport": "ipc"}}),
                )
            except papermill.PapermillExecutionError as error:
                raise UsageError(
                    f"{source.name} failed: {error.ename}: {error.evalue}", hint=f"open it by hand: {source}"
                ) from error
            page, _ = exporter.from_filename(str(done))
            path = out / f"{source.stem}.html"
            write_whole(path, _FETCHED.sub("", page))
            pages.append(path)
    return pages


@contextmanager
def _at_home_in(folder: str) -> Iterator[None]:
    """Let Jupyter and IPython keep their sockets, histories and settings there, and not in the user's home."""
    names = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, folder))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def strip(path: Path) -> None:
    """Take outputs and counts out of a notebook, as it is kept in git."""
    data = json.loads(path.read_text(encoding="utf-8"))
    for cell in data["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
