"""One model's side of a device: its line, its policy, and what it has learnt."""

from dataclasses import dataclass
from math import inf
from typing import Generic

from batching.latency import LatencyModel
from batching.policy import Ahead, BatchPolicy, CloseReason, RefusalReason
from batching.waiting import AnyTicket, WaitingLine

_FRESH_SECONDS = 1.0  # after the last batch; what was learnt longer ago is tried anew where that costs nobody


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: RefusalReason
    retry_after_seconds: float


@dataclass(frozen=True, slots=True)
class ClosedBatch(Generic[AnyTicket]):
    """One look at the line: who is served, and who was given up."""

    tickets: list[AnyTicket]
    reason: CloseReason
    expired: list[AnyTicket]  # their deadline has passed
    dropped: list[AnyTicket]  # they have too little time left


class Lane(Generic[AnyTicket]):
    """Applies the policy to the line."""

    __slots__ = ("asked_at", "closed_at", "draining", "last_size", "latency", "line", "policy")

    def __init__(self, policy: BatchPolicy, latency: LatencyModel) -> None:
        self.policy = policy
        self.latency = latency
        self.line: WaitingLine[AnyTicket] = WaitingLine()
        self.draining = False
        self.last_size = 1
        self.asked_at = -inf  # when a request for this model came last
        self.closed_at = -inf  # when a batch was formed last

    def next_batch_seconds(self, most_seconds: float = inf) -> float:
        """How long the device will be with this model when its turn comes; 0 if nobody waits.

        ``most_seconds``: how long a batch may keep the device from others.
        """
        waiting = min(len(self.line), self._largest(most_seconds))
        return self.latency.typical(waiting) if waiting else 0.0

    def refusal(
        self,
        deadline: float,
        *,
        now: float,
        device_seconds: float,
        turn_seconds: float,
        first_turn_seconds: float,
        count: int,
        most_seconds: float = inf,
    ) -> Refusal | None:
        """Why ``count`` requests due at ``deadline`` cannot be taken, or None if they can.

        ``most_seconds``: how long a batch may keep the device from others.

        With nothing ahead, what may be in time is taken, though it is no promise: see `_is_worth_a_try`.
        """
        if deadline <= now:
            return Refusal(RefusalReason.EXPIRED, 0.0)
        waiting, before = len(self.line), self.line.ahead_of(deadline)
        ahead = Ahead(before + count - 1, device_seconds, turn_seconds, first_turn_seconds, self.last_size)
        late_seconds = now + self.policy.done_after(ahead, self.latency, most_seconds) - deadline
        if waiting + count > self.policy.max_waiting:
            return Refusal(RefusalReason.FULL, max(late_seconds, device_seconds))
        if late_seconds <= 0:
            return None
        if before or device_seconds or first_turn_seconds:
            return Refusal(RefusalReason.DEADLINE, late_seconds)
        if self._is_worth_a_try(count, deadline - now, now):
            return None
        # Too many for their time even now: to come back later would not help.
        return Refusal(RefusalReason.EXPIRED, 0.0)

    def _is_worth_a_try(self, count: int, seconds: float, now: float) -> bool:
        """Whether ``count`` requests alone with the device may be done in so many seconds.

        One is always tried: nothing is lost. Several are where they typically are in time; and where nothing
        has run for a while, or a model that is asked for several at a time alone would never learn that the
        device has become faster.
        """
        if count == 1 or now - self.closed_at >= _FRESH_SECONDS:
            return True
        batches, rest = divmod(count, self.policy.max_batch_size)
        full = batches * self.latency.typical(self.policy.max_batch_size)
        return full + (self.latency.typical(rest) if rest else 0.0) <= seconds

    def close_batch(self, now: float, most_seconds: float = inf) -> ClosedBatch[AnyTicket]:
        """Take the next batch out of the line; empty if all who waited had expired.

        ``most_seconds``: how long it may keep the device from others.
        """
        expired = self.line.expire(now)
        waiting = len(self.line)
        if not waiting:
            return ClosedBatch([], CloseReason.DEVICE_FREE, expired, [])
        largest = self._largest(most_seconds)
        tickets = self.line.take(largest)
        deadlines = [ticket.deadline for ticket in tickets]
        start, size = self.policy.next_batch(deadlines, waiting, self.latency, now, most_seconds)
        self.closed_at = now
        for ticket in tickets[start + size :]:
            self.line.put_back(ticket)
        reason = self._reason(size, waiting - start, largest)
        return ClosedBatch(tickets[start : start + size], reason, expired, tickets[:start])

    def _largest(self, most_seconds: float) -> int:
        if most_seconds == inf:
            return self.policy.max_batch_size
        return self.policy.full_size(self.latency, most_seconds)

    def _reason(self, size: int, available: int, largest: int) -> CloseReason:
        if size == largest:
            return CloseReason.FULL
        if size < available:
            return CloseReason.DEADLINE
        return CloseReason.DRAIN if self.draining else CloseReason.DEVICE_FREE
