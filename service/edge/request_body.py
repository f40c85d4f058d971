"""What a request may cost before any work is done for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope

from service.errors import (
    BodyTooLarge,
    ClientLeft,
    MalformedRequest,
    Overloaded,
    SlowClient,
    UnsupportedEncoding,
)

# In a scope's state once the whole body is here. `guarded_protocol.py` puts it there.
BODY_IS_HERE = "body_is_here"


class Intake:
    """Request bodies in memory: each bounded, and all together.

    The native routes and the Flask adapter both read through it, so a body over the limit is refused from
    its Content-Length, before it is received, on every route.
    """

    def __init__(self, max_body_bytes: int, max_bytes_held: int, timeout_seconds: float) -> None:
        self._max_body_bytes = max_body_bytes
        self._max_bytes_held = max_bytes_held
        self._timeout_seconds = timeout_seconds
        self._held = 0

    @property
    def bytes_held(self) -> int:
        """Bytes of all bodies received and not yet answered."""
        return self._held

    @asynccontextmanager
    async def body(self, scope: Scope, receive: Receive) -> AsyncIterator[bytes]:
        """The whole body, counted as held until the context ends.

        Raises BodyTooLarge, Overloaded, MalformedRequest, UnsupportedEncoding, SlowClient or ClientLeft.
        """
        self._check_headers(scope["headers"])
        received = bytearray()
        size = 0
        try:
            try:
                if scope.get("state", {}).get(BODY_IS_HERE):  # as small ones are: no clock for it
                    await self._receive(receive, received)
                else:
                    await self._receive_in_time(receive, received)
            finally:
                size = len(received)
            body = bytes(received)
            received.clear()  # one copy is held, as it is counted
            yield body
        finally:
            self._held -= size

    async def _receive_in_time(self, receive: Receive, received: bytearray) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._receive(receive, received)
        except TimeoutError:
            raise SlowClient(f"the body took longer than {self._timeout_seconds:g} s") from None

    async def _receive(self, receive: Receive, received: bytearray) -> None:
        """Counts what has come: a length that was announced and never sent costs nothing."""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft("the client left before its body arrived")
            chunk = message.get("body", b"")
            received += chunk
            self._held += len(chunk)
            self._refuse_too_large(len(received))
            self._refuse_over_capacity()
            more = message.get("more_body", False)

    def _check_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        for name, value in headers:
            if name == b"content-length":
                if not value.isdigit():
                    raise MalformedRequest("Content-Length is not a number")
                self._refuse_too_large(int(value[:18]))
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise UnsupportedEncoding("compressed request bodies are not supported")

    def _refuse_too_large(self, size: int) -> None:
        if size > self._max_body_bytes:
            raise BodyTooLarge(f"the body is larger than {self._max_body_bytes:,} bytes")

    def _refuse_over_capacity(self) -> None:
        if self._held > self._max_bytes_held:
            raise Overloaded("too many request bodies in memory")
