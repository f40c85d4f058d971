"""Clients that misbehave: raw sockets, and many keep-alive connections at once."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

from tests.live import Response, responses
from tests.torture.subject import NATIVE, Subject

Headers = dict[str, str]
ANSWER_SECONDS = 60.0


@contextlib.contextmanager
def connected(subject: Subject, timeout: float = ANSWER_SECONDS) -> Iterator[socket.socket]:
    """A raw connection."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", subject.port), timeout=timeout)) as client:
        yield client


def answers(subject: Subject, *sent: bytes, timeout: float = ANSWER_SECONDS) -> list[Response]:
    """What comes back on one connection until it is closed; raises TimeoutError if it is not.

    Stops to send once there is an answer: to write on would reset it away.
    """
    with connected(subject, timeout) as client:
        with contextlib.suppress(ConnectionError):
            for part in sent:
                _send_until_answered(client, part)
        received = b""
        with contextlib.suppress(ConnectionError):
            while chunk := client.recv(65536):
                received += chunk
    return responses(received)


def _send_until_answered(client: socket.socket, data: bytes) -> None:
    left = memoryview(data)
    while left:
        readable, writable, _ = select.select([client], [client], [], ANSWER_SECONDS)
        if readable or not writable:
            return
        left = left[client.send(left[:65536]) :]


def statuses(subject: Subject, *sent: bytes, timeout: float = ANSWER_SECONDS) -> list[int]:
    """The statuses of `answers`."""
    return [response.status for response in answers(subject, *sent, timeout=timeout)]


def post(path: str, body: bytes, headers: Headers | None = None) -> bytes:
    """A whole POST request."""
    fields = {"Host": "test", "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def head(path: str = NATIVE, *lines: str, method: str = "POST") -> bytes:
    """A request's head; `lines` are header fields."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: test", *lines, "", ""]).encode("latin-1")


class Lost(Exception):
    """A request was sent on an open connection, and no whole answer came."""


class Connection:
    """One keep-alive connection, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.used = 0  # answers on the connection that is open

    async def ask(self, request: bytes, timeout: float = ANSWER_SECONDS) -> tuple[int, bytes]:
        """Status and body; raises Lost, or OSError where nobody listens."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            self.used = 0
        try:
            async with asyncio.timeout(timeout):
                status, body, keeps = await _exchange(*self._streams, request)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.close()
            raise Lost(f"{type(error).__name__} after {self.used} answers") from error
        self.used += 1
        if not keeps:
            self.close()
        return status, body

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes, bool]:
    writer.write(request)
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
    body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
    return int(lines[0].split()[1]), body, fields.get(b"connection") != b"close"


async def counted(port: int, requests: Iterable[bytes], connections: int) -> Counter[str]:
    """Send all, so many at a time; how many times each status, or `lost`, came back."""
    seen: Counter[str] = Counter()
    left = iter(requests)

    async def worker() -> None:
        connection = Connection(port)
        for request in left:
            try:
                status, _ = await connection.ask(request)
                seen[str(status)] += 1
            except Lost:
                seen["lost"] += 1
        connection.close()

    await asyncio.gather(*(worker() for _ in range(connections)))
    return seen


@contextlib.asynccontextmanager
async def many(
    subject: Subject, count: int, start: bytes = b""
) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """So many open connections that have each sent `start`; closed at the end."""
    opened = []
    try:
        for _ in range(count):
            streams = await asyncio.open_connection("127.0.0.1", subject.port)
            streams[1].write(start)
            opened.append(streams)
        yield opened
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def in_thread(work: Callable[[], Response]) -> Response:
    """A blocking request beside the asynchronous ones."""
    return await asyncio.to_thread(work)


def asynchronous(attack: Callable[[Subject], Awaitable[str]]) -> Callable[[Subject], str]:
    """An attack that is a coroutine, as one that is not."""

    async def attacked(subject: Subject) -> str:
        return await attack(subject)

    return lambda subject: asyncio.run(attacked(subject))
