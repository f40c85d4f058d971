"""One model's side of a device: its line, its policy, and what it has learnt."""

from dataclasses import dataclass
from math import inf
from typing import Generic

from batching.latency import LatencyModel
from batching.policy import Ahead, BatchPolicy, CloseReason, RefusalReason
from batching.waiting import AnyTicket, WaitingLine


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

    __slots__ = (
        "asked_at",
        "closed_at",
        "draining",
        "last_size",
        "latency",
        "line",
        "pipelined_from",
        "policy",
    )

    def __init__(self, policy: BatchPolicy, latency: LatencyModel, *, pipelined_from: float = inf) -> None:
        """``pipelined_from``: size of a batch behind which another may be handed over ahead."""
        self.policy = policy
        self.latency = latency
        self.line: WaitingLine[AnyTicket] = WaitingLine()
        self.pipelined_from = pipelined_from
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
        coming: int = 0,
        most_seconds: float = inf,
    ) -> Refusal | None:
        """Why ``count`` requests due at ``deadline`` cannot be taken, or None if they can.

        ``coming``: how many more will be before these, and are not in the line yet.
        ``most_seconds``: how long a batch may keep the device from others.

        What is no promise, yet worth a try, is taken where the device is idle: one request whatever the
        prediction, for nothing is lost, and several where they typically are in time. And so is the first one
        after a target's time without a batch, on a busy device too: or a model that all are refused by, since
        it was slow once, would never be seen to have become faster.
        """
        if deadline <= now:
            return Refusal(RefusalReason.EXPIRED, 0.0)
        waiting, before = len(self.line), self.line.ahead_of(deadline)
        in_front = coming + before
        ahead = Ahead(in_front + count - 1, device_seconds, turn_seconds, first_turn_seconds, self.last_size)
        late_seconds = now + self.policy.done_after(ahead, self.latency, most_seconds) - deadline
        if waiting + count > self.policy.max_waiting:
            return Refusal(RefusalReason.FULL, max(late_seconds, device_seconds))
        if late_seconds <= 0 or (not waiting and self._has_aged(now, device_seconds)):
            return None
        if device_seconds or first_turn_seconds:
            return Refusal(RefusalReason.DEADLINE, late_seconds)
        if before + count == 1 or self._typical_seconds(in_front + count) <= deadline - now:
            return None
        if in_front:
            return Refusal(RefusalReason.DEADLINE, late_seconds)
        # Too many for their time even now: to come back later would not help.
        return Refusal(RefusalReason.EXPIRED, 0.0)

    def _has_aged(self, now: float, device_seconds: float) -> bool:
        """Whether what is known of this model is as old as its target is long, and the device will be free
        before as much time again: it may hang."""
        target = self.policy.latency_target_seconds
        return now - self.closed_at >= target > device_seconds

    def _typical_seconds(self, requests: int) -> float:
        """Of so many requests alone with the device."""
        full_batches, rest = divmod(requests, self.policy.max_batch_size)
        seconds = full_batches * self.latency.typical(self.policy.max_batch_size)
        return seconds + (self.latency.typical(rest) if rest else 0.0)

    @property
    def has_full_batch(self) -> bool:
        """Whether as many wait as make up the largest batch worth forming."""
        return len(self.line) >= self.policy.full_size(self.latency)

    def close_batch(
        self, now: float, most_seconds: float = inf, begins_at: float = -inf
    ) -> ClosedBatch[AnyTicket]:
        """Take the next batch out of the line; empty if all who waited had expired.

        ``most_seconds``: how long it may keep the device from others. ``begins_at``: when the device will be
        free for it, if not now.
        """
        expired = self.line.expire(now)
        waiting = len(self.line)
        if not waiting:
            return ClosedBatch([], CloseReason.DEVICE_FREE, expired, [])
        largest = self._largest(most_seconds)
        tickets = self.line.take(largest)
        deadlines = [ticket.deadline for ticket in tickets]
        begins_at = max(now, begins_at)
        start, size = self.policy.next_batch(deadlines, waiting, self.latency, begins_at, most_seconds)
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
