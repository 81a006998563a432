import shutil
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.scenario import INSIDE, Scenario, load, schema_json

SHIPPED = sorted((Path(__file__).parents[2] / "scenarios").glob("*.toml"))
DATA = Path(__file__).parents[1] / "data" / "scenario"
SMALL = """
unit = "thing.service"
[[steps]]
name = "works"
run = "true"
"""


def written(folder: Path, text: str, name: str = "thing") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def message(folder: Path, text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        load(written(folder, text))
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_scenario_loads_and_brings_its_files(path: Path) -> None:
    scenario = load(path)
    assert scenario.name == path.stem
    assert scenario.description
    assert scenario.packages
    assert {item.target for item in scenario.files} <= scenario.machine_files().keys()
    assert path.read_text().startswith("#:schema ./scenario.schema.json\n")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_scenario_has_a_load_step_a_restart_more_of_a_life_cycle_and_after_checks(path: Path) -> None:
    scenario = load(path)
    assert any(step.kind.value == "load" for step in scenario.steps)
    assert any(action.do == "restart" for action in scenario.life_cycle)
    assert len(scenario.life_cycle) > 2
    assert scenario.after


def test_the_schema_for_editors_is_up_to_date() -> None:
    stored = SHIPPED[0].parent / "scenario.schema.json"
    assert stored.read_text() == schema_json(), f"write schema_json() to {stored}"


def test_the_example_in_the_reference_loads(tmp_path: Path) -> None:
    reference = (Path(__file__).parents[2] / "docs" / "scenario.md").read_text()
    example = reference.split("```toml\n")[1].split("```")[0]
    (tmp_path / "greeter").mkdir()
    for name in ("greeter.sh", "greeter.service"):
        (tmp_path / "greeter" / name).write_text("")
    assert load(written(tmp_path, example, "greeter")).steps


def test_the_reference_names_every_key() -> None:
    reference = (Path(__file__).parents[2] / "docs" / "scenario.md").read_text()
    missing = [name for name in Scenario.model_fields if name != "path" and f"`{name}`" not in reference]
    assert not missing


def test_all_mistakes_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    with pytest.raises(ScenarioError) as caught:
        load(Path("mistakes.toml"))
    assert caught.value.message + "\n" == (DATA / "mistakes.txt").read_text()


def test_one_mistake_is_named_with_file_and_key(tmp_path: Path) -> None:
    text = SMALL.replace("[[steps]]", 'start = "loose"\n[[steps]]')
    assert message(tmp_path, text) == (
        f"{tmp_path}/thing.toml: 1 mistake\n  start: Input should be 'shipped' or 'stripped' (got 'loose')"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("stop_timout_s = 3", "stop_timout_s: unknown key; did you mean stop_timeout_s?"),
        ('ready.timeout = 3\nready.run = "true"', "ready.timeout: unknown key; did you mean timeout_s?"),
        ("path = '/x'", "path: unknown key"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path: Path, line: str, said: str) -> None:
    assert said in message(tmp_path, f"{line}\n{SMALL}")


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("thing@.service", "unit: a template needs an instance: name@instance.service"),
        ("thing.timer", "unit: only services can be tuned: the name must end in .service"),
        ("thing", "unit: does not fit: The unit to tune, such as redis-server.service"),
        ("/etc/systemd/system/thing.service", "unit: does not fit: The unit to tune"),
    ],
)
def test_only_the_name_of_a_service_is_taken(tmp_path: Path, unit: str, said: str) -> None:
    assert said in message(tmp_path, SMALL.replace("thing.service", unit))


def test_an_instance_of_a_template_is_a_service(tmp_path: Path) -> None:
    assert load(written(tmp_path, SMALL.replace("thing.service", "thing@1.service"))).unit == "thing@1.service"


def test_names_are_unique_over_steps_life_cycle_and_after(tmp_path: Path) -> None:
    text = f"""{SMALL}
[[life_cycle]]
name = "again"
do = "restart"
[[after]]
name = "again"
run = "true"
[[after]]
name = "works"
run = "true"
"""
    assert "step names must be unique; used more than once: again, works" in message(tmp_path, text)


def test_names_that_trials_use_themselves_are_refused(tmp_path: Path) -> None:
    assert "no step may be called ready" in message(tmp_path, SMALL.replace("works", "ready"))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('do = "signal"', "`signal` goes with do = 'signal'"),
        ('do = "reload"\nsignal = "SIGHUP"', "`signal` goes with do = 'signal'"),
        ('do = "run"', "`run` goes with do = 'run'"),
        ('do = "restart"\nrun = "true"', "`run` goes with do = 'run'"),
        ('do = "restart"\nstdout_contains = "x"', "stdout_contains: only with do = 'run'"),
        ('do = "signal"\nsignal = "1"', "life_cycle.0.signal: does not fit"),
    ],
)
def test_a_life_cycle_action_has_what_it_does_and_nothing_else(tmp_path: Path, keys: str, said: str) -> None:
    assert said in message(tmp_path, f'{SMALL}\n[[life_cycle]]\nname = "action"\n{keys}\n')


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('unit = "a.service"\nrun = "a"\nname = "a"', "companions.0: say either `unit` or `run`"),
        ('name = "a"', "companions.0: say either `unit` or `run`"),
        ('run = "a"', "companions.0: a companion with `run` needs a `name`"),
        ('unit = "a.service"\naddresses = ["10.1.2.3"]', "needs a prefix length"),
        ('unit = "a.service"\naddresses = ["10.1.2.300/8"]', "companions.0.addresses.0: '10.1.2.300/8' does not"),
    ],
)
def test_a_companion_is_a_unit_or_a_command(tmp_path: Path, keys: str, said: str) -> None:
    assert said in message(tmp_path, f"{SMALL}\n[[companions]]\n{keys}\n")


@pytest.mark.parametrize("target", ["/run/thing", "/proc/1", "/sys/x", "/dev/shm/x", "/var/run/thing", "/tmp/x"])
def test_what_is_made_new_at_boot_is_no_target(tmp_path: Path, target: str) -> None:
    (tmp_path / "conf").touch()
    text = f'{SMALL}\n[[files]]\nsource = "conf"\ntarget = "{target}"\n'
    assert "files.0.target: this directory is made new at boot" in message(tmp_path, text)


@pytest.mark.parametrize("target", ["/etc/../run/thing", "/etc/thing/"])
def test_a_target_is_the_plain_path_of_a_file(tmp_path: Path, target: str) -> None:
    (tmp_path / "conf").touch()
    text = f'{SMALL}\n[[files]]\nsource = "conf"\ntarget = "{target}"\n'
    assert "files.0.target: must be the path of a file" in message(tmp_path, text)


def test_neighbours_of_a_forbidden_target_are_fine(tmp_path: Path) -> None:
    (tmp_path / "conf").touch()
    text = f'{SMALL}\n[[files]]\nsource = "conf"\ntarget = "/runner/conf"\n'
    assert load(written(tmp_path, text)).files[0].target == "/runner/conf"


def test_two_files_at_one_target_are_refused(tmp_path: Path) -> None:
    (tmp_path / "conf").touch()
    file = '[[files]]\nsource = "conf"\ntarget = "/etc/thing"\n'
    assert "files: more than one is put at /etc/thing" in message(tmp_path, f"{SMALL}\n{file}{file}")


def test_a_missing_source_is_reported_beside_other_mistakes(tmp_path: Path) -> None:
    text = f'unknown = 1\n{SMALL}\n[[files]]\nsource = "conf"\ntarget = "/etc/thing"\n'
    said = message(tmp_path, text)
    assert "2 mistakes" in said
    assert f"files.0.source: there is no file {tmp_path}/conf" in said


def test_bad_toml_is_reported_with_its_place(tmp_path: Path) -> None:
    said = message(tmp_path, 'unit = "thing.service\n')
    assert said.startswith(f"{tmp_path}/thing.toml: ")
    assert "line 1" in said


def test_bytes_that_are_no_text_are_reported(tmp_path: Path) -> None:
    (tmp_path / "thing.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "thing.toml")
    assert "UTF-8" in caught.value.hint


def test_a_missing_file_lists_its_neighbours(tmp_path: Path) -> None:
    for name in ("nginx", "redis"):
        written(tmp_path, SMALL, name)
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "ngnix.toml")
    assert caught.value.message == f"{tmp_path}/ngnix.toml: no such scenario; there are: nginx.toml, redis.toml"
    assert "harness init" in caught.value.hint


def test_a_missing_folder_lists_nothing(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"nowhere/thing\.toml: no such scenario$"):
        load(tmp_path / "nowhere" / "thing.toml")


def scenario_with_files(folder: Path) -> Path:
    (folder / "thing").mkdir(parents=True)
    (folder / "thing" / "step.sh").write_text("echo one\n")
    (folder / "conf").write_text("a = 1\n")
    return written(folder, f'{SMALL}\n[[files]]\nsource = "conf"\ntarget = "/etc/thing.conf"\nowner = "0:7"\n')


def test_identity_is_that_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    path = scenario_with_files(tmp_path / "here")
    before = load(path).identity()
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert load(tmp_path / "there" / "thing.toml").identity() == before
    (tmp_path / "here" / "thing" / "__pycache__").mkdir()
    (tmp_path / "here" / "thing" / "__pycache__" / "step.pyc").write_text("made by a run")
    assert load(path).identity() == before


@pytest.mark.parametrize("name", ["conf", "thing/step.sh", "thing.toml", "thing/new"])
def test_identity_changes_with_every_file(tmp_path: Path, name: str) -> None:
    path = scenario_with_files(tmp_path)
    before = load(path).identity()
    with (tmp_path / name).open("a") as file:
        file.write("description2 = 1\n" if name != "thing.toml" else '[[after]]\nname = "end"\nrun = "true"\n')
    assert load(path).identity() != before


def test_identity_changes_with_permissions(tmp_path: Path) -> None:
    path = scenario_with_files(tmp_path)
    before = load(path).identity()
    (tmp_path / "thing" / "step.sh").chmod(0o755)
    assert load(path).identity() != before


def test_files_go_into_the_machine_with_mode_and_owner(tmp_path: Path) -> None:
    files = load(scenario_with_files(tmp_path)).machine_files()
    assert files == {
        f"{INSIDE}/step.sh": (b"echo one\n", 0o644, (0, 0)),
        "/etc/thing.conf": (b"a = 1\n", 0o644, (0, 7)),
    }


def test_owners_are_those_of_the_root_tree(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "passwd").write_text("thing:x:321:7::/:/bin/false\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
    (tmp_path / "conf").touch()
    text = f'root = "{root}"\n{SMALL}\n[[files]]\nsource = "conf"\ntarget = "/etc/a"\nowner = "thing:root"\n'
    assert load(written(tmp_path, text)).machine_files()["/etc/a"][2] == (321, 0)
    with pytest.raises(ScenarioError, match="no user or group 'daemon'"):
        load(written(tmp_path, text.replace("thing:root", "thing:daemon"))).machine_files()


def test_mistakes_between_tables_are_said_with_the_others(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    steps = "".join(f'[[steps]]\nname = "{name}"\nrun = "a"\n' for name in ("start", "two", "two"))
    file.write_text(f'unit = "x.socket"\nleave_alone = {{ ProtectHoem = "typo" }}\n{steps}')
    with pytest.raises(ScenarioError) as caught:
        load(file)
    told = caught.value.message
    assert "4 mistakes" in told
    assert "did you mean ProtectHome?" in told
    assert [part in told for part in ("x.socket", "more than once: two", "called start")] == [True] * 3
