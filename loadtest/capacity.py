"""What a server holds: the best goodput found below saturation. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from loadtest.analysis import HELD_SHARE, Summary
from loadtest.charts import number
from loadtest.errors import NothingHeld

CLOSE_ENOUGH = 0.05  # of the rate that held
FARTHEST = 64  # times the first rate, or its 64th part: where the search ends


def search(probe: Callable[[float], Summary], start: float) -> list[Summary]:
    """Probes in the order in which they were taken: up from ``start`` until one does not hold, then between.

    ``probe(rate)`` sends that many requests a second; a rate holds if `HELD_SHARE` of them are answered in
    time.
    """
    held, broken, rate = 0.0, math.inf, start
    probes: list[Summary] = []
    while start / FARTHEST <= rate <= start * FARTHEST and broken - held > CLOSE_ENOUGH * held:
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


def described(goodput: float, probes: Sequence[Summary]) -> str:
    """The capacity in words; without probes it was given."""
    if not probes:
        return f"Capacity, as given: {number(goodput)}/s"
    if all(holds(each) for each in probes):
        return f"Capacity: at least {number(goodput)}/s, the most that was tried; saturation was not found"
    return f"Capacity, the best goodput below saturation: {number(goodput)}/s"


def holds(summary: Summary) -> bool:
    """Below saturation: nearly everybody was answered in time."""
    return summary["goodput_share"] >= HELD_SHARE


def _next(held: float, broken: float) -> float:
    if math.isinf(broken):
        return held * 2
    return (held + broken) / 2
