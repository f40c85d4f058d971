"""Several models on one device: whose turn it is, and how long a newcomer would wait. Pure."""

from dataclasses import dataclass, replace
from math import inf
from typing import Generic

from batching.lane import ClosedBatch, Lane, Refusal
from batching.waiting import AnyTicket

# How long before a batch is expected to end the next may be handed over: as long as an engine's thread may
# wait for the interpreter lock while the event loop answers (`sys.getswitchinterval`), and a share of the
# batch, which may be done sooner than expected.
_AHEAD_SECONDS = 0.005
_AHEAD_SHARE = 0.2
_LATELY_SECONDS = 10.0  # a model not asked for in this time does not make others' batches smaller


@dataclass(frozen=True, slots=True)
class Running(Generic[AnyTicket]):
    """A batch at the device; ``started`` is when it began, or is expected to behind the one that runs."""

    lane: Lane[AnyTicket]
    size: int
    started: float
    predicted_seconds: float
    ahead: bool = False  # the engine may have it while another runs

    @property
    def ends_at(self) -> float:
        """When it is expected to."""
        return self.started + self.predicted_seconds


class DeviceSchedule(Generic[AnyTicket]):
    """Batches of several lanes on one device, one after the other, never interrupted.

    Lanes go in rounds. In a round each waiting lane runs one batch, the earliest deadline first; the last
    of a round is not the first of the next. Deadlines alone would let a flood on one model, above all one
    with a tighter target, starve the others; so, with two lanes, nobody waits for more than one batch of
    the other's, but see below. And a batch keeps the device for at most an even share of the target of any
    other model that was asked for lately, but for what half its throughput takes: behind one of 98 ms no
    target of 100 ms could be met. (Nexus, SOSP 2019, sizes batches so that a round of all models fits their
    targets.)

    Shortly before a batch is expected to end, the next one may be closed to begin right behind it: the device
    need not wait until its end is known. Only where as many wait as a full batch takes, which gains nothing
    by waiting for more, and where no other model waits or was asked for lately. One that comes after such a
    silence may find two batches before it.
    """

    def __init__(self) -> None:
        self.running: Running[AnyTicket] | None = None
        self.following: Running[AnyTicket] | None = None  # handed over, and begins as that ends
        self.measurements = 0  # that the device is to take between two batches
        self._lanes: list[Lane[AnyTicket]] = []
        self._had_turn: set[Lane[AnyTicket]] = set()
        self._last: Lane[AnyTicket] | None = None

    def add(self, lane: Lane[AnyTicket]) -> None:
        self._lanes.append(lane)

    def remove(self, lane: Lane[AnyTicket]) -> None:
        self._lanes.remove(lane)
        self._had_turn.discard(lane)

    def refusal(
        self, lane: Lane[AnyTicket], deadline: float, *, now: float, count: int = 1, coming: int = 0
    ) -> Refusal | None:
        """Why the lane cannot take ``count`` requests due at ``deadline`` behind those in its line and
        ``coming`` more, or None if it can."""
        lane.asked_at = now
        turns = {
            other: other.next_batch_seconds(self._most_seconds(other, now))
            for other in self._lanes
            if other is not lane and other.line
        }
        first = self._before(lane, deadline, list(turns)) if turns else []
        return lane.refusal(
            deadline,
            now=now,
            device_seconds=self._device_seconds(now),
            turn_seconds=sum(turns.values()),
            first_turn_seconds=sum(turns[other] for other in first),
            count=count,
            coming=coming,
            most_seconds=self._most_seconds(lane, now),
        )

    def close_next(self, now: float) -> tuple[Lane[AnyTicket], ClosedBatch[AnyTicket]] | None:
        """The batch that the device should have now, to run or to follow, or None.

        The batch is empty if everybody in that lane's line had expired: then ask again.
        """
        if now < self.decides_at():
            return None
        if self.running is not None:
            return self._close_behind(self.running.lane, now)
        lane = self._next_lane()
        if lane is None:
            return None
        return lane, lane.close_batch(now, self._most_seconds(lane, now))

    def decides_at(self) -> float:
        """From when on `close_next` may have a batch: -inf where the device is free, inf where nothing may be
        handed over until the running one ends.
        """
        running = self.running
        if running is None:
            return -inf
        if running.size < running.lane.pipelined_from or self.following is not None or self.measurements:
            return inf
        return running.ends_at - _AHEAD_SECONDS - _AHEAD_SHARE * running.predicted_seconds

    def start(self, lane: Lane[AnyTicket], size: int, now: float) -> Running[AnyTicket]:
        """The device has a batch of this lane: it began, or follows the one that is running."""
        # A smaller one would not wait for the end of the one before: it runs whole, and not in parts.
        ahead = self.running is not None and size >= lane.pipelined_from
        batch = Running(lane, size, now + self._rest_seconds(now), lane.latency.typical(size), ahead)
        if self.running is None:
            self.running = batch
        else:
            self.following = batch
        lane.last_size = size
        self._had_turn.add(lane)
        self._last = lane
        return batch

    def finish(
        self, now: float, *, free_at: float = -inf, ended_at: float | None = None, learn: bool = True
    ) -> Running[AnyTicket]:
        """The device is done; learn from how long it took, unless it failed.

        ``free_at``: until then it was at something that is no lane's, as a warm-up, and the batch waited.
        ``ended_at``: when what follows began, if not now.
        """
        if self.running is None:
            raise RuntimeError("nothing is running")
        running, self.running, self.following = self.running, self.following, None
        if self.running is not None:
            self.running = replace(self.running, started=now if ended_at is None else ended_at)
        if free_at > running.started:
            running = replace(running, started=free_at)
        if not running.lane.line and self.running is None:
            running.lane.last_size = 1  # nothing is filling: what comes next is not part of such a batch
        if learn:
            running.lane.latency.observe(running.size, now - running.started)
        return running

    def _close_behind(
        self, lane: Lane[AnyTicket], now: float
    ) -> tuple[Lane[AnyTicket], ClosedBatch[AnyTicket]] | None:
        others_wait = any(other.line for other in self._lanes if other is not lane)
        if others_wait or not lane.has_full_batch or self._most_seconds(lane, now) < inf:
            return None
        return lane, lane.close_batch(now, begins_at=now + self._rest_seconds(now))

    def measured(self, ended_at: float) -> None:
        """One of the measurements has ended, and what was given to the device behind it begins."""
        self.measurements -= 1
        if self.running is not None and self.running.started < ended_at:
            self.running = replace(self.running, started=ended_at)

    def _before(
        self, lane: Lane[AnyTicket], deadline: float, waiting: list[Lane[AnyTicket]]
    ) -> list[Lane[AnyTicket]]:
        """Which of the other ``waiting`` lanes have their turn before this one, as things stand, with a
        newcomer due at ``deadline``."""
        fresh = [other for other in waiting if other not in self._had_turn]
        own = min(deadline, _earliest_deadline(lane))
        if lane not in self._had_turn:
            return [other for other in fresh if _earliest_deadline(other) < own]
        if fresh or lane is self._last:
            return waiting  # the rest of this round, and perhaps somebody in the next
        return [other for other in waiting if other is not self._last and _earliest_deadline(other) < own]

    def _most_seconds(self, lane: Lane[AnyTicket], now: float) -> float:
        """How long a batch of this lane may keep the device from the others."""
        targets = [
            other.policy.latency_target_seconds
            for other in self._lanes
            if other is not lane and now - other.asked_at < _LATELY_SECONDS
        ]
        return min(targets) / (len(targets) + 1) if targets else inf

    def _device_seconds(self, now: float) -> float:
        """Until it has done what it was given."""
        following_seconds = self.following.predicted_seconds if self.following else 0.0
        return self._rest_seconds(now) + following_seconds

    def _rest_seconds(self, now: float) -> float:
        """Until the running batch is done; an overdue one is expected to need as long again as it is late."""
        return abs(self.running.ends_at - now) if self.running else 0.0

    def _next_lane(self) -> Lane[AnyTicket] | None:
        waiting = [lane for lane in self._lanes if lane.line]
        fresh = [lane for lane in waiting if lane not in self._had_turn]
        if not fresh:
            self._had_turn.clear()
            fresh = [lane for lane in waiting if lane is not self._last] or waiting
        return min(fresh, key=_earliest_deadline, default=None)


def _earliest_deadline(lane: Lane[AnyTicket]) -> float:
    deadline = lane.line.next_deadline()
    return float("inf") if deadline is None else deadline
