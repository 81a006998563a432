"""`harness try --set` tries further lines, on top of a drop-in if one is given; `tune` says what `--from` needs."""

import pytest

from tests.cli.command import harness, tiny

NICE = """
[[steps]]
name = "nice"
run = "systemctl show -p Nice tiny"
stdout_contains = "Nice=5"

[[steps]]
name = "of the drop-in"
run = "systemctl show -p OOMScoreAdjust tiny"
stdout_contains = "OOMScoreAdjust=7"
"""


@pytest.mark.boots
def test_further_lines_are_in_force_beside_the_drop_in(tmp_path):
    tiny.write(tmp_path, tables=NICE)
    (tmp_path / "own.conf").write_text("[Service]\nNice=3\nOOMScoreAdjust=7\n")
    assert harness("try", "tiny.toml", "--with", "own.conf", folder=tmp_path).status == 3
    assert harness("try", "tiny.toml", "--with", "own.conf", "--set", "Nice=5", folder=tmp_path).status == 0


UMASK = """
[[steps]]
name = "umask"
run = "systemctl show -p UMask tiny"
stdout_contains = "UMask={umask}"
"""


@pytest.mark.boots
@pytest.mark.parametrize(("start", "umask"), [("stripped", "0022"), ("shipped", "0077")])
def test_the_baseline_is_tried_where_a_search_begins(tmp_path, start, umask):
    service = tiny.IDLE + "UMask=0077\n"
    tiny.write(tmp_path, service, UMASK.format(umask=umask), head=f'start = "{start}"')
    assert harness("try", "tiny.toml", folder=tmp_path).status == 0


@pytest.mark.boots
def test_too_few_trials_for_limits_are_said_where_limits_are_asked_for(tmp_path):
    tiny.write(tmp_path, tables=f"{tiny.IT_RUNS}\n[limits]\nmax_trials = 30\n")
    done = harness("tune", "tiny.toml", folder=tmp_path)
    assert (done.status, "max_trials = 30 is too few" in done.error) == (2, True)
    assert "--only directives" in done.hint
    without = harness("tune", "tiny.toml", "--only", "directives", "--max-trials", "1", folder=tmp_path)
    assert (without.status, "too few" in without.error) == (5, False)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["tune"], "no scenario"),
        (["tune", "--from", "nowhere"], "is not a run folder"),
        (["rollback", "no such unit"], "is not the name of a service"),
        (["watch", "not-a-service.socket", "--since", "-1h"], "is not the name of a service"),
    ],
)
def test_what_is_missing_is_said(tmp_path, arguments, error):
    done = harness(*arguments, folder=tmp_path)
    assert done.status == 2
    assert error in done.error
    assert done.hint


@pytest.mark.boots
def test_only_what_is_set_is_suspect(tmp_path):
    tiny.write(tmp_path, "[Service]\nType=oneshot\nExecStart=/bin/mkdir /srv/made\nProtectHome=yes\n")
    done = harness("try", "tiny.toml", "--set", "ProtectSystem=strict", folder=tmp_path)
    assert done.status == 3
    assert "suspects: ProtectSystem\n" in done.out
