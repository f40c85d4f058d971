"""Row 33: what reaches the port of TLS and is none, not all of it, or too old."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests import certificate
from tests.torture.client import head
from tests.torture.faults import Group
from tests.torture.subject import Subject, started

MUST = "closed within a minute, nothing in the log; others answered meanwhile"
GONE_SECONDS = 90.0


def group(count: int) -> Group:
    """`count`: clients of each kind."""
    faults = Group()

    @faults.fault(33, f"{count} times each: part of a handshake, HTTP without TLS, TLS 1.1", MUST)
    def _(_: Subject) -> str:
        with tempfile.TemporaryDirectory() as scratch:
            chain, key = certificate.certificate(Path(scratch))
            with started("--ssl-certfile", str(chain), "--ssl-keyfile", str(key)) as subject:
                printed = len(subject.lines)
                ends = _ends(subject, chain, _beginnings(chain) * count)
                assert not subject.lines[printed:], subject.lines[printed:]
                assert subject.stop() == 0
        return ends

    return faults


def _beginnings(chain: Path) -> list[bytes]:
    """What each kind of client sends before it falls silent."""
    hello = _hello(ssl.create_default_context(cafile=chain))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    return [b"", hello[:1], hello[:100], hello, head("/healthz", method="GET"), _hello(old)]


def _hello(context: ssl.SSLContext) -> bytes:
    """A client's first message."""
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost").do_handshake()
    return sent.read()


def _ends(subject: Subject, chain: Path, beginnings: list[bytes]) -> str:
    """When the connections were closed, in words; one good client is answered while they stand."""
    with contextlib.ExitStack() as stack:
        clients = set()
        for beginning in beginnings:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", subject.port)))
            client.sendall(beginning)
            clients.add(client)
        began = time.monotonic()
        answered = _healthy(subject, chain)
        seconds = Counter(round(at - began) for at in _closed(clients, began + GONE_SECONDS))
    assert seconds.total() == len(beginnings), f"{len(beginnings) - seconds.total()} are still open"
    words = ", ".join(f"{number} after {second} s" for second, number in sorted(seconds.items()))
    return f"closed: {words}; a good client after {answered * 1000:.0f} ms"


def _closed(clients: set[socket.socket], until: float) -> list[float]:
    """When each was, on the monotonic clock."""
    ends = []
    while clients and time.monotonic() < until:
        for client in select.select(list(clients), [], [], 1)[0]:
            with contextlib.suppress(ConnectionError):
                if client.recv(65536):
                    continue
            clients.discard(client)
            ends.append(time.monotonic())
    return ends


def _healthy(subject: Subject, chain: Path) -> float:
    """Seconds that a client with a whole handshake waits for its answer."""
    began = time.monotonic()
    context = ssl.create_default_context(cafile=chain)
    with (
        socket.create_connection(("127.0.0.1", subject.port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(head("/healthz", "Connection: close", method="GET"))
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    return time.monotonic() - began
