"""The examples in the documentation do what they show."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.host import SERVICE, UNIT, UNIT_TEXT, Host, host, run_folder
from tests.deploy.test_apply import GOOD

pytestmark = pytest.mark.boots
DOCS = Path(__file__).parents[2] / "docs"
STRICT = (
    "[Service]\nProtectSystem=strict\nEnvironment='COMPLAIN=cannot write /var/lib/api/cache: Read-only file system'\n"
)


@pytest.fixture
def there() -> Iterator[Host]:
    with host({UNIT: UNIT_TEXT}, {"/srv/api.sh": SERVICE, "/var/lib/api/there": ""}) as one:
        one.sh(f"systemctl start {UNIT}")
        yield one


def examples(page: str) -> list[tuple[str, str]]:
    """Commands and what they print, from the page's console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    parts = [part for block in blocks for part in re.split(r"^# ", block, flags=re.MULTILINE)[1:]]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


def shows(printed: str, shown: str) -> bool:
    """Whether that was printed; `…` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, shown.split("…"))), printed) is not None


@pytest.mark.parametrize("page", ["apply.md", "watch.md"])
def test_examples(there, page):
    run_folder(there, GOOD, name="results/api-20260102-030405")
    if page == "watch.md":
        there.write(f"/etc/systemd/system/{UNIT}.d/20-strict.conf", STRICT)
        there.sh(f"systemctl daemon-reload; systemctl restart {UNIT}")
    assert examples(page)
    for command, shown in examples(page):
        done = there.sh(f"cd /srv; {command}")
        assert shows(done.text, shown), (command, done.text, done.error_text)
        assert done.status == (1 if page == "watch.md" else 0)


def test_following_ends_with_ctrl_c(there):
    there.write(f"/etc/systemd/system/{UNIT}.d/20-strict.conf", STRICT)
    there.sh("systemctl daemon-reload")
    start = "env --default-signal=INT PYTHONPATH=/opt/harness-under-test PYTHONUNBUFFERED=1 python3 -c "
    start += f"'from harness.cli import main; main()' watch {UNIT}"
    there.sh(f"(until grep -q watching /srv/out; do sleep 0.1; done; systemctl restart {UNIT}; "
             f"until grep -q ReadWritePaths /srv/out; do sleep 0.1; done; kill -INT $(cat /srv/pid)) & "
             f"{start} >/srv/out & echo $! >/srv/pid; wait $!; echo $? >/srv/status", timeout_s=60.0)  # fmt: skip
    assert there.read("/srv/status") == "0\n"
    assert (there.read("/srv/out") or "").count("refused") == 1
