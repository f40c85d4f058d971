"""The decisions: whom to admit, how large a batch, whom to give up. Pure: time is an argument."""

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite
from typing import Generic

from batching.latency import LatencyModel
from batching.waiting import AnyTicket, WaitingLine


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
        full_batches, place = divmod(ahead + count - 1, self.max_batch_size)
        done = (
            now
            + device_wait_seconds
            + full_batches * latency.typical(self.max_batch_size)
            + (full_batches + 1) * turn_wait_seconds
            + latency.p99(place + 1)
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
        dropped: list[AnyTicket] = []
        size = self._fitting(tickets, 0, latency, now)
        if size < len(tickets):
            start = self._cheapest_start(tickets, len(line), latency, now)
            dropped = tickets[:start]
            tickets = tickets[start:] + line.take(start)
            size = max(1, self._fitting(tickets, 0, latency, now))
            for ticket in tickets[size:]:
                line.put_back(ticket)
            del tickets[size:]
        reason = self._reason(size, waiting - len(dropped), draining)
        return ClosedBatch(tickets, reason, expired, dropped)

    def _reason(self, size: int, available: int, draining: bool) -> CloseReason:
        if size == self.max_batch_size:
            return CloseReason.FULL
        if size < available:
            return CloseReason.DEADLINE
        return CloseReason.DRAIN if draining else CloseReason.DEVICE_FREE

    def _fitting(self, tickets: list[AnyTicket], start: int, latency: LatencyModel, now: float) -> int:
        """The most of ``tickets[start:]`` that fit the deadline of the first of them; 0 if not even it."""
        if start == len(tickets):
            return 0
        most = len(tickets) - start
        slack = tickets[start].deadline - now
        if latency.p99(most) <= slack:
            return most
        return bisect_right(range(1, most), slack, key=latency.p99)

    def _cheapest_start(
        self, tickets: list[AnyTicket], behind: int, latency: LatencyModel, now: float
    ) -> int:
        """How many heads to give up so that fewest answers are lost. At least one ticket is left.

        From Nexus (SOSP 2019): a head whose little remaining time forces a small batch costs those behind it
        more than its one answer. Here both are counted in answers: each head given up is one, and a small
        batch costs what the device could have answered in the same time at full size, less what it does
        answer; nothing if those behind it are still served in time.
        """
        best_start, best_loss = len(tickets) - 1, inf
        for start in range(len(tickets)):
            if start >= best_loss:
                break
            size = self._fitting(tickets, start, latency, now)
            loss = start + self._loss(tickets, start, size, behind, latency, now)
            if loss < best_loss:
                best_start, best_loss = start, loss
        return best_start

    def _loss(
        self,
        tickets: list[AnyTicket],
        start: int,
        size: int,
        behind: int,
        latency: LatencyModel,
        now: float,
    ) -> float:
        """Answers lost by running ``tickets[start:start + size]`` instead of a full batch."""
        if size == 0:
            return inf
        left = tickets[start + size :]
        if not left:
            return 0.0
        next_size = min(len(left) + behind, self.max_batch_size)
        if now + latency.typical(size) + latency.p99(next_size) <= left[0].deadline:
            return 0.0
        full = min(len(tickets) + behind, self.max_batch_size)
        return latency.typical(size) * full / latency.typical(full) - size
