"""The decisions: whom to admit, how large a batch, whom to give up. Pure: time is an argument."""

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite
from typing import Generic

from batching.latency import LatencyModel
from batching.waiting import AnyTicket, WaitingLine


_EFFICIENT = 0.95

class CloseReason(StrEnum):
    """Why a batch took no more."""

    FULL = "full"  # it has the largest size allowed
    DEVICE_FREE = "device_free"  # it took everybody waiting
    DEADLINE = "deadline"  # one more would have put the earliest deadline at risk
    DRAIN = "drain"  # it took everybody left in a line that is closing


class RefusalReason(StrEnum):
    """Why a request was turned away at once."""

    FULL = "full"  # as many wait as may
    DEADLINE = "deadline"  # those ahead leave too little time
    EXPIRED = "expired"  # the deadline had passed on arrival
    CLOSED = "closed"  # the batcher takes no more


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: RefusalReason
    retry_after_seconds: float


@dataclass(frozen=True, slots=True)
class ClosedBatch(Generic[AnyTicket]):
    """One look at the line when the device came free: who is served, and who was given up."""

    tickets: list[AnyTicket]
    reason: CloseReason
    expired: list[AnyTicket]
    dropped: list[AnyTicket]


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """One number from the operator, the latency target; the rest are bounds.

    latency_target_seconds: from arrival to answer. Callers may ask for less time, not for more.
    max_batch_size: the largest batch the device takes.
    max_waiting: the bound on the line.
    """

    latency_target_seconds: float
    max_batch_size: int = 32
    max_waiting: int = 1024

    def __post_init__(self) -> None:
        if not (isfinite(self.latency_target_seconds) and self.latency_target_seconds > 0):
            raise ValueError(f"latency_target_seconds must be positive, not {self.latency_target_seconds}")
        if self.max_batch_size < 1:
            raise ValueError(f"max_batch_size must be at least 1, not {self.max_batch_size}")
        if self.max_waiting < 1:
            raise ValueError(f"max_waiting must be at least 1, not {self.max_waiting}")

    def deadline(self, arrived: float, timeout_seconds: float = inf) -> float:
        """When the answer is due for a request that arrived then."""
        return arrived + min(timeout_seconds, self.latency_target_seconds)

    def refusal(
        self,
        line: WaitingLine[AnyTicket],
        latency: LatencyModel,
        deadline: float,
        *,
        now: float,
        device_wait_seconds: float,
        turn_wait_seconds: float = 0.0,
        last_size: int = 1,
        count: int = 1,
    ) -> Refusal | None:
        """Why ``count`` requests due at ``deadline`` cannot be taken, or None if they can.

        ``device_wait_seconds``: until the batch now running is done. ``turn_wait_seconds``: what other
        models on the device run before each batch of this one. A request that finds the device idle and
        nobody waiting is always taken: nothing is lost, and the model learns when the device is fast again.

        From Clockwork (OSDI 2020): refuse on arrival what would be late, so that what is accepted is on time.
        """
        if deadline <= now:
            return Refusal(RefusalReason.EXPIRED, 0.0)
        ahead = line.ahead_of(deadline)
        full = self._full_size(latency)
        full_batches, place = divmod(ahead + count - 1, full)
        own_size = full if full_batches else max(place + 1, min(last_size, full))
        done = (
            now
            + device_wait_seconds
            + full_batches * latency.typical(full)
            + (full_batches + 1) * turn_wait_seconds
            + latency.p99(own_size)
        )
        if len(line) + count > self.max_waiting:
            return Refusal(RefusalReason.FULL, max(done - deadline, device_wait_seconds))
        nothing_ahead = not (ahead or device_wait_seconds or turn_wait_seconds)
        if done <= deadline or nothing_ahead:
            return None
        return Refusal(RefusalReason.DEADLINE, done - deadline)

    def close_batch(
        self, line: WaitingLine[AnyTicket], latency: LatencyModel, *, now: float, draining: bool = False
    ) -> ClosedBatch[AnyTicket]:
        """Take the next batch from the line for a device that is free.

        The batch is the largest whose p99 meets the earliest deadline in it (Clockwork). It never waits for
        more to come: while the device is busy the line grows, and this is what fills batches (Triton's
        rule, without its delay; Symphony would hold a batch back, which pays for many devices, not for
        one).
        """
        expired = line.expire(now)
        waiting = len(line)
        tickets = line.take(self.max_batch_size)
        start, size = self._span(tickets, waiting, latency, now)
        dropped = tickets[:start]
        for ticket in tickets[start + size :]:
            line.put_back(ticket)
        reason = self._reason(size, waiting - start, draining)
        return ClosedBatch(tickets[start : start + size], reason, expired, dropped)

    def _reason(self, size: int, available: int, draining: bool) -> CloseReason:
        if size == self.max_batch_size:
            return CloseReason.FULL
        if size < available:
            return CloseReason.DEADLINE
        return CloseReason.DRAIN if draining else CloseReason.DEVICE_FREE

    def _full_size(self, latency: LatencyModel) -> int:
        """The largest batch whose p99 is within the target at all."""
        return max(1, latency.largest_within(self.latency_target_seconds, self.max_batch_size))

    def _span(
        self, tickets: list[AnyTicket], waiting: int, latency: LatencyModel, now: float
    ) -> tuple[int, int]:
        if not tickets:
            return 0, 0
        efficient = _EFFICIENT * self._rate(min(waiting, self._full_size(latency)), latency)
        best = (0, 1)
        for start, ticket in enumerate(tickets):
            size = latency.largest_within(ticket.deadline - now, len(tickets) - start)
            if size and self._rate(size, latency) >= efficient:
                return start, size
            if size and self._leaves_others_on_time(tickets, start, size, waiting, latency, now):
                return start, size
            if size > best[1]:
                best = start, size
        return best

    def _rate(self, size, latency):
        t = latency.typical(size)
        return size / t if t else inf

    def _leaves_others_on_time(self, tickets, start, size, waiting, latency, now):
        behind = start + size
        if behind >= len(tickets):
            return True
        next_size = min(waiting - behind, self._full_size(latency))
        done = now + latency.typical(size) + latency.p99(next_size)
        return done <= tickets[behind].deadline
