"""One keep-alive HTTP/1.1 connection that carries one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import httptools

from loadtest.messages import Message

_PIECES = 20  # of a slow upload


class Response:
    """A response while it is being read; what `httptools` calls back."""

    __slots__ = ("_parser", "body", "complete", "has_retry_after", "keep_alive", "timing")

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.body = b""
        self.complete = False
        self.has_retry_after = False
        self.keep_alive = True
        self.timing = b""

    def feed(self, data: bytes) -> None:
        """Raises httptools.HttpParserError."""
        self._parser.feed_data(data)

    @property
    def status(self) -> int:
        return int(self._parser.get_status_code())

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"server-timing":
            self.timing = value
        elif name == b"retry-after":
            self.has_retry_after = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True
        self.keep_alive = self._parser.should_keep_alive()


class Connection(asyncio.Protocol):
    """Tells ``on_response`` of each whole response, and ``on_lost`` if it ends without one."""

    def __init__(
        self,
        on_response: Callable[[Connection, Response], None],
        on_lost: Callable[[Connection, str], None],
    ) -> None:
        self.message: Message | None = None  # what is under way
        self.scheduled = self.sent = 0.0
        self._on_response = on_response
        self._on_lost = on_lost
        self._response = Response()
        self._transport: asyncio.Transport | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._unsent = 0  # pieces of a slow upload

    def send(self, message: Message, timeout_seconds: float) -> None:
        """Start the request; it ends in `on_response` or `on_lost`."""
        self.message = message
        self._response = Response()
        loop = asyncio.get_running_loop()
        if message.upload_seconds:
            self._drip(loop, message)
        elif self._transport:
            self._transport.write(message.data)
        seconds = min(timeout_seconds, message.leave_after_seconds)
        why = "no answer in time" if seconds == timeout_seconds else "left"
        self._timers.append(loop.call_later(seconds, self.drop, why))

    def drop(self, why: str) -> None:
        """Hang up, and say so if a request is under way."""
        if self._transport:
            self._transport.abort()
        self._end(why)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._response.feed(data)
        except httptools.HttpParserError:
            self.drop("not HTTP")
            return
        if self._response.complete:
            self._stop_timers()
            if self._unsent:  # the server would take what comes next for the rest of this body
                self._response.keep_alive = False
            self._on_response(self, self._response)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(type(exc).__name__ if exc else "closed without an answer")

    def _end(self, why: str) -> None:
        self._stop_timers()
        if self._transport:
            self._transport = None
            self._on_lost(self, why)

    def _stop_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _drip(self, loop: asyncio.AbstractEventLoop, message: Message) -> None:
        pieces = _pieces(message.data)
        self._unsent = len(pieces)
        for index, piece in enumerate(pieces):
            after = message.upload_seconds * index / _PIECES
            self._timers.append(loop.call_later(after, self._write, piece))

    def _write(self, piece: bytes) -> None:
        self._unsent -= 1
        if self._transport:
            self._transport.write(piece)


def _pieces(data: bytes) -> Sequence[bytes]:
    size = -(-len(data) // _PIECES)
    return [data[start : start + size] for start in range(0, len(data), size)]
