"""A server of either route that answers at once, and does what a test wants with every n-th request."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NATIVE = {"label": "cat", "index": 3, "confidence": 0.9, "model": "cifar10", "version": "1"}
FLASK = {"predictions": [{"category": "cat", "category_index": 3, "confidence": 0.9}]}


@dataclass
class Reply:
    """One response."""

    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


Behaviour = Callable[[Received], Reply]


def answers(request: Received) -> Reply:
    """What a well server says."""
    return Reply(document=FLASK if request.path == "/predict" else NATIVE)


def holding_until(count: int, behaviour: Behaviour = answers) -> Behaviour:
    """Answers nobody before `count` requests have come: whoever waits for an answer first never sees one."""
    everybody_is_here = threading.Event()
    arrived = []

    def hold(request: Received) -> Reply:
        arrived.append(request)
        if len(arrived) == count:
            everybody_is_here.set()
        everybody_is_here.wait(20)
        return behaviour(request)

    return hold


@dataclass
class FakeServer:
    """Where it is, and what it was asked."""

    url: str
    received: list[Received]


class Server(ThreadingHTTPServer):
    """The default of 5 loses connections when many are opened at once."""

    request_queue_size = 1024


@contextlib.contextmanager
def fake_server(behaviour: Behaviour = answers) -> Iterator[FakeServer]:
    """Listens on a free port until the context ends."""
    received: list[Received] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # a client may leave
                super().handle()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: Any) -> None:
            """Nothing: the tests read what was received."""

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.path, headers, self.rfile.read(length))
            received.append(request)
            reply = behaviour(request)
            text = isinstance(reply.document, str)
            body = (reply.document if text else json.dumps(reply.document)).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield FakeServer(f"http://127.0.0.1:{server.server_port}", received)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
