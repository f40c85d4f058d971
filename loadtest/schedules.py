"""When requests leave: ascending seconds from 0. Seeded: the same arguments give the same schedule."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

BURST_FACTOR = 4.0  # times the calm rate, in a burst
BURST_SHARE = 0.1  # of the time
BURST_SECONDS = 1.0  # on average


def positive(text: str) -> float:
    """A rate or a length as a command says it: a number above 0; raises ArgumentTypeError."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def not_negative(text: str) -> float:
    """As `positive`, or 0."""
    value = _number(text)
    if not 0 <= value < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return value


def whole(text: str, least: int = 1) -> int:
    """How many times: a whole number; raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < least:
        raise ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


class Arrivals(StrEnum):
    """How requests are spread within a phase."""

    POISSON = "poisson"  # independent callers: exponential gaps
    BURSTY = "bursty"  # independent callers, whose number jumps
    UNIFORM = "uniform"  # equal gaps: what a metronome sends


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of constant rate, requests a second."""

    name: str
    rate: float
    seconds: float


def poisson(rate: float, seconds: float, *, seed: int = 0) -> Times:
    """Independent arrivals, ``rate`` a second on average."""
    return _poisson(np.random.default_rng(seed), rate, seconds)


def bursty(rate: float, seconds: float, *, seed: int = 0) -> Times:
    """Independent arrivals, ``rate`` a second on average: more in bursts, fewer in the calm between.

    Both have exponential lengths (a two-state Markov-modulated Poisson process), and it may begin in either.
    """
    rng = np.random.default_rng(seed)
    calm_rate = rate / (1 - BURST_SHARE + BURST_SHARE * BURST_FACTOR)
    calm = (calm_rate, BURST_SECONDS * (1 - BURST_SHARE) / BURST_SHARE)
    burst = (calm_rate * BURST_FACTOR, BURST_SECONDS)
    in_a_burst = rng.random() < BURST_SHARE
    parts, start = [], 0.0
    for period_rate, mean_seconds in cycle([burst, calm] if in_a_burst else [calm, burst]):
        end = min(start + rng.exponential(mean_seconds), seconds)
        parts.append(start + _poisson(rng, period_rate, end - start))
        start = end
        if start >= seconds:
            break
    return np.concatenate(parts)


def _poisson(rng: np.random.Generator, rate: float, seconds: float) -> Times:
    expected = rate * seconds
    draws = int(expected + 6 * expected**0.5 + 20)  # six standard deviations: never too few
    times = np.cumsum(rng.exponential(1 / rate, draws))
    return times[times < seconds]


def uniform(rate: float, seconds: float) -> Times:
    """One every 1/rate seconds."""
    return np.arange(round(rate * seconds)) / rate


def drawn(arrivals: Arrivals, rate: float, seconds: float, *, seed: int = 0) -> Times:
    """One rate throughout."""
    match arrivals:
        case Arrivals.POISSON:
            return poisson(rate, seconds, seed=seed)
        case Arrivals.BURSTY:
            return bursty(rate, seconds, seed=seed)
        case Arrivals.UNIFORM:
            return uniform(rate, seconds)


def of_phases(phases: Sequence[Phase], arrivals: Arrivals, *, seed: int = 0) -> Times:
    """The phases, one after the other."""
    start = 0.0
    parts = []
    for index, phase in enumerate(phases):
        parts.append(start + drawn(arrivals, phase.rate, phase.seconds, seed=seed + index))
        start += phase.seconds
    return np.concatenate(parts)
