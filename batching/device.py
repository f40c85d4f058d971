"""One device: the threads that run its batches, and the loop's side of handing them over."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple, Protocol

from batching.errors import BatcherClosed
from batching.lane import ClosedBatch, Lane
from batching.policy import CloseReason
from batching.schedule import DeviceSchedule, Running

Work = Callable[[], Any]
Done = Callable[[Any, float, float], None]  # what came of it, since when the engine was free for it, its end


class LaneOwner(Protocol):
    """The batcher behind a lane, as its device sees it."""

    def release(self, closed: ClosedBatch[Any], now: float) -> list[Any]:
        """Tell those who were given up; return the tickets that somebody still waits for."""

    def work(self, tickets: list[Any]) -> Work:
        """What runs them, in a thread of the engine."""

    def launched(self, tickets: list[Any], reason: CloseReason, started: float) -> None:
        """They run, or will from then on."""

    def teaches(self, outcome: Any) -> bool:
        """Whether the time that led to this says how long such a batch takes."""

    def settle(self, tickets: list[Any], outcome: Any, running: Running[Any], now: float) -> None:
        """Answer them with what that returned, or with the exception it raised."""


class _Job(NamedTuple):
    """``before`` and ``done`` are held until the job before it, and it itself, are done."""

    loop: asyncio.AbstractEventLoop
    work: Work
    tell: Done
    ahead: bool  # it may begin while the one before runs
    before: Lock
    done: Lock


class Device:
    """One engine, shared by several batchers on one event loop.

    A thread takes one batch at a time and comes back to the loop once per batch. There the next batch is
    handed over before the answers of the last go out, so that the device does not wait for the loop. A full
    batch is there before that, for a second thread, where the engine can take it (`DeviceSchedule`).

    Times are of time.monotonic(), from which a loop's own time() differs only in being coarser: uvloop's has
    whole milliseconds.
    """

    def __init__(self, name: str = "cpu") -> None:
        self.schedule: DeviceSchedule[Any] = DeviceSchedule()
        self._name, self._closed = name, False
        self._owners: dict[Lane[Any], LaneOwner] = {}
        self._busy: dict[int, float] = {}  # by thread, since when
        self._ended_at = -inf  # of the last job
        self._dispatch_is_due = False
        self._timer: asyncio.TimerHandle | None = None  # until the next batch may be handed over
        self._last_done = Lock()
        # The second thread is for what may begin while the first is busy, and the other way round.
        self._jobs: tuple[SimpleQueue[_Job | None], ...] = (SimpleQueue(), SimpleQueue())
        self._last_thread = 0
        # Daemons, so that a batch which hangs cannot keep the process from exiting.
        self._threads = [
            Thread(target=self._run_jobs, args=(index,), name=f"device-{name}", daemon=True)
            for index in range(len(self._jobs))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def busy_since(self) -> float | None:
        """When what the engine is at began, by time.monotonic(); None when idle. For a watchdog."""
        handed_over = min(list(self._busy.values()), default=None)
        return None if handed_over is None else max(handed_over, self._ended_at)

    def attach(self, lane: Lane[Any], owner: LaneOwner) -> None:
        """Let a batcher's lane take turns on this device."""
        self.schedule.add(lane)
        self._owners[lane] = owner

    def detach(self, lane: Lane[Any]) -> None:
        """Take a lane off the device, if it is on it."""
        if self._owners.pop(lane, None):
            self.schedule.remove(lane)

    def wake(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        """Somebody waits. An idle device starts as soon as all who are ready now have joined."""
        if not self._dispatch_is_due and now >= self.schedule.decides_at():
            self._dispatch_is_due = True
            loop.call_soon(self._dispatch, loop)

    async def measure(self, work: Work) -> float:
        """Seconds that ``work`` takes in an engine thread, between batches.

        Raises what it raises, and BatcherClosed when there is no thread left to run it.
        """
        if self._closed:
            raise BatcherClosed(self._name)
        loop = asyncio.get_running_loop()
        measured: asyncio.Future[Any] = loop.create_future()

        def timed() -> float:
            started = time.perf_counter()
            work()
            return time.perf_counter() - started

        def done(outcome: Any, _free_at: float, ended_at: float) -> None:
            self.schedule.measured(ended_at)
            self._dispatch(loop)
            if not measured.cancelled():
                measured.set_result(outcome)

        self.schedule.measurements += 1
        self._put(loop, timed, done)
        outcome = await measured
        if isinstance(outcome, BaseException):
            raise outcome
        return float(outcome)

    def close(self) -> None:
        """Close every lane and end the threads; does not wait for a batch that is still running."""
        self._closed = True
        for lane in self._owners:
            lane.draining = True
        if self._timer is not None:
            self._timer.cancel()
        for jobs in self._jobs:
            jobs.put(None)
        if self.schedule.running is None:
            for thread in self._threads:
                thread.join(timeout=1.0)

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand the next batch to an engine thread, if there is one and its time has come."""
        self._dispatch_is_due = False
        now = time.monotonic()
        while turn := self.schedule.close_next(now):
            self._hand_over(loop, *turn, now)
        if self._timer is not None:
            self._timer.cancel()
        when = self.schedule.decides_at()
        self._timer = loop.call_at(when, self._dispatch, loop) if now < when < inf else None

    def _hand_over(
        self, loop: asyncio.AbstractEventLoop, lane: Lane[Any], closed: ClosedBatch[Any], now: float
    ) -> None:
        owner = self._owners[lane]
        if tickets := owner.release(closed, now):
            batch = self.schedule.start(lane, len(tickets), now)
            done = partial(self._finish, loop, owner, tickets)
            self._put(loop, owner.work(tickets), done, ahead=batch.ahead)
            owner.launched(tickets, closed.reason, batch.started)

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: LaneOwner,
        tickets: list[Any],
        outcome: Any,
        free_at: float,
        ended_at: float,
    ) -> None:
        now = time.monotonic()
        learn = owner.teaches(outcome)
        running = self.schedule.finish(now, free_at=free_at, ended_at=ended_at, learn=learn)
        try:
            self._dispatch(loop)
        finally:
            owner.settle(tickets, outcome, running, now)

    def _put(self, loop: asyncio.AbstractEventLoop, work: Work, tell: Done, *, ahead: bool = False) -> None:
        before, self._last_done = self._last_done, Lock()
        self._last_done.acquire()
        self._last_thread = 1 - self._last_thread if ahead else 0
        self._jobs[self._last_thread].put(_Job(loop, work, tell, ahead, before, self._last_done))

    def _run_jobs(self, thread: int) -> None:
        """An engine thread. Whatever a batch raises is an outcome like any other: the thread lives on."""
        while (job := self._jobs[thread].get()) is not None:
            if not job.ahead:
                job.before.acquire()
            self._busy[thread] = time.monotonic()
            try:
                outcome = job.work()
            except BaseException as error:
                outcome = error
            if job.ahead:
                job.before.acquire()  # outcomes come in the order of the jobs
            free_at, self._ended_at = self._ended_at, time.monotonic()  # before the loop hands over the next
            del self._busy[thread]
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                job.loop.call_soon_threadsafe(job.tell, outcome, free_at, self._ended_at)
            job.done.release()
            del job, outcome  # an idle thread keeps no batch in memory
