"""Questions and answers between the supervisor and a worker, over a pair of sockets.

Either side asks, and may be asked while it waits. A message is a JSON array behind its length in four bytes:
[id, "ask", what, value], [id, "answer", value] or [id, "refuse", kind, message].
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

logger = logging.getLogger("rotulo")

Answer = Callable[[str, Any], Awaitable[Any]]


class LinkClosed(Exception):
    """The other side is gone."""


class Refused(Exception):
    """The other side answers with an error: the name of its class, and its message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def message(*parts: Any) -> bytes:
    """As it is sent."""
    body = json.dumps(parts).encode()
    return len(body).to_bytes(4) + body


class Link:
    """One end. Belongs to the event loop."""

    def __init__(self, end: socket.socket, answer: Answer) -> None:
        """`answer` is called with what is asked; whatever it raises is sent as a refusal."""
        self._end = end
        self._answer = answer
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._open = True
        self._writer: asyncio.StreamWriter

    async def open(self) -> asyncio.Task[None]:
        """Begin to answer; the task that is returned ends when the other side is gone."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._end)
        return asyncio.create_task(self._read(reader))

    async def ask(self, what: str, value: Any = None, timeout_seconds: float | None = None) -> Any:
        """The other side's answer; raises Refused, LinkClosed or TimeoutError."""
        if not self._open:
            raise LinkClosed
        number = next(self._ids)
        self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(message(number, "ask", what, value))
            async with asyncio.timeout(timeout_seconds):
                return await self._asked[number]
        finally:
            del self._asked[number]

    async def tell(self, what: str, value: Any = None) -> None:
        """Ask, and care for no answer."""
        with suppress(LinkClosed, Refused):
            await self.ask(what, value)

    def close(self) -> None:
        """The other side is to know."""
        self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        # ValueError: what a process that ended in the middle of an answer said after it is no message.
        with suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
            while True:
                size = int.from_bytes(await reader.readexactly(4))
                self._received(*json.loads(await reader.readexactly(size)))
        self._open = False
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(LinkClosed())
        self.close()

    def _received(self, number: int, kind: str, *rest: Any) -> None:
        if kind == "ask":
            task = asyncio.create_task(self._reply(number, *rest))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif (waiting := self._asked.get(number)) is not None and not waiting.done():
            if kind == "answer":
                waiting.set_result(rest[0])
            else:
                waiting.set_exception(Refused(*rest))

    async def _reply(self, number: int, what: str, value: Any) -> None:
        try:
            reply = message(number, "answer", await self._answer(what, value))
        except Refused as error:
            reply = message(number, "refuse", error.kind, str(error))
        except Exception as error:
            reply = message(number, "refuse", type(error).__name__, str(error))
        if self._open:
            self._writer.write(reply)
