import pytest

from harness.errors import UnitError
from harness.unit.exposure import overall, rows


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("→ Overall exposure level for redis.service: 9.2 UNSAFE 😨\n", 9.2),
        ("  NAME DESCRIPTION\n-> Overall exposure level for x@1.service: 0.0 PERFECT :-D\n", 0.0),
        ("\n-> Overall exposure level for x.service: 10.0 DANGEROUS", 10.0),
    ],
)
def test_the_overall_figure_is_read_from_the_text(text: str, level: float) -> None:
    assert overall(text) == level


def test_text_without_the_figure_is_an_error() -> None:
    with pytest.raises(UnitError, match="no overall"):
        overall("Unit x.service not found.")


def test_rows_are_typed() -> None:
    first, second = rows(
        '[{"set":false,"name":"PrivateTmp=","json_field":"PrivateTmp","description":"d","exposure":"0.2"},'
        '{"set":null,"name":"RemoveIPC=","json_field":"RemoveIPC","description":"d","exposure":null}]'
    )
    assert (first.set, first.name, first.exposure) == (False, "PrivateTmp=", 0.2)
    assert (second.set, second.exposure) == (None, None)


@pytest.mark.parametrize("text", ["", "{}x", '[{"name":"x"}]', "[1]", "1"])
def test_rows_that_cannot_be_read_are_an_error(text: str) -> None:
    with pytest.raises(UnitError, match="cannot be read"):
        rows(text)


def test_the_real_tool_is_understood(analyze) -> None:
    unit = "[Service]\nExecStart=/bin/true\n"
    assert 9.0 <= analyze.exposure(unit) <= 10.0
    assert len(rows(analyze.rows_json(unit))) > 70
