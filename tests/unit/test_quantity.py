"""Sizes as systemd writes them: rounded up, never down, and read back as they were meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.unit.quantity import parse_count, parse_percent, parse_size, readable_size, size_text

SIZES = st.integers(1, 2**45)


@given(SIZES)
def test_what_is_written_is_read_back(size):
    assert parse_size(size_text(size)) == size


@given(SIZES)
def test_rounded_up_to_whole_pages_and_never_down(size):
    rounded = readable_size(size)
    assert rounded >= size
    assert rounded % 4096 == 0
    assert rounded - size <= max(4096, size / 64)


@pytest.mark.parametrize(
    ("size", "text"),
    [(384 * 2**20, "384M"), (2**30, "1G"), (4096, "4K"), (1000, "1000"), (220200960, "210M")],
)
def test_the_largest_unit_that_gives_a_whole_number(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(("text", "size"), [("512M", 2**29), ("1.5G", 3 * 2**29), ("4096", 4096), ("infinity", None)])
def test_sizes_of_systemd(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "15%", "-1M"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_counts_and_shares():
    assert (parse_count("100"), parse_count("infinity"), parse_percent("80%")) == (100, None, 80.0)
