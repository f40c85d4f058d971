"""The ladder of batch sizes, and what a batch between two of its steps becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engines.batch_sizes import batch_sizes, padded

SIZES = st.integers(1, 2000)


@pytest.mark.parametrize(
    ("most", "sizes"),
    [
        (1, [1]),
        (3, [1, 2, 3]),
        (32, [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]),
        (50, [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 50]),
    ],
)
def test_there_are_four_sizes_for_every_doubling_and_the_largest(most: int, sizes: list[int]) -> None:
    assert batch_sizes(most) == sizes


@given(SIZES)
def test_a_batch_becomes_the_next_of_those_sizes(size: int) -> None:
    assert padded(size) == min(each for each in batch_sizes(4096) if each >= size)


@given(SIZES)
def test_less_than_a_quarter_is_filled_up(size: int) -> None:
    assert padded(size) - size < size / 4
