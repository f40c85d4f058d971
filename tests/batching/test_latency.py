"""What the latency model learns, and what it refuses to be told."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.latency import LatencyModel, LatencyPoint

SIZES = (1, 2, 4, 8, 16, 32)


def seconds(size: int) -> float:
    return 0.010 + 0.005 * size


def warmed_up() -> LatencyModel:
    return LatencyModel([(size, seconds(size)) for size in SIZES for _ in range(3)])


def test_before_anything_is_known_everything_is_expected_to_be_instant() -> None:
    model = LatencyModel()
    assert model.typical(32) == model.p99(32) == 0.0
    assert model.largest_within(0.0, 32) == 32


def test_the_warm_up_is_interpolated() -> None:
    model = warmed_up()
    for size in (1, 3, 12, 32):
        assert model.typical(size) == pytest.approx(seconds(size))


def test_a_batch_that_is_filled_up_takes_the_time_of_the_next_step() -> None:
    model = LatencyModel([(1, 1.0), (2, 2.0), (4, 4.0), (8, 8.0)], steps=[1, 2, 4, 6, 8])
    assert [model.typical(size) for size in range(1, 9)] == pytest.approx([1, 2, 4, 4, 6, 6, 8, 8])


def test_beyond_the_warm_up_time_grows_with_the_size() -> None:
    assert warmed_up().typical(64) == pytest.approx(2 * seconds(32))


def test_a_curve_that_is_not_a_line_keeps_its_shape() -> None:
    steps = {1: 0.010, 2: 0.010, 4: 0.010, 8: 0.020, 16: 0.040, 32: 0.080}
    model = LatencyModel(steps.items())
    for size, expected in steps.items():
        assert model.typical(size) == pytest.approx(expected, rel=0.05)


def test_without_a_warm_up_a_line_is_learnt_from_the_batches_themselves() -> None:
    model = LatencyModel()
    for _ in range(20):
        for size in (1, 7, 20, 32):
            model.observe(size, seconds(size))
    for size in (1, 10, 32):
        assert model.typical(size) == pytest.approx(seconds(size), rel=0.05)


def test_a_machine_that_slows_down_is_followed_and_believed_to_be_slow_at_every_size() -> None:
    model = warmed_up()
    for _ in range(150):
        model.observe(32, 2 * seconds(32))
    assert model.typical(32) == pytest.approx(2 * seconds(32), rel=0.02)
    assert model.typical(4) == pytest.approx(2 * seconds(4), rel=0.15)


def test_even_a_tenfold_change_is_followed_within_a_hundred_batches() -> None:
    model = warmed_up()
    for _ in range(100):
        model.observe(16, 10 * seconds(16))
    assert model.typical(16) == pytest.approx(10 * seconds(16), rel=0.1)


def test_one_pause_moves_neither_the_fit_nor_the_p99_by_much() -> None:
    model = warmed_up()
    for _ in range(50):
        model.observe(16, seconds(16))
    model.observe(16, 60.0)
    assert model.typical(16) < 1.1 * seconds(16)
    assert model.p99(16) < 1.1 * seconds(16)


def test_the_p99_covers_the_spread_of_recent_batches() -> None:
    rng, model = Random(1), warmed_up()
    for _ in range(500):
        model.observe(32, seconds(32) * rng.uniform(0.8, 1.2))
    assert 1.1 * seconds(32) < model.p99(32) < 1.3 * seconds(32)


def test_the_spread_of_small_batches_says_nothing_about_large_ones() -> None:
    rng, model = Random(1), warmed_up()
    for _ in range(60):
        model.observe(1, seconds(1) * rng.choice((0.5, 1.5)))
        model.observe(32, seconds(32))
    assert model.p99(32) < 1.1 * model.typical(32)
    assert model.p99(1) > 1.2 * model.typical(1)


def test_the_p99_is_never_more_than_twice_the_typical_time() -> None:
    model = warmed_up()
    for _ in range(10):
        model.observe(32, 60.0)
    assert model.p99(32) <= 2 * model.typical(32)


def test_a_model_rebuilt_from_its_curve_expects_the_same() -> None:
    rng, model = Random(1), warmed_up()
    for _ in range(300):
        size = rng.randint(1, 32)
        model.observe(size, seconds(size) * rng.uniform(0.9, 1.3))
    curve = model.curve(SIZES)
    for point, again in zip(curve, LatencyModel.from_curve(curve).curve(SIZES), strict=True):
        assert again == pytest.approx(point, rel=0.02)


def test_the_largest_batch_within_a_time_is_found() -> None:
    model = LatencyModel.from_curve(LatencyPoint(size, seconds(size), seconds(size)) for size in SIZES)
    assert model.largest_within(seconds(20) + 1e-6, 32) == 20
    assert model.largest_within(seconds(20) + 1e-6, 8) == 8
    assert model.largest_within(seconds(1) - 1e-6, 32) == 0


observations = st.lists(st.tuples(st.integers(1, 64), st.floats(1e-6, 1e3)), max_size=60)


@given(measured=observations, observed=observations)
def test_whatever_is_observed_times_are_finite_ordered_and_never_fall_with_size(
    measured: list[tuple[int, float]], observed: list[tuple[int, float]]
) -> None:
    model = LatencyModel(measured)
    for size, taken in observed:
        model.observe(size, taken)
    typical = [model.typical(size) for size in range(1, 80)]
    assert all(0 <= small <= large < 1e6 for small, large in pairwise(typical))
    assert all(model.typical(size) <= model.p99(size) <= 2 * model.typical(size) for size in range(1, 80))


@given(measured=observations.filter(len), within=st.floats(0, 100), most=st.integers(1, 64))
def test_the_size_found_always_fits(measured: list[tuple[int, float]], within: float, most: int) -> None:
    model = LatencyModel(measured)
    size = model.largest_within(within, most)
    assert 0 <= size <= most
    assert size == 0 or model.p99(size) <= within
