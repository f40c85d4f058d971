"""What most servers do, for comparison in the simulation: batches after a fixed wait, and an endless line."""

from bisect import bisect_right
from collections.abc import Sequence
from math import inf

from batching.simulate import BatchSeconds


def fixed_wait_latencies(
    arrivals: Sequence[float],
    batch_seconds: BatchSeconds,
    *,
    wait_seconds: float = 0.010,
    max_batch_size: int = 32,
) -> list[float]:
    """Seconds to each answer of a server that closes a batch when it is full or when its first request has
    waited long enough, and refuses nobody."""
    latencies: list[float] = []
    free_at, taken = 0.0, 0
    while taken < len(arrivals):
        full = taken + max_batch_size
        full_at = arrivals[full - 1] if full <= len(arrivals) else inf
        closes = max(free_at, min(full_at, arrivals[taken] + wait_seconds))
        batch = arrivals[taken : min(full, bisect_right(arrivals, closes))]
        free_at, taken = closes + batch_seconds(len(batch)), taken + len(batch)
        latencies += [free_at - arrived for arrived in batch]
    return latencies
