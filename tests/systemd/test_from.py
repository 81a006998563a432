"""A tune that goes on from an earlier answer needs few trials when little changed, and says what it did not repeat."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.inspection import Inspection
from harness.results.earlier import Earlier, check_earlier
from harness.results.folder import Run
from harness.scenario import Scenario
from harness.session import Options, tune
from harness.stored import think_again
from harness.unit import catalogue
from tests.systemd import tiny

pytestmark = [pytest.mark.boots, pytest.mark.usefixtures("examined_once")]

WRITES = """\
[Service]
RuntimeDirectory=writer
ExecStartPre=/usr/bin/mkfifo /run/writer/ask
ExecStart=/bin/sh -c 'while :; do read -r path </run/writer/ask && echo data >"$path"; done'
"""
SEARCHED = ("ProtectSystem", "ReadWritePaths", "ProtectHome", "UMask", "LockPersonality", "PrivateDevices")
STEP = """
[[steps]]
name = "writes to {where}"
run = "rm -f {where}/data; echo {where}/data >/run/writer/ask; for n in $(seq 40); do [ -s {where}/data ] && exit; sleep 0.05; done; exit 1"
timeout_s = 5
"""  # noqa: E501
UMASK = """
[[steps]]
name = "files are for all to read"
run = "stat -c %a /var/lib/app/data | grep 644"
"""


def scenario(folder: Path, *steps: str, head: str = "") -> Scenario:
    left = ", ".join(f'{d.name} = "not now"' for d in catalogue.load() if d.searched and d.name not in SEARCHED)
    (folder / "keep").write_text("there before the start\n")
    path = tiny.write(folder, WRITES, "".join(steps), head=f"{head}leave_alone = {{ {left} }}")
    files = "".join(
        f', {{ source = "keep", target = "{where}/keep" }}' for where in ("/var/lib/app", "/srv/extra", "/opt/app")
    )
    path.write_text(path.read_text().replace('tiny.service" }]', f'tiny.service" }}{files}]'))
    return tiny.load(path)


AS_IN_PRODUCTION = "baseline_runs = 3\nconfirm_runs = 3\n"


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> tuple[Path, Run]:
    folder = tmp_path_factory.mktemp("earlier")
    first = scenario(folder, STEP.format(where="/var/lib/app"), UMASK)
    _, store = tune(first, Options(results=folder / "results", workers=1))
    return folder, Run.open(store.folder)


def labels(run: Run, kind: str) -> set[str]:
    assert run.recommendation is not None
    return {item["label"] for item in run.recommendation[kind]}


def test_one_more_path_takes_few_trials_and_one_more_line(earlier):
    folder, before = earlier
    second = scenario(folder, STEP.format(where="/var/lib/app"), UMASK, STEP.format(where="/srv/extra"))
    with pytest.raises(UsageError, match="is not the scenario"):
        check_earlier(second, before.path, changed=False)
    answer, store = tune(second, Options(results=folder / "results", workers=1, earlier=before.path))
    after = Run.open(store.folder)
    assert answer.state == "tight"
    assert answer.trials <= 6
    assert labels(after, "settings") == labels(before, "settings")
    assert labels(after, "refused") - labels(before, "refused") == {"ReadWritePaths -/srv/extra"}
    assert set(after.drop_in.splitlines()) - set(before.drop_in.splitlines()) >= {"ReadWritePaths=-/srv/extra"}
    rests = {item["label"]: item["trial"] for item in after.recommendation["refused"]}
    assert rests["UMask=0027"].startswith(f"{before.name}/")
    assert rests["ReadWritePaths -/srv/extra"].isdigit()
    assert f"rest on trials of {before.name}" in after.drop_in
    again, _ = think_again(store.folder)
    assert json.loads(json.dumps(again.to_json())) | {"duration_s": 0} == after.recommendation | {"duration_s": 0}


def test_what_the_new_scenario_no_longer_asks_is_tried_again(earlier):
    folder, before = earlier
    without = scenario(folder, STEP.format(where="/var/lib/app"))
    answer, store = tune(without, Options(results=folder / "results", workers=1, earlier=before.path))
    assert answer.state == "tight"
    assert "UMask=0027" in labels(before, "refused")
    assert "UMask=0027" in labels(Run.open(store.folder), "settings")
    assert json.loads((store.folder / "run.json").read_text())["earlier"]["name"] == before.name


def test_all_is_tried_again_when_asked(earlier):
    folder, before = earlier
    same = scenario(folder, STEP.format(where="/var/lib/app"), UMASK)
    check_earlier(same, before.path, changed=False)
    answer, _ = tune(same, Options(results=folder / "results", workers=1, earlier=before.path, full=True))
    assert not answer.resting_on_earlier()
    assert {key.label for key, _ in answer.refusals()} == labels(before, "refused")


def test_one_more_path_takes_few_trials_with_three_baseline_and_three_confirming_runs_too(tmp_path):
    """The earlier baseline holds, so one new run is enough; the search's own pass is the first of the three."""
    asked = [STEP.format(where="/var/lib/app"), UMASK]
    options = Options(results=tmp_path / "results", workers=2)
    _, first = tune(scenario(tmp_path, *asked, head=AS_IN_PRODUCTION), options)
    more = scenario(tmp_path, *asked, STEP.format(where="/srv/extra"), head=AS_IN_PRODUCTION)
    answer, second = tune(more, replace(options, earlier=first.folder))
    assert answer.state == "tight"
    assert answer.confirmed == 3
    assert answer.trials <= 6
    assert len(list(second.earlier_baseline())) == 3
    asked.append(STEP.format(where="/srv/extra"))
    yet_more = scenario(tmp_path, *asked, STEP.format(where="/opt/app"), head=AS_IN_PRODUCTION)
    answer, third = tune(yet_more, replace(options, earlier=second.folder))
    assert answer.trials <= 6
    kept = list(third.earlier_baseline())
    assert [item.purpose for item in kept] == ["baseline"] * 3 + ["observe"]
    again, _ = think_again(third.folder)
    assert (again.trials, again.confirmed) == (answer.trials, 3)


def test_an_earlier_baseline_holds_on_the_same_ground_alone(earlier):
    folder, before = earlier
    same = scenario(folder, STEP.format(where="/var/lib/app"), UMASK)
    inspection = Inspection.from_facts(before.facts["inspection"])
    assert Earlier.of(before, same, inspection).baseline
    assert not Earlier.of(before, same, inspection, full=True).baseline
    assert not Earlier.of(before, same, replace(inspection, kernel="another")).baseline
    (other,) = Earlier.of(before, scenario(folder, STEP.format(where="/srv/extra")), inspection).baseline
    assert "writes to /var/lib/app" not in {step.name for step in other.steps}
    assert not Earlier.of(before, same.model_copy(update={"run_as": "dynamic"}), inspection).baseline
