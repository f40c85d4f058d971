"""When requests leave: ascending seconds from 0. Seeded: the same arguments give the same schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


class Arrivals(StrEnum):
    """How requests are spread within a phase."""

    POISSON = "poisson"  # independent callers: exponential gaps
    UNIFORM = "uniform"  # equal gaps: what a metronome sends


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of constant rate, requests a second."""

    name: str
    rate: float
    seconds: float


def poisson(rate: float, seconds: float, *, seed: int = 0) -> Times:
    """Independent arrivals, ``rate`` a second on average."""
    rng = np.random.default_rng(seed)
    expected = rate * seconds
    draws = int(expected + 6 * expected**0.5 + 20)  # six standard deviations: never too few
    times = np.cumsum(rng.exponential(1 / rate, draws))
    return times[times < seconds]


def uniform(rate: float, seconds: float) -> Times:
    """One every 1/rate seconds."""
    return np.arange(round(rate * seconds)) / rate


def of_phases(phases: Sequence[Phase], arrivals: Arrivals, *, seed: int = 0) -> Times:
    """The phases, one after the other."""
    start = 0.0
    parts = []
    for index, phase in enumerate(phases):
        if arrivals is Arrivals.POISSON:
            times = poisson(phase.rate, phase.seconds, seed=seed + index)
        else:
            times = uniform(phase.rate, phase.seconds)
        parts.append(start + times)
        start += phase.seconds
    return np.concatenate(parts)
