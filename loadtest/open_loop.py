"""An open-loop sender: requests leave when the schedule says so, whatever became of those before.

A closed loop (a fixed number of callers, each waiting for its answer) sends less while the server is slow, so
the slow moments are hardly measured: coordinated omission (Tene, "How NOT to Measure Latency", 2015). Here
every request has a scheduled time, and

- response time runs from the scheduled time to the answer: what a caller who came then had to wait;
- service time runs from the moment the request really left.

They differ where the sender was late or out of connections.
"""

from __future__ import annotations

import asyncio
import gc
import select
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from loadtest.answers import Outcome
from loadtest.connection import Connection, Response
from loadtest.messages import Message
from loadtest.request_log import RequestLog

Pick = Callable[[int], Message]
OnSecond = Callable[[float, RequestLog], None]


@dataclass(frozen=True, slots=True)
class SenderLimits:
    """``max_connections``: beyond them requests wait here while their response time runs.
    ``warm_connections`` are opened before the schedule starts."""

    max_connections: int = 1000
    warm_connections: int = 32
    answer_timeout_seconds: float = 30.0


class PreciseSelector(selectors.EpollSelector):
    """epoll with timeouts to the microsecond, so that requests leave on time.

    epoll_wait() counts milliseconds; select() on the epoll descriptor itself does not.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        waits = timeout is None or timeout > 0
        if waits and not select.select([self.fileno()], [], [], timeout)[0]:
            return []
        return super().select(0)


def send(
    host: str,
    port: int,
    schedule: Iterable[float],
    pick: Pick,
    limits: SenderLimits | None = None,
    on_second: OnSecond | None = None,
) -> RequestLog:
    """Send ``pick(index)`` at each of the ascending ``schedule`` times (seconds from now), await the answers.

    ``on_second(elapsed, measured so far)`` is called about once a second.
    """
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(PreciseSelector())) as runner:
        return runner.run(OpenLoop(host, port, pick, limits or SenderLimits()).run(schedule, on_second))


class OpenLoop:
    """One run: the schedule, the connections, and what was measured."""

    def __init__(self, host: str, port: int, pick: Pick, limits: SenderLimits) -> None:
        self._host, self._port = host, port
        self._pick = pick
        self._limits = limits
        self._idle: list[Connection] = []
        self._open = 0
        self._line: deque[tuple[float, Message]] = deque()  # due, and no connection free
        self._unanswered = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._measured = RequestLog()

    async def run(self, schedule: Iterable[float], on_second: OnSecond | None = None) -> RequestLog:
        """The whole schedule, and the answers to it; raises OSError if there is nobody to talk to."""
        self._loop = asyncio.get_running_loop()
        self._all_answered = asyncio.Event()
        await asyncio.gather(*(self._warm() for _ in range(self._limits.warm_connections)))
        with _without_collections():
            self._started = self._loop.time()
            if on_second:
                self._in_background(self._tick(on_second))
            await self._send_all(schedule)
        await self._close()
        return self._measured

    async def _send_all(self, schedule: Iterable[float]) -> None:
        for index, due in enumerate(schedule):
            message = self._pick(index)
            await asyncio.sleep(max(0.0, due - self._now()))
            self._unanswered += 1
            self._dispatch(due, message)
        while self._unanswered:
            self._all_answered.clear()
            await self._all_answered.wait()

    def _dispatch(self, due: float, message: Message) -> None:
        if self._idle:
            self._start(self._idle.pop(), due, message)
        else:
            self._line.append((due, message))
            if self._open < self._limits.max_connections:
                self._in_background(self._connection())

    def _connect_for_the_line(self) -> None:
        """In place of a connection that is gone."""
        if self._line:
            self._in_background(self._connection())

    def _start(self, connection: Connection, due: float, message: Message) -> None:
        connection.scheduled, connection.sent = due, self._now()
        connection.send(message, self._limits.answer_timeout_seconds)

    def _connection(self) -> Coroutine[Any, Any, None]:
        """Counted from now on, not from when it is established."""
        self._open += 1
        return self._connect()

    async def _connect(self) -> None:
        try:
            connection = await self._established()
        except OSError as error:
            self._open -= 1
            if self._line:  # else whoever it was for has got another
                due, message = self._line.popleft()
                self._finish(message, due, self._now(), Outcome.UNREACHED, fault=type(error).__name__)
            self._connect_for_the_line()  # there may be more of them than connections that were lost
        else:
            self._free(connection)

    async def _warm(self) -> None:
        self._open += 1
        self._free(await self._established())

    async def _established(self) -> Connection:
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._on_response, self._on_lost), self._host, self._port
        )
        return connection

    def _free(self, connection: Connection) -> None:
        if self._line:
            self._start(connection, *self._line.popleft())
        else:
            self._idle.append(connection)

    def _on_response(self, connection: Connection, response: Response) -> None:
        message = connection.message
        if message is None:
            connection.drop("an answer that nobody asked for")
            return
        outcome, fault = message.judge(response.status, response.has_retry_after, response.body)
        connection.message = None
        self._finish(
            message, connection.scheduled, connection.sent, outcome, timing=response.timing, fault=fault
        )
        if response.keep_alive:
            self._free(connection)
        else:
            connection.drop("closed as asked")

    def _on_lost(self, connection: Connection, why: str) -> None:
        self._open -= 1
        if connection.message is not None:
            outcome = Outcome.LEFT if why == "left" else Outcome.ERROR
            self._finish(connection.message, connection.scheduled, connection.sent, outcome, fault=why)
        else:
            with suppress(ValueError):  # it was not idle if the response asked to close
                self._idle.remove(connection)
        self._connect_for_the_line()

    def _finish(
        self,
        message: Message,
        due: float,
        sent: float,
        outcome: Outcome,
        *,
        timing: bytes = b"",
        fault: str = "",
    ) -> None:
        self._measured.add(message.kind, due, sent, self._now(), outcome, timing=timing, fault=fault)
        self._unanswered -= 1
        if not self._unanswered:
            self._all_answered.set()

    def _now(self) -> float:
        return self._loop.time() - self._started

    async def _tick(self, on_second: OnSecond) -> None:
        while True:
            await asyncio.sleep(1)
            on_second(self._now(), self._measured)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._idle):
            connection.drop("done")


@contextmanager
def _without_collections() -> Iterator[None]:
    """A garbage collection over all that was loaded would be measured as a stall of the server."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
