"""The asyncio shell: submit() -> answer. Reads the clock, and leaves every decision to the policy."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from math import inf
from typing import Any, Generic, NamedTuple, TypeVar

from batching.device import Device
from batching.errors import (
    BatcherClosed,
    BatchFailed,
    DeadlineExceeded,
    OutOfMemory,
    QueueFull,
    WrongResultCount,
)
from batching.lane import ClosedBatch, Lane
from batching.latency import LatencyModel, LatencyPoint
from batching.observer import Observer
from batching.policy import BatchPolicy, CloseReason, RefusalReason
from batching.schedule import Running
from batching.waiting import Ticket

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)


class Answered(NamedTuple, Generic[Answer]):
    """One caller's answer, and what it took."""

    value: Answer
    queue_seconds: float
    batch_seconds: float
    batch_size: int


class _Request(Ticket):
    """A caller inside `Batcher.submit`.

    Its future's result is an answer or the exception to raise. An exception set on the future instead would
    be complained about when nobody fetches it, and may not be a StopIteration.
    """

    __slots__ = ("answered", "future", "give_up_at", "item", "running")

    def __init__(
        self, item: Any, offered: float, deadline: float, give_up_at: float, future: asyncio.Future[Any]
    ) -> None:
        super().__init__(offered, deadline)
        self.item = item
        self.give_up_at = give_up_at
        self.future = future
        self.running = False
        self.answered = False

    def answer(self, outcome: Any) -> bool:
        """False if the caller has left or has its answer."""
        if self.future.done():
            return False
        self.answered = True
        self.future.set_result(outcome)
        return True


class _InHalves(list[Any]):
    """The answers of a batch that found no memory at first."""


class Batcher(Generic[Item, Answer]):
    """Turns concurrent `submit` calls into batches for one model.

    ``run_batch`` is called in a thread of the device, with 1 to ``max_batch_size`` items, and returns one
    answer for each, in order. An answer that is an `Exception` is raised to its own caller alone (one object
    per item, please). If ``run_batch`` raises, each caller of that batch gets a `BatchFailed`. After a
    MemoryError it is called once more, for one half of the batch and then for the other.

    The target in the policy decides who is admitted, when a batch closes and who expires in the line. Once
    a batch runs, its answers are delivered even if late, unless the caller said when to give up: then that
    caller gets `DeadlineExceeded` at that moment, even if the batch hangs, and the late answer goes nowhere.
    So do those of a batch that was handed over and has not begun, at their deadline.

    All methods belong to one event loop and are called from it.
    """

    def __init__(
        self,
        run_batch: Callable[[Sequence[Item]], Sequence[Answer | Exception]],
        policy: BatchPolicy,
        device: Device,
        *,
        name: str,
        observer: Observer | None = None,
        latency: LatencyModel | None = None,
        pipelined_from: float = inf,
    ) -> None:
        """``pipelined_from``: behind a batch of at least this size, ``run_batch`` may be called for the next
        one in a second thread, before that call returns.
        """
        self.name = name
        self._run_batch = run_batch
        self.policy = policy
        self._device = device
        self._observer = observer or Observer()
        self._lane: Lane[_Request] = Lane(policy, latency or LatencyModel(), pipelined_from=pipelined_from)
        self._told_sizes: Sequence[int] = _doubling(policy.max_batch_size)  # at which the curve is told
        self._running: list[list[_Request]] = []  # one batch, and perhaps one that follows
        self._accepted = 0  # callers inside submit()
        self._all_answered = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        device.attach(self._lane, self)

    @property
    def latency(self) -> LatencyModel:
        """What has been learnt about this model's batches."""
        return self._lane.latency

    def curve(self) -> list[LatencyPoint]:
        """What has been learnt, for batches of 1, 2, 4, ... and of the largest size, and at both ends of each
        step: of sizes between two of these, what lies on the line between them is expected."""
        return self._lane.latency.curve(self._told_sizes)

    @property
    def waiting(self) -> int:
        """Requests in the line."""
        return len(self._lane.line)

    def admit(
        self,
        count: int = 1,
        *,
        coming: int = 0,
        arrived: float | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        """Refuse now what `submit` would refuse later: call it before doing any work for a request.

        ``coming``: how many others were admitted and will be submitted before these. ``arrived`` and
        ``timeout_seconds`` as for `submit`. Raises QueueFull, DeadlineExceeded, BatcherClosed. Reserves
        nothing.
        """
        now = time.monotonic()
        arrived = now if arrived is None else arrived
        deadline = self.policy.deadline(arrived, inf if timeout_seconds is None else timeout_seconds)
        self._check(deadline, now, count, coming)

    async def submit(
        self, item: Item, *, arrived: float | None = None, timeout_seconds: float | None = None
    ) -> Answered[Answer]:
        """The answer for one item.

        ``arrived``: when the request came in, by time.monotonic(); now if not given. The latency target and
        the timeout both count from it. ``timeout_seconds``: give up then; without it, the caller waits for
        as long as a running batch takes. Raises QueueFull, DeadlineExceeded, BatcherClosed, BatchFailed, or
        the item's own exception. A cancelled caller leaves the line at once.
        """
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        timeout = inf if timeout_seconds is None else timeout_seconds
        arrived = now if arrived is None else arrived
        deadline = self.policy.deadline(arrived, timeout)
        self._check(deadline, now, 1)
        request = _Request(item, now, deadline, arrived + timeout, loop.create_future())
        self._lane.line.offer(request)
        if deadline < self._alarm_at:
            self._set_alarm(loop, deadline)
        self._device.wake(loop, now)
        self._accepted += 1
        try:
            outcome = await request.future
        finally:
            self._leave(request)
        if isinstance(outcome, Answered):
            return outcome
        try:
            raise outcome
        finally:
            del outcome  # or it would refer to itself through its traceback

    async def warm_up(self, item: Item, steps: Sequence[int] = (), *, repeats: int = 3) -> None:
        """Run batches of this item in a thread of the engine; their times seed the latency model.

        Each size is run once, since the first of it may compile or allocate; 1, 2, 4, ... and the largest are
        then timed. ``steps``: the sizes, ascending, to the next of which ``run_batch`` fills up every batch.
        Raises whatever ``run_batch`` raises or gives as an answer.
        """
        timed = _doubling(self.policy.max_batch_size)
        measured = []
        for size in sorted({*steps, *timed}):
            work = partial(self._rehearse, [item] * size)
            await self._device.measure(work)
            if size in timed:
                measured += [(size, await self._device.measure(work)) for _ in range(repeats)]
        self._lane.latency = LatencyModel(measured, steps)
        self._told_sizes = sorted({*timed, *steps, *(size + 1 for size in steps[:-1])})

    async def drain(self) -> None:
        """Accept no more; return when everybody who was accepted has been answered."""
        self._lane.draining = True
        if not self._accepted:
            self._all_answered.set()
        await self._all_answered.wait()
        self._device.detach(self._lane)
        if self._alarm is not None:
            self._alarm.cancel()  # it would keep the model in memory until it rings

    def give_up(self) -> None:
        """For a device that hangs: answer everybody with DeadlineExceeded; what it still returns is lost."""
        now = time.monotonic()
        self._give_up(self._lane.line.take(len(self._lane.line)), "dropped", now)
        self._give_up(chain(*self._running), "expired_running", now)

    def release(self, closed: ClosedBatch[_Request], now: float) -> list[_Request]:
        """For the device: answer those given up, return those who are still there."""
        self._give_up(closed.expired, "expired", now)
        self._give_up(closed.dropped, "dropped", now)
        return [request for request in closed.tickets if not request.future.done()]

    def work(self, requests: list[_Request]) -> Callable[[], list[Answer | Exception]]:
        """For the device: what runs them."""
        return partial(self._answers, [request.item for request in requests])

    def launched(self, requests: list[_Request], reason: CloseReason, started: float) -> None:
        """For the device: they run, or will from then on, behind those that do."""
        self._running.append(requests)
        for request in requests:
            request.running = True
            if request.give_up_at < self._alarm_at:
                self._set_alarm(asyncio.get_running_loop(), request.give_up_at)
        queue_seconds = [started - request.offered for request in requests]
        self._tell(self._observer.batch_formed, len(requests), reason, queue_seconds)

    def teaches(self, outcome: object) -> bool:
        """For the device: a batch that failed, or was run in halves, says nothing of how long one takes."""
        return not isinstance(outcome, BaseException | _InHalves)

    def settle(
        self,
        requests: list[_Request],
        outcome: list[Answer | Exception] | BaseException,
        running: Running[_Request],
        now: float,
    ) -> None:
        """For the device: the batch is done."""
        self._running = [batch for batch in self._running if batch is not requests]
        seconds = now - running.started
        if isinstance(outcome, BaseException):
            for request in requests:
                self._fail(request, self._failure(outcome, running.size))
        else:
            for request, answer in zip(requests, outcome, strict=True):
                if isinstance(answer, Exception):
                    self._fail(request, answer)
                else:
                    queue_seconds = running.started - request.offered
                    request.answer(Answered(answer, queue_seconds, seconds, running.size))
        self._tell(self._observer.batch_done, running.size, running.predicted_seconds, seconds)

    def _answers(self, items: list[Item]) -> list[Answer | Exception]:
        """In a thread of the engine."""
        try:
            return self._checked(items)
        except MemoryError:
            pass  # tried again below: in here its traceback would hold on to what was allocated
        half = len(items) // 2
        parts = [part for part in (items[:half], items[half:]) if part]
        return _InHalves(answer for part in parts for answer in self._second_try(part))

    def _second_try(self, items: list[Item]) -> list[Answer | Exception]:
        try:
            return self._checked(items)
        except MemoryError:
            return [OutOfMemory(self.name, len(items)) for _ in items]

    def _rehearse(self, items: list[Item]) -> None:
        for answer in self._checked(items):
            if isinstance(answer, Exception):
                raise answer

    def _checked(self, items: list[Item]) -> list[Answer | Exception]:
        answers = list(self._run_batch(items))
        if len(answers) != len(items):
            raise WrongResultCount(self.name, len(items), len(answers))
        return answers

    def _fail(self, request: _Request, error: Exception) -> None:
        if request.answer(error):
            self._tell(self._observer.failed, type(error).__name__)

    def _failure(self, cause: BaseException, size: int) -> BatchFailed:
        """A new object for each caller: a shared one would grow its traceback with every raise."""
        if isinstance(cause, WrongResultCount):
            return WrongResultCount(self.name, size, cause.returned)
        failure = BatchFailed(self.name, size)
        failure.__cause__ = cause
        return failure

    def _check(self, deadline: float, now: float, count: int, coming: int = 0) -> None:
        if self._lane.draining:
            self._tell(self._observer.refused, RefusalReason.CLOSED)
            raise BatcherClosed(self.name)
        schedule = self._device.schedule
        refusal = schedule.refusal(self._lane, deadline, now=now, count=count, coming=coming)
        if refusal is None:
            return
        self._tell(self._observer.refused, refusal.reason)
        if refusal.reason is RefusalReason.EXPIRED:
            raise DeadlineExceeded(self.name, 0.0)
        raise QueueFull(self.name, refusal.retry_after_seconds)

    def _leave(self, request: _Request) -> None:
        """The caller comes out of `submit`, with an answer or without."""
        if not request.answered:
            request.future.cancel()
            self._lane.line.cancel(request)
            self._tell(self._observer.abandoned, "left_running" if request.running else "left")
        self._accepted -= 1
        if not self._accepted and self._lane.draining:
            self._all_answered.set()

    def _give_up(self, requests: Iterable[_Request], stage: str, now: float) -> None:
        for request in requests:
            if request.answer(DeadlineExceeded(self.name, now - request.offered)):
                self._tell(self._observer.abandoned, stage)

    def _tell(self, event: Callable[..., None], *args: object) -> None:
        """An observer that fails is logged, and harms no request."""
        try:
            event(self.name, *args)
        except Exception:
            _log.exception("%s: the observer failed", self.name)

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        """One timer per batcher, for the earliest deadline in the line or in what the device was given."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = loop.call_at(when, self._on_alarm, loop)

    def _on_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        now = max(time.monotonic(), self._alarm_at)  # timers may be a fraction of a millisecond early
        self._alarm, self._alarm_at = None, inf
        self._give_up(self._lane.line.expire(now), "expired", now)
        due_at = [(request, request.give_up_at) for batch in self._running[:1] for request in batch]
        due_at += [(request, request.deadline) for batch in self._running[1:] for request in batch]
        self._give_up([request for request, when in due_at if when <= now], "expired_running", now)
        due = [when for request, when in due_at if not request.future.done()]
        if (head := self._lane.line.next_deadline()) is not None:
            due.append(head)
        if (earliest := min(due, default=inf)) < inf:
            self._set_alarm(loop, earliest)


def _doubling(most: int) -> list[int]:
    """1, 2, 4, ... and ``most`` itself."""
    return [1 << power for power in range((most - 1).bit_length())] + [most]
