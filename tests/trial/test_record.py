from harness.trial.record import bounded


def test_of_too_many_lines_the_middle_goes() -> None:
    lines = [f"{number:09}" for number in range(1000)]
    kept = bounded(lines, most=90)
    assert kept == [*lines[:5], *lines[-5:]]


def test_few_lines_are_kept_whole() -> None:
    lines = ["a" * 40, "b" * 50]
    assert bounded(lines, most=90) == lines


def test_one_line_that_is_too_long_is_not_kept_by_half() -> None:
    assert bounded(["a", "b" * 100, "c"], most=20) == ["a", "c"]
