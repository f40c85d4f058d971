"""When requests come: ascending seconds from 0, for `simulate` and for senders of load.

A recorded load needs no function: any ascending list of seconds will do.
"""

from collections.abc import Iterator
from itertools import cycle
from random import Random


def poisson(rate: float, seconds: float, *, seed: int = 0) -> Iterator[float]:
    """Independent arrivals, ``rate`` a second."""
    rng = Random(seed)  # noqa: S311
    now = rng.expovariate(rate)
    while now < seconds:
        yield now
        now += rng.expovariate(rate)


def bursty(
    rate: float,
    seconds: float,
    *,
    burst_factor: float = 4.0,
    burst_share: float = 0.1,
    mean_burst_seconds: float = 1.0,
    seed: int = 0,
) -> Iterator[float]:
    """Poisson arrivals whose rate jumps: ``rate`` a second on average, ``burst_factor`` times the calm rate
    in bursts, which take ``burst_share`` of the time. Calm and burst periods have exponential lengths (a
    two-state Markov-modulated Poisson process).
    """
    rng = Random(seed)  # noqa: S311
    calm_rate = rate / (1 - burst_share + burst_share * burst_factor)
    mean_calm_seconds = mean_burst_seconds * (1 - burst_share) / burst_share
    start = 0.0
    for period_rate, mean_seconds in cycle(
        [(calm_rate, mean_calm_seconds), (calm_rate * burst_factor, mean_burst_seconds)]
    ):
        end = min(start + rng.expovariate(1 / mean_seconds), seconds)
        now = start + rng.expovariate(period_rate)
        while now < end:
            yield now
            now += rng.expovariate(period_rate)
        start = end
        if start >= seconds:
            return
