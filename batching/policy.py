"""The decisions: whom to admit, how large a batch, whom to give up. Pure: numbers in, numbers out."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, isfinite, sqrt
from typing import NamedTuple

from batching.latency import LatencyModel

_EFFICIENT = (
    0.95  # of the throughput at full size: below it, a batch costs more than the head it was kept for
)
_LEAST_THROUGHPUT = 0.5  # of that at full size: what a model keeps, however little time others leave it


class CloseReason(StrEnum):
    """Why a batch took no more."""

    FULL = "full"  # it has the largest size allowed
    DEVICE_FREE = "device_free"  # it took everybody waiting
    DEADLINE = "deadline"  # one more would have put the earliest deadline in it at risk
    DRAIN = "drain"  # it took everybody left in a line that is closing


class RefusalReason(StrEnum):
    """Why a request was turned away at once."""

    FULL = "full"  # as many wait as may
    DEADLINE = "deadline"  # those ahead leave too little time
    EXPIRED = "expired"  # the deadline had passed on arrival, or leaves too little even alone
    CLOSED = "closed"  # the batcher takes no more


class Ahead(NamedTuple):
    """What lies between a newcomer and its answer."""

    requests: int  # of the same model, to be served before it
    device_seconds: float  # until what the device was given is done; 0 if it is idle
    turn_seconds: float = 0.0  # what other models run between two batches of this one
    first_turn_seconds: float = 0.0  # what they run before the next one
    last_size: int = 1  # of the batch of this model formed last


# What a service keeps of its target for the answers, which one loop writes one by one. Measured: with nothing
# kept, the p99 beyond capacity was 2 to 7 % over the target; goodput was the same either way.
FOR_ANSWERS = 0.05


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """One number from the operator, the latency target; the rest are bounds.

    latency_target_seconds: from arrival to answer. Callers may ask for less time, not for more.
    max_batch_size: the largest batch the device takes.
    max_waiting: the bound on the line.
    for_answers: share of the target, but of no caller's own time, that is kept for what follows the batch.
    """

    latency_target_seconds: float
    max_batch_size: int = 32
    max_waiting: int = 1024
    for_answers: float = 0.0
    _batch_seconds: float = field(init=False, repr=False)  # of the target

    def __post_init__(self) -> None:
        if not (isfinite(self.latency_target_seconds) and self.latency_target_seconds > 0):
            raise ValueError(f"latency_target_seconds must be positive, not {self.latency_target_seconds}")
        if self.max_batch_size < 1:
            raise ValueError(f"max_batch_size must be at least 1, not {self.max_batch_size}")
        if self.max_waiting < 1:
            raise ValueError(f"max_waiting must be at least 1, not {self.max_waiting}")
        if not 0 <= self.for_answers < 1:
            raise ValueError(f"for_answers must be a share below 1, not {self.for_answers}")
        object.__setattr__(self, "_batch_seconds", (1 - self.for_answers) * self.latency_target_seconds)

    def deadline(self, arrived: float, timeout_seconds: float = inf) -> float:
        """When the batch must be done of a request that arrived then."""
        return arrived + min(timeout_seconds, self._batch_seconds)

    def full_size(self, latency: LatencyModel, most_seconds: float = inf) -> int:
        """The largest batch worth forming: of any larger one, the p99 alone exceeds the target.

        ``most_seconds`` is how long the device may be taken from others: but at half the throughput, to be
        fairer would cost this model more than it gives them.
        """
        alone = max(1, latency.largest_within(self._batch_seconds, self.max_batch_size))
        if most_seconds >= self._batch_seconds:
            return alone
        enough = _LEAST_THROUGHPUT * _throughput(alone, latency)
        least = 1 + bisect_left(range(1, alone), enough, key=lambda size: _throughput(size, latency))
        return max(least, latency.largest_within(most_seconds, alone))

    def done_after(self, ahead: Ahead, latency: LatencyModel, most_seconds: float = inf) -> float:
        """Seconds within which a newcomer is promised its answer.

        From Clockwork (OSDI 2020): predict on arrival, refuse what would be late, and what is accepted is
        on time. The newcomer's own batch is expected to fill while it waits: up to the size of the batch
        before it or, if there are full ones ahead, to the full size; otherwise the line would admit requests
        which leave, when their turn comes, only time for a small batch. The margins of the p99 add up as
        independent errors do, by the square root of the number of batches.
        """
        full = self.full_size(latency, most_seconds)
        full_batches, place = divmod(ahead.requests, full)
        own_size = full if full_batches else max(place + 1, min(ahead.last_size, full))
        own_seconds = latency.typical(own_size)
        margin = latency.p99(own_size) - own_seconds
        batches = full_batches + (2 if ahead.device_seconds else 1)
        return (
            ahead.device_seconds
            + full_batches * (latency.typical(full) + ahead.turn_seconds)
            + ahead.first_turn_seconds
            + own_seconds
            + margin * sqrt(batches)
        )

    def next_batch(
        self,
        deadlines: Sequence[float],
        waiting: int,
        latency: LatencyModel,
        now: float,
        most_seconds: float = inf,
    ) -> tuple[int, int]:
        """Who makes up the next batch, for a device that is free by ``now``: (heads to give up, size).

        ``deadlines`` are the earliest of the ``waiting``, ascending, at most ``max_batch_size`` and at least
        one. The size is at least 1. ``most_seconds`` as for `full_size`.

        The batch is the largest whose p99 meets the earliest deadline in it (Clockwork). It never waits for
        more to come: the line grows while the device is busy, and this is what fills batches (Triton's
        rule, without its delay). Symphony (2023) would hold a batch back; that pays for a cluster, which can
        give the device to another model meanwhile.

        From Nexus (SOSP 2019): under backlog, a head with so little time left that its batch would be
        inefficient is given up. Kept, it would make those behind it late as well, their batches would
        shrink in turn, and throughput would fall to that of batches of one.
        """
        everybody = len(deadlines)
        if now + latency.p99(everybody) <= deadlines[0]:
            return 0, everybody
        full = self.full_size(latency, most_seconds)
        enough = _EFFICIENT * _throughput(min(waiting, full), latency)
        for start, deadline in enumerate(deadlines):
            size = latency.largest_within(deadline - now, everybody - start)
            if size and _throughput(size, latency) >= enough:
                return start, size
            done = now + latency.typical(size)
            rest = deadlines[start + size :]
            following = min(waiting - start - size, full)
            if size and (not rest or done + latency.p99(following) <= rest[0]):
                return start, size
        return self._last_chance(deadlines, latency, now)

    def _last_chance(self, deadlines: Sequence[float], latency: LatencyModel, now: float) -> tuple[int, int]:
        """No promise can be kept any more: give up heads until the rest would typically be on time."""
        everybody = len(deadlines)
        for start, deadline in enumerate(deadlines):
            if now + latency.typical(everybody - start) <= deadline:
                return start, everybody - start
        return everybody - 1, 1


def _throughput(size: int, latency: LatencyModel) -> float:
    seconds = latency.typical(size)
    return size / seconds if seconds else inf
