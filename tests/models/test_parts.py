"""What becomes of a batch: whole, or in parts of one size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engines.parts import MOST_STREAMS, PART, batch_sizes, filled_up, runs_in_parts, streams

THREADS = st.integers(1, 200)
SIZES = st.integers(1, 2000)


@pytest.mark.parametrize(
    ("most", "sizes"),
    [
        (1, [1]),
        (3, [1, 2, 3]),
        (8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (32, [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 28, 32]),
        (34, [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 28, 32, 34]),
    ],
)
def test_the_sizes_are_the_smallest_and_then_whole_parts(most: int, sizes: list[int]) -> None:
    assert batch_sizes(most) == sizes


@given(SIZES)
def test_a_batch_is_filled_up_to_the_next_of_those_sizes(size: int) -> None:
    assert filled_up(size) == min(each for each in batch_sizes(4096) if each >= size)
    assert filled_up(size) - size < PART


@given(THREADS)
def test_every_stream_has_as_many_threads_and_few_are_left_over(threads: int) -> None:
    count = streams(threads)
    assert 1 <= count <= MOST_STREAMS
    assert threads % count <= threads / 2
    if threads <= MOST_STREAMS:
        assert count == threads


@given(THREADS, SIZES)
def test_a_batch_is_cut_only_where_every_stream_has_a_part(threads: int, size: int) -> None:
    count = streams(threads)
    if runs_in_parts(size, count):
        assert size // PART >= count
    assert not runs_in_parts(size, 1)
