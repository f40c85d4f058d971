"""What a server holds: the best goodput found below saturation. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

from loadtest.analysis import HELD_SHARE, Summary
from loadtest.errors import NothingHeld

MOST_PROBES = 9
CLOSE_ENOUGH = 0.05  # of the rate that held
GROWTH, RETREAT = 1.25, 0.7


def search(probe: Callable[[float], Summary], start: float) -> list[Summary]:
    """Probes in the order in which they were taken: up from ``start`` until one does not hold, then between.

    ``probe(rate)`` sends that many requests a second; a rate holds if `HELD_SHARE` of them are answered in
    time.
    """
    held, broken, rate = 0.0, math.inf, start
    probes: list[Summary] = []
    while len(probes) < MOST_PROBES and broken - held > CLOSE_ENOUGH * held:
        probes.append({"rate": rate, **probe(rate)})
        if holds(probes[-1]):
            held = rate
        else:
            broken = rate
        rate = _next(held, broken)
    return probes


def best(probes: list[Summary]) -> float:
    """Requests a second, answered in time, of the best probe that held; raises NothingHeld."""
    goodputs = [each["goodput_per_second"] for each in probes if holds(each)]
    if not goodputs:
        lowest = min(each["rate"] for each in probes)
        raise NothingHeld(
            f"not even {lowest:.3g} requests/s were answered in time ({HELD_SHARE:.0%} of them)"
        )
    return max(goodputs)


def holds(summary: Summary) -> bool:
    """Below saturation: nearly everybody was answered in time."""
    return summary["goodput_share"] >= HELD_SHARE


def _next(held: float, broken: float) -> float:
    if math.isinf(broken):
        return held * GROWTH
    return (held + broken) / 2 if held else broken * RETREAT
