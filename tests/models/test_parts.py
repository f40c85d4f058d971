"""What becomes of a batch: whole, or in parts of one size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engines.parts import LARGEST_WHOLE, PART, batch_sizes, cut


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
def test_the_sizes_are_those_that_run_whole_and_then_whole_parts(most: int, sizes: list[int]) -> None:
    assert batch_sizes(most) == sizes


@given(st.integers(1, 2000))
def test_no_batch_takes_more_parts_than_the_next_of_the_sizes(count: int) -> None:
    following = min(size for size in batch_sizes(4096) if size >= count)
    if count > LARGEST_WHOLE:
        assert -(-count // PART) == -(-following // PART)
    else:
        assert count == following


@given(st.integers(1, 200))
def test_parts_hold_every_image_once_in_order_and_are_of_one_size(count: int) -> None:
    pixels = np.arange(1, count + 1, dtype=np.uint8).reshape(count, 1, 1, 1).repeat(3, axis=3)
    parts = cut(pixels)
    assert {part.shape for part in parts} == {(PART, 1, 1, 3)}
    together = np.concatenate(parts)
    assert np.array_equal(together[:count], pixels)
    assert not together[count:].any()
