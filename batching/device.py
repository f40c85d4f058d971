"""One device: the thread that runs its batches, and the loop's side of handing them over."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol

from batching.lane import ClosedBatch, Lane
from batching.policy import CloseReason
from batching.schedule import DeviceSchedule, Running

Work = Callable[[], Any]
Done = Callable[[Any, float], None]  # what came of it, and since when the thread was free for it


class LaneOwner(Protocol):
    """The batcher behind a lane, as its device sees it."""

    def release(self, closed: ClosedBatch[Any], now: float) -> list[Any]:
        """Tell those who were given up; return the tickets that somebody still waits for."""

    def work(self, tickets: list[Any]) -> Work:
        """What runs them, in the engine thread."""

    def launched(self, tickets: list[Any], reason: CloseReason, now: float) -> None:
        """They are running now."""

    def teaches(self, outcome: Any) -> bool:
        """Whether the time that led to this says how long such a batch takes."""

    def settle(self, tickets: list[Any], outcome: Any, running: Running[Any], now: float) -> None:
        """Answer them with what that returned, or with the exception it raised."""


class Device:
    """One engine thread, shared by several batchers on one event loop.

    The thread takes one batch at a time and comes back to the loop once per batch. There the next batch is
    handed over before the answers of the last go out, so that the device does not wait for the loop.

    Times are of time.monotonic(), from which a loop's own time() differs only in being coarser: uvloop's has
    whole milliseconds.
    """

    def __init__(self, name: str = "cpu") -> None:
        self.schedule: DeviceSchedule[Any] = DeviceSchedule()
        self._owners: dict[Lane[Any], LaneOwner] = {}
        self._busy_since: float | None = None
        self._dispatch_is_due = False
        self._jobs: SimpleQueue[tuple[asyncio.AbstractEventLoop, Work, Done] | None] = SimpleQueue()
        # A daemon, so that a batch which hangs cannot keep the process from exiting.
        self._thread = Thread(target=self._run_jobs, name=f"device-{name}", daemon=True)
        self._thread.start()

    @property
    def busy_since(self) -> float | None:
        """When the engine thread began what it is at, by time.monotonic(); None when idle. For a watchdog."""
        return self._busy_since

    def attach(self, lane: Lane[Any], owner: LaneOwner) -> None:
        """Let a batcher's lane take turns on this device."""
        self.schedule.add(lane)
        self._owners[lane] = owner

    def detach(self, lane: Lane[Any]) -> None:
        """Take a lane off the device, if it is on it."""
        if self._owners.pop(lane, None):
            self.schedule.remove(lane)

    def wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Somebody waits. An idle device starts as soon as all who are ready now have joined."""
        if self.schedule.running is None and not self._dispatch_is_due:
            self._dispatch_is_due = True
            loop.call_soon(self._dispatch, loop)

    async def measure(self, work: Work) -> float:
        """Seconds that ``work`` takes in the engine thread, between batches. Raises what it raises."""
        loop = asyncio.get_running_loop()
        measured: asyncio.Future[Any] = loop.create_future()

        def timed() -> float:
            started = time.perf_counter()
            work()
            return time.perf_counter() - started

        def done(outcome: Any, _free_at: float) -> None:
            if not measured.cancelled():
                measured.set_result(outcome)

        self._jobs.put((loop, timed, done))
        outcome = await measured
        if isinstance(outcome, BaseException):
            raise outcome
        return float(outcome)

    def close(self) -> None:
        """Close every lane and end the thread; does not wait for a batch that is still running."""
        for lane in self._owners:
            lane.draining = True
        self._jobs.put(None)
        if self.schedule.running is None:
            self._thread.join(timeout=1.0)

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand the next batch to the engine thread, unless one is running or nobody waits."""
        self._dispatch_is_due = False
        now = time.monotonic()
        while self.schedule.running is None and (turn := self.schedule.close_next(now)):
            lane, closed = turn
            owner = self._owners[lane]
            if tickets := owner.release(closed, now):
                self.schedule.start(lane, len(tickets), now)
                self._jobs.put((loop, owner.work(tickets), partial(self._finish, loop, owner, tickets)))
                owner.launched(tickets, closed.reason, now)

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: LaneOwner,
        tickets: list[Any],
        outcome: Any,
        free_at: float,
    ) -> None:
        now = time.monotonic()
        running = self.schedule.finish(now, free_at=free_at, learn=owner.teaches(outcome))
        try:
            self._dispatch(loop)
        finally:
            owner.settle(tickets, outcome, running, now)

    def _run_jobs(self) -> None:
        """The engine thread. Whatever a batch raises is an outcome like any other: the thread lives on."""
        ended = -inf
        while (job := self._jobs.get()) is not None:
            loop, work, done = job
            self._busy_since = time.monotonic()
            try:
                outcome = work()
            except BaseException as error:
                outcome = error
            free_at, ended = ended, time.monotonic()  # before the loop hears of it, and hands over the next
            self._busy_since = None
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done, outcome, free_at)
            del job, loop, work, done, outcome  # an idle thread keeps no batch in memory
