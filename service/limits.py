"""What a request may cost before any work is done for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from service.errors import BodyTooLarge, ClientLeft, MalformedRequest, Overloaded, UnsupportedEncoding

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Intake:
    """Request bodies in memory: each bounded, and all together.

    The native routes and the Flask adapter both read through it, so a body over the limit is refused from
    its Content-Length, before it is received, on every route.
    """

    def __init__(self, max_body_bytes: int, max_bytes_held: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._max_bytes_held = max_bytes_held
        self._held = 0

    @property
    def bytes_held(self) -> int:
        """Bytes of all bodies received or announced, and not yet answered."""
        return self._held

    @asynccontextmanager
    async def body(self, scope: Scope, receive: Receive) -> AsyncIterator[bytes]:
        """The whole body, counted as held until the context ends.

        Raises BodyTooLarge, Overloaded, MalformedRequest, UnsupportedEncoding or ClientLeft.
        """
        held = self._declared(scope["headers"])
        self._held += held
        try:
            self._refuse_over_capacity()
            chunks: list[bytes] = []
            size = 0
            async for chunk in _chunks(receive):
                chunks.append(chunk)
                size += len(chunk)
                if size > held:  # chunked transfer: the length was not announced
                    self._held += size - held
                    held = size
                    self._refuse_over_capacity()
                self._refuse_too_large(size)
            yield b"".join(chunks)
        finally:
            self._held -= held

    def _declared(self, headers: Iterable[tuple[bytes, bytes]]) -> int:
        declared = 0
        for name, value in headers:
            if name == b"content-length":
                if not value.isdigit():
                    raise MalformedRequest("Content-Length is not a number")
                declared = int(value)
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise UnsupportedEncoding("compressed request bodies are not supported")
        self._refuse_too_large(declared)
        return declared

    def _refuse_too_large(self, size: int) -> None:
        if size > self._max_body_bytes:
            raise BodyTooLarge(f"the body is larger than {self._max_body_bytes:,} bytes")

    def _refuse_over_capacity(self) -> None:
        if self._held > self._max_bytes_held:
            raise Overloaded("too many request bodies in memory")


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft("the client left before its body arrived")
        yield message.get("body", b"")
        more = message.get("more_body", False)
