"""A real server on a real socket, in a thread of the test's process; and a client that can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from models.predictor import Predictor
from service.server import Server
from service.serving.store import Store
from service.settings import Settings
from service.wiring import Service

TOKEN = "a-token-for-the-tests"


@dataclass
class Response:
    """One HTTP response, whole."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class LiveService:
    """A running service and where to find it."""

    service: Service
    port: int
    stop: Callable[[], None]

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Response:
        """One request on a connection of its own."""
        with contextlib.closing(self.connection()) as connection:
            return send(connection, method, path, body, headers)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def metric(self, name: str, **labels: str) -> float:
        """A value from `/metrics`, as a scraper would read it; 0 where it has not been counted yet."""
        wanted = "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"
        for line in self.request("GET", "/metrics").body.decode().splitlines():
            key, _, value = line.rpartition(" ")
            if key == name + (wanted if labels else ""):
                return float(value)
        return 0.0

    def wait_for_metric(self, value: float, name: str, **labels: str) -> None:
        """Ask until the metric has this value; each question is an HTTP round trip, and they are bounded."""
        for _ in range(5000):
            if (seen := self.metric(name, **labels)) == value:
                return
        raise AssertionError(f"{name} is {seen}, not {value}")


def send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """One request on an open connection."""
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    names = {name.lower(): value for name, value in response.getheaders()}
    return Response(response.status, names, response.read())


@contextlib.contextmanager
def serve(
    predictors: Sequence[Predictor], store: Store | None = None, /, **settings: Any
) -> Iterator[LiveService]:
    """Start a service on a free port; stop it, and its threads, at the end."""
    defaults = {
        "port": 0,
        "admin_token": TOKEN,
        "drain_grace_seconds": 0.0,
        "log_level": "warning",
        "latency_target_ms": 300_000,  # no test may depend on how long this machine stalls
    }
    service = Service(Settings(**{**defaults, **settings}), predictors, store)
    listening: SimpleQueue[str] = SimpleQueue()
    server = Server(service, listening.put)

    def run() -> None:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve())

    thread = threading.Thread(target=run, name="live-service")
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join()

    try:
        port = int(listening.get(timeout=60).rpartition(":")[2])
        yield LiveService(service, port, stop)
    finally:
        stop()


def multipart(*files: tuple[str, bytes], boundary: str = "----test-boundary") -> tuple[bytes, dict[str, str]]:
    """A multipart body of (field, content) parts, and its headers."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a.bin"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def until_closed(client: socket.socket) -> bytes:
    """Everything that the service sends until it closes."""
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    return received


def responses(received: bytes) -> list[Response]:
    """Every response in it; they have lengths."""
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers["content-length"])
        found.append(Response(int(first.split()[1]), headers, received[:length]))
        received = received[length:]
    return found
