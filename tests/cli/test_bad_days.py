"""Everything that can go wrong on the command line: what it says, which status it ends with, and that nothing stays."""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import NEEDS_TWO, few, harness, leftovers, observations, programs_without, run_folder, tiny

pytestmark = pytest.mark.boots
PRIVATE_MOUNTS = ("unshare", "--mount", "--propagation", "private", "sh", "-euc")


@pytest.fixture(autouse=True)
def nothing_left(until) -> Iterator[None]:
    before = leftovers()
    yield
    # Another test may have killed a harness meanwhile, and removes what that left with its next start.
    until(lambda: not leftovers() - before, within_s=120.0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that others than root may enter, as pytest's own may not be."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def with_mount(command: str) -> tuple[str, ...]:
    """Run the harness in a mount namespace of its own after a shell command, such as a mount."""
    return (*PRIVATE_MOUNTS, f'{command}; exec "$@"', "sh")


class TestPrerequisites:
    def test_not_root(self, public):
        tiny.write(public)
        # It may read everything, since the interpreter may lie where only root can look; it may do nothing else.
        nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups".split()
        reads = "--inh-caps=+dac_read_search --ambient-caps=+dac_read_search".split()
        done = harness("tune", "tiny.toml", folder=public, wrap=(*nobody, *reads))
        assert done.status == 2
        assert "running as user 65534, but machines need root" in done.error
        assert "sudo" in done.hint
        assert not (public / "results").exists()

    def test_no_nspawn(self, tmp_path):
        tiny.write(tmp_path)
        programs = programs_without("systemd-nspawn")
        done = harness("tune", "tiny.toml", folder=tmp_path, env={"PATH": programs})
        assert done.status == 2
        assert "systemd-nspawn: not installed; needed for booting a throwaway machine" in done.error
        assert "apt-get install systemd-container" in done.hint
        assert harness("doctor", folder=tmp_path, env={"PATH": programs}).status == 4

    def test_missing_package(self, tmp_path):
        tiny.write(tmp_path, head='packages = ["no-such-package"]\n')
        done = harness("tune", "tiny.toml", folder=tmp_path)
        assert done.status == 2
        assert "no-such-package" in done.error
        assert done.hint.endswith("apt-get install --no-install-recommends no-such-package")


class TestUnits:
    def test_unknown(self, tmp_path):
        (tmp_path / "tiny.toml").write_text(f'unit = "no-such.service"\n{tiny.IT_RUNS}')
        done = harness("tune", "tiny.toml", folder=tmp_path)
        assert done.status == 2
        assert "the unit no-such.service is not-found in /" in done.error
        assert "[[files]]" in done.hint

    def test_not_a_service(self, tmp_path):
        (tmp_path / "tiny.toml").write_text(f'unit = "tiny.timer"\n{tiny.IT_RUNS}')
        done = harness("tune", "tiny.toml", folder=tmp_path)
        assert done.status == 2
        assert "tiny.toml" in done.error
        assert "only services can be tuned" in done.error

    def test_masked(self, tmp_path):
        tiny.write(tmp_path, service="")  # an empty unit file masks
        done = harness("tune", "tiny.toml", folder=tmp_path)
        assert done.status == 2
        assert "the unit tiny.service is masked in /" in done.error

    def test_bad_setting(self, tmp_path):
        tiny.write(tmp_path, service="[Service]\nType=oneshot\n")
        done = harness("tune", "tiny.toml", folder=tmp_path)
        assert done.status == 2
        assert "the unit tiny.service is bad-setting in /" in done.error

    def test_scenario_is_missing(self, tmp_path):
        done = harness("tune", "none.toml", folder=tmp_path)
        assert done.status == 2
        assert "none.toml: no such scenario" in done.error


class TestBaseline:
    def failing(self, folder: Path, step: str, **keys: str):
        tiny.write(folder, tables=f'[[steps]]\nname = "it"\n{step}\n', **keys)
        done = harness("tune", "tiny.toml", folder=folder)
        assert done.status == 3
        assert "harness try tiny.toml" in done.hint
        assert "tiny.service without any tightening, trial 000" in done.error
        return done

    def test_never_passes(self, tmp_path):
        done = self.failing(tmp_path, 'run = "echo what it said >&2; exit 4"')
        assert "the baseline never passes" in done.error
        assert "step it: exit status 4 (expected 0)" in done.error
        assert "what it said" in done.error
        assert harness("try", "tiny.toml", folder=tmp_path).status == 3

    def test_passes_sometimes(self, tmp_path):
        done = self.failing(tmp_path, 'run = "test $((HARNESS_SEED % 2)) = 0"', head="baseline_runs = 8\n")
        assert "the service is flaky: the baseline passed" in done.error
        assert "of 20 runs" in done.error

    def test_hangs(self, tmp_path):
        done = self.failing(tmp_path, 'run = "sleep 1000"\ntimeout_s = 1')
        assert "the baseline is too slow" in done.error
        assert "no end within 1 s" in done.error

    def test_command_is_missing(self, tmp_path):
        done = self.failing(tmp_path, 'run = "no-such-command"')
        assert "exit status 127 (command not found)" in done.error
        assert "no-such-command" in done.error

    def test_does_not_start(self, tmp_path):
        done = self.failing(tmp_path, 'run = "true"', service="[Service]\nExecStart=/no/such/program\n")
        assert "/no/such/program" in done.error
        assert "203/EXEC" in done.error

    def test_is_never_ready(self, tmp_path):
        step = 'run = "true"\n[ready]\nrun = "test -e /never"\ntimeout_s = 1'
        assert "ready" in self.failing(tmp_path, step).error


class TestDisk:
    def test_results_are_full(self, tmp_path):
        tiny.write(tmp_path, head=few())
        (tmp_path / "results").mkdir()
        full = with_mount(f"mount -t tmpfs -o size=48k tmpfs {tmp_path}/results")
        done = harness("tune", "tiny.toml", folder=tmp_path, wrap=full)
        assert done.status == 4
        assert "No space left on device" in done.error
        assert " results/tiny-" in done.error
        assert "space" in done.hint

    def test_results_are_read_only(self, tmp_path):
        tiny.write(tmp_path)
        (tmp_path / "results").mkdir()
        full = with_mount(f"mount -t tmpfs -o ro tmpfs {tmp_path}/results")
        done = harness("tune", "tiny.toml", folder=tmp_path, wrap=full)
        assert done.status == 4
        assert "Read-only file system" in done.error
        assert "permissions" in done.hint

    def test_results_are_a_file(self, tmp_path):
        tiny.write(tmp_path)
        (tmp_path / "results").write_text("")
        done = harness("tune", "tiny.toml", folder=tmp_path)
        assert done.status == 2
        assert "results" in done.error

    def test_no_space_for_machines(self, tmp_path):
        tiny.write(tmp_path)
        done = harness(
            "tune", "tiny.toml", folder=tmp_path, wrap=with_mount("mount -t tmpfs -o size=8m tmpfs /var/tmp")
        )
        assert done.status == 4
        assert "no space left for machines" in done.error
        assert "/var/tmp" in done.hint

    def test_disk_that_fills_in_a_trial_decides_nothing(self, tmp_path):
        service = "[Service]\nExecStart=sh -c 'head -c 90000000 /dev/zero >/var/lib/large; exec sleep infinity'\n"
        tiny.write(
            tmp_path,
            service,
            "[ready]\nrun = 'test 90000000 = $(stat -c %s /var/lib/large)'\ntimeout_s = 2\n" + tiny.IT_RUNS,
        )
        done = harness(
            "try", "tiny.toml", folder=tmp_path, wrap=with_mount("mount -t tmpfs -o size=60m tmpfs /var/tmp")
        )
        assert "no space left for machines" in done.out
        assert "unresolved" in done.out


@pytest.fixture(scope="module")
def stopped_early(tmp_path_factory) -> Path:
    """The folder of a run that stopped at its budget."""
    folder = tmp_path_factory.mktemp("cut-off")
    tiny.write(folder, tables=NEEDS_TWO, head=few())
    done = harness("tune", "tiny.toml", "--max-trials", "3", folder=folder)
    assert done.status == 5, done.err
    assert "run the same command again" in done.hint
    return folder


@pytest.fixture
def cut_off(stopped_early, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(stopped_early, tmp_path / "copy"))


class TestRunFolder:
    def test_damaged_facts(self, cut_off):
        run = run_folder(cut_off)
        (run / "run.json").write_text("{")
        done = harness("report", str(run), folder=cut_off)
        assert done.status == 2
        assert str(run) in done.error
        done = harness("tune", "tiny.toml", "--max-trials", "3", folder=cut_off)
        assert done.status == 5, done.err
        assert len(list((cut_off / "results").iterdir())) == 2

    def test_torn_last_line(self, cut_off):
        run = run_folder(cut_off)
        file = run / "observations.jsonl"
        whole = file.read_bytes()
        file.write_bytes(whole + whole.splitlines()[-1][:100])
        done = harness("tune", "tiny.toml", folder=cut_off)
        assert done.status == 0, done.err
        assert file.read_bytes().startswith(whole)
        ids = [item["trial_id"] for item in observations(run)]
        assert len(ids) == len(set(ids))

    def test_damaged_line_in_the_middle(self, cut_off):
        run = run_folder(cut_off)
        file = run / "observations.jsonl"
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(lines[0] + b'{"format": 1, "reached\n' + b"".join(lines[1:]))
        done = harness("tune", "tiny.toml", folder=cut_off)
        assert done.status == 2
        assert "observations.jsonl:2" in done.error
        assert "--fresh" in done.hint

    def test_in_use(self, cut_off):
        run = run_folder(cut_off)
        before = (run / "observations.jsonl").read_bytes()
        with (run / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = harness("tune", "tiny.toml", folder=cut_off)
            assert (run / "lock").exists()
        assert done.status == 2
        assert f"{run.relative_to(cut_off)} is in use by another harness" in done.error
        assert (run / "observations.jsonl").read_bytes() == before

    def test_partial_result_is_whole(self, cut_off):
        run = run_folder(cut_off)
        data = json.loads((run / "derived/recommendation.json").read_text())
        assert data["state"] == "partial"
        assert "Not final" in (run / "derived/tiny.service.d/50-harness.conf").read_text()
        assert harness("report", str(run), folder=cut_off).status == 0

    def test_another_scenario_is_another_run(self, cut_off):
        path = cut_off / "tiny.toml"
        path.write_text(path.read_text().replace("two are needed", "two are still needed"))
        done = harness("tune", "tiny.toml", "--max-trials", "3", folder=cut_off)
        assert done.status == 5
        assert "going on with" not in done.err
        assert len(list((cut_off / "results").iterdir())) == 2


def test_no_argument_is_no_traceback(tmp_path):
    assert harness("tune", folder=tmp_path).status == 2
    assert harness("report", "results/none", folder=tmp_path).status == 2
    assert harness("try", "none.toml", "--with", str(tmp_path), folder=tmp_path).status == 2
    assert list(tmp_path.iterdir()) == []
