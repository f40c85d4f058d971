"""Schedules ascend, keep their rate, and can be repeated."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.schedules import Arrivals, Phase, Times, bursty, of_phases, poisson, uniform


def test_a_metronome() -> None:
    assert list(uniform(4, 1)) == [0, 0.25, 0.5, 0.75]


def test_independent_callers_keep_the_rate_and_their_gaps_vary_as_much_as_they_are_long() -> None:
    times = poisson(1000, 60, seed=1)
    gaps = np.diff(times)
    assert len(times) == pytest.approx(60_000, rel=0.02)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.02)
    assert gaps.min() >= 0
    assert times[-1] < 60


def test_bursts_keep_the_mean_rate_and_are_burstier_than_independent_callers() -> None:
    def spread(times: Times) -> float:
        return float(np.bincount(times.astype(int), minlength=1000).var())

    times = bursty(100, 1000, seed=1)
    assert (np.diff(times) >= 0).all()
    assert len(times) == pytest.approx(100_000, rel=0.1)
    assert times[-1] < 1000
    short = [len(bursty(100, 2, seed=seed)) for seed in range(500)]
    assert np.mean(short) == pytest.approx(200, rel=0.1)
    assert spread(times) > 10 * spread(poisson(100, 1000, seed=1))


def test_a_seed_can_be_repeated_and_another_differs() -> None:
    assert list(poisson(10, 5, seed=1)) == list(poisson(10, 5, seed=1))
    assert list(poisson(10, 5, seed=1)) != list(poisson(10, 5, seed=2))


@pytest.mark.parametrize("arrivals", list(Arrivals))
def test_phases_follow_each_other(arrivals: Arrivals) -> None:
    times = of_phases([Phase("calm", 10, 10), Phase("spike", 1000, 2)], arrivals)
    assert (np.diff(times) >= 0).all()
    assert np.count_nonzero(times >= 10) > 5 * np.count_nonzero(times < 10) > 0
    assert times[-1] < 12
