"""`harness try --set` tries further lines, on top of a drop-in if one is given; `tune` says what `--from` needs."""

import pytest

from tests.cli.command import harness, tiny

NICE = '[[steps]]\nname = "nice"\nrun = "systemctl show -p Nice -p OOMScoreAdjust tiny | tr \'\\\\n\' \' \'"\nstdout_contains = "Nice=5 OOMScoreAdjust=7"\n'  # noqa: E501


@pytest.mark.boots
def test_further_lines_are_in_force_beside_the_drop_in(tmp_path):
    tiny.write(tmp_path, tables=NICE)
    (tmp_path / "own.conf").write_text("[Service]\nNice=3\nOOMScoreAdjust=7\n")
    assert harness("try", "tiny.toml", "--with", "own.conf", folder=tmp_path).status == 3
    assert harness("try", "tiny.toml", "--with", "own.conf", "--set", "Nice=5", folder=tmp_path).status == 0


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
