"""What a connection may do before, and after, its request is the application's."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import re
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.edge import guarded_protocol
from service.edge.middleware import Edge
from service.edge.request_head import MAX_FIELDS, Headers, fault_in_head
from service.errors import HeadersTooLarge, MalformedRequest
from tests.conftest import ImageMaker
from tests.live import LiveService, Response, responses, serve, until_closed
from tests.service.fakes import PixelEngine, predictor_on

MAX_HEADER_BYTES = 2048
METRICS = b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n"
POST = b"POST /v1/models/cifar10/predict HTTP/1.1\r\nHost: test\r\n"


@pytest.fixture(scope="module")
def patient() -> Iterator[LiveService]:
    """A service whose clocks never end a test."""
    with serve([predictor_on(PixelEngine())], max_header_bytes=MAX_HEADER_BYTES) as running:
        yield running


@pytest.fixture(scope="module")
def impatient() -> Iterator[LiveService]:
    """A service that waits a fifth of a second for anything but an idle connection."""
    settings = {"header_timeout_seconds": 0.5, "send_timeout_seconds": 0.2, "body_timeout_seconds": 0.2}
    with serve([predictor_on(PixelEngine())], **settings) as running:
        yield running


@contextmanager
def connected(live: LiveService) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", live.port), timeout=60)) as client:
        yield client


def answers(live: LiveService, *sent: bytes) -> list[Response]:
    """What a client gets that sends this and waits for the close."""
    with connected(live) as client:
        for part in sent:
            client.sendall(part)
        return responses(until_closed(client))


def statuses(live: LiveService, *sent: bytes) -> list[int]:
    return [response.status for response in answers(live, *sent)]


# The clock of the head.


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: te", HEALTH[:-2]])
def test_a_client_that_falls_silent_before_the_end_of_its_headers_gets_a_408(
    impatient: LiveService, sent: bytes
) -> None:
    assert statuses(impatient, sent) == [408]


def test_a_client_that_drips_its_headers_gets_a_408(impatient: LiveService) -> None:
    with connected(impatient) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n")
        client.settimeout(0.05)
        for _ in range(1000):
            client.sendall(b"A: b\r\n")
            try:
                received = client.recv(65536)
                break
            except TimeoutError:
                continue
        assert [response.status for response in responses(received)] == [408]


def test_the_second_request_of_a_connection_has_the_same_clock(impatient: LiveService) -> None:
    assert statuses(impatient, HEALTH + HEALTH + b"GET") == [200, 200, 408]


def test_an_idle_connection_has_only_the_keep_alive_clock() -> None:
    """Closed without an answer: a 408 would look like the answer to a request just sent."""
    with serve([], header_timeout_seconds=0.5, keep_alive_seconds=1) as live:
        assert statuses(live, HEALTH) == [200]


def test_blank_lines_do_not_keep_a_connection(impatient: LiveService) -> None:
    with connected(impatient) as client:
        client.sendall(HEALTH)
        received = client.recv(65536)
        client.sendall(b"\r\n")
        assert [response.status for response in responses(received + until_closed(client))] == [200, 408]


def test_a_refusal_is_a_problem_document_that_closes(impatient: LiveService) -> None:
    (response,) = answers(impatient, b"GET / HTTP/1.1\r\n")
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["connection"] == "close"
    assert problem["type"] == "urn:rotulo:problem:slow-client"
    assert problem["request_id"] == response.headers["x-request-id"]


# A body that nobody reads.


def test_a_body_that_does_not_arrive_gets_a_408_from_whoever_reads_it(impatient: LiveService) -> None:
    assert statuses(impatient, POST + b"Content-Length: 9\r\n\r\nabc") == [408]


def test_a_client_that_asks_to_continue_and_does_not_gets_a_408(impatient: LiveService) -> None:
    with connected(impatient) as client:
        client.sendall(POST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        received = until_closed(client)
    _, _, rest = received.partition(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert [response.status for response in responses(rest)] == [408]


def test_the_rest_of_a_body_that_was_answered_early_has_a_clock(impatient: LiveService) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n"
    with connected(impatient) as client:
        client.sendall(head)
        received = client.recv(65536)
        client.sendall(b"abc")
        assert [response.status for response in responses(received + until_closed(client))] == [200]


def test_who_sends_on_after_an_answer_that_ends_the_connection_can_still_read_it() -> None:
    head = b"POST /v1/models/cifar10/predict HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n"
    with (
        serve([predictor_on(PixelEngine())], max_body_bytes=1024) as live,
        connected(live) as client,
    ):
        client.sendall(head)
        client.recv(1, socket.MSG_PEEK)
        for _ in range(10):
            client.sendall(bytes(1000))
            live.request("GET", "/healthz")
        (answer,) = responses(until_closed(client))
        assert answer.status == 413
        assert answer.headers["connection"] == "close"


def test_a_connection_is_used_again_after_a_body_that_was_answered_early(patient: LiveService) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n"
    with connected(patient) as client:
        client.sendall(head)
        received = client.recv(65536)
        client.sendall(b"abc" + HEALTH)
        received += client.recv(65536)
    assert [response.status for response in responses(received)] == [200, 200]


def test_a_connection_is_idle_once_such_a_body_is_complete() -> None:
    with serve([], header_timeout_seconds=0.5, keep_alive_seconds=1) as live, connected(live) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n")
        received = client.recv(65536)
        client.sendall(b"abc")
        assert [response.status for response in responses(received + until_closed(client))] == [200]


# The bounds of the head.


def endless(start: bytes, more: bytes) -> Callable[[socket.socket], bytes]:
    """Sends until the service answers."""

    def send(client: socket.socket) -> bytes:
        client.sendall(start)
        client.setblocking(False)
        for _ in range(100_000):
            try:
                return client.recv(65536)
            except BlockingIOError:
                try:
                    client.send(more)
                except BlockingIOError:
                    continue
        raise AssertionError("never answered")

    return send


@pytest.mark.parametrize(
    "send",
    [
        endless(b"GET / HTTP/1.1\r\nHost: test\r\nA: ", b"b" * 1024),
        endless(b"GET / HTTP/1.1\r\nHost: test\r\n", b"A: b\r\n" * 100),
        endless(b"GET /", b"a" * 1024),
        endless(POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: ", b"b" * 1024),
        endless(POST + b"Transfer-Encoding: chunked\r\n\r\n1;", b"b" * 1024),
    ],
    ids=["value", "fields", "target", "trailer", "chunk-extension"],
)
def test_what_is_not_body_and_never_ends_gets_a_431(
    patient: LiveService, send: Callable[[socket.socket], bytes]
) -> None:
    with connected(patient) as client:
        assert [response.status for response in responses(send(client))] == [431]


def test_the_limit_on_headers_is_exact_and_does_not_count_the_body(patient: LiveService) -> None:
    target, fields = b"/v1/models/cifar10/predict", b"Expect: 100-continue\r\nContent-Length: 100000\r\n"
    others = target + b"Host: test\r\n" + fields + b"X: \r\n"

    def post(size: int) -> bytes:
        return POST + fields + b"X: " + b"y" * (size - len(others)) + b"\r\n\r\n"

    with connected(patient) as client:
        client.sendall(post(MAX_HEADER_BYTES))
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(bytes(100_000) + b"bad\r\n")
        assert [response.status for response in responses(until_closed(client))] == [415]
    assert statuses(patient, post(MAX_HEADER_BYTES + 1)) == [431]


def protocol_before(app: Any) -> guarded_protocol.GuardedProtocol:
    """A connection that no clock ends, not made yet."""
    limits = guarded_protocol.ConnectionLimits(60, MAX_HEADER_BYTES, 60)
    config = Config(app, ws="none", log_level="critical")
    return guarded_protocol.guarded(limits)(config, ServerState(), {})


@contextmanager
def no_collections() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Discarding(asyncio.Transport):
    """A transport to nobody."""

    def write(self, data: Any) -> None: ...
    def close(self) -> None: ...
    def is_closing(self) -> bool:
        return False


async def received_by_an_application(*pieces: bytes) -> tuple[list[bytes], int]:
    """The header names and the length of the body, after the pieces arrived one by one."""
    names: list[bytes] = []
    size = 0

    async def app(scope: Any, receive: Any, _: Any) -> None:
        nonlocal size
        more = True
        while more:
            message = await receive()
            size += len(message["body"])
            more = message["more_body"]
        names.extend(name for name, _ in scope["headers"])

    protocol = protocol_before(app)
    protocol.connection_made(Discarding())
    for piece in pieces:
        protocol.data_received(piece)
    await asyncio.gather(*protocol.tasks)
    protocol.connection_lost(None)
    return names, size


async def test_trailers_are_not_headers() -> None:
    """A trailer must not bring an identity that was not checked."""
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Api-Key: k\r\n\r\n"
    assert await received_by_an_application(chunked) == ([b"host", b"transfer-encoding"], 1)


async def test_a_body_in_many_pieces_is_not_taken_for_headers() -> None:
    pieces = [b"x" * (MAX_HEADER_BYTES - 1)] * 10
    head = POST + b"Content-Length: %d\r\n\r\n" % len(b"".join(pieces))
    _, size = await received_by_an_application(head, *pieces)
    assert size == len(b"".join(pieces))


# Heads that could be read in two ways.

HOST = (b"host", b"test")


@pytest.mark.parametrize(
    ("version", "headers", "fault"),
    [
        ("1.1", [HOST], None),
        ("1.0", [], None),
        ("1.1", [], MalformedRequest),
        ("1.1", [HOST, HOST], MalformedRequest),
        ("1.0", [HOST, HOST], MalformedRequest),
        ("2.0", [HOST], MalformedRequest),
        ("0.9", [], MalformedRequest),
        ("1.1", [HOST, (b"transfer-encoding", b"Chunked")], None),
        ("1.0", [HOST, (b"transfer-encoding", b"chunked")], MalformedRequest),
        ("1.1", [HOST, (b"transfer-encoding", b"gzip, chunked")], MalformedRequest),
        ("1.1", [HOST, *[(b"a", b"")] * (MAX_FIELDS - 1)], None),
        ("1.1", [HOST, *[(b"a", b"")] * MAX_FIELDS], HeadersTooLarge),
        ("1.1", [HOST, (b"a", b"b" * 182)], None),
        ("1.1", [HOST, (b"a", b"b" * 183)], HeadersTooLarge),
    ],
)
def test_a_head_has_one_meaning_and_a_bounded_size(
    version: str, headers: Headers, fault: type[Exception] | None
) -> None:
    found = fault_in_head(version, b"/", headers, max_bytes=1000 if len(headers) > 9 else 200)
    assert (found and type(found)) is fault


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
        b"GET @evil HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_a_malformed_request_gets_one_400_whatever_follows_it(
    patient: LiveService, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert statuses(patient, request_ + HEALTH) == [400]
    assert not [record for record in caplog.records if record.exc_info]


def test_garbage_behind_a_request_does_not_become_its_answer(patient: LiveService) -> None:
    assert statuses(patient, HEALTH + b"garbage\r\n\r\n") == [200]


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.mark.parametrize("piece_bytes", [1, 7, 100, 10_000])
def test_an_upgrade_is_ignored_and_the_request_answered_with_its_body(
    patient: LiveService, make_image: ImageMaker, caplog: pytest.LogCaptureFixture, piece_bytes: int
) -> None:
    """As Java's client asks for HTTP/2, with whatever its first request is."""
    image = make_image()
    half = len(image) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (image[:half], image[half:], b""))
    sent = [
        POST + UPGRADE + b"Content-Length: %d\r\n\r\n" % len(image) + image,
        b"GET /healthz HTTP/1.1\r\nHost: test\r\n" + UPGRADE + b"\r\n",
        POST + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
        POST + UPGRADE + b"Content-Length: 0\r\n\r\n",
        POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(image) + image,
    ]
    together = b"".join(sent)
    pieces = [together[at : at + piece_bytes] for at in range(0, len(together), piece_bytes)]
    with connected(patient) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        received = until_closed(client)
    assert [response.status for response in responses(received)] == [200, 200, 200, 400, 200]
    assert not caplog.records


def test_any_number_of_requests_may_ask_for_an_upgrade_at_once(patient: LiveService) -> None:
    asking = b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"
    last = HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert statuses(patient, asking * 2000 + last) == [200] * 2001


def test_garbage_in_the_place_of_a_body_behind_an_upgrade_is_one_400(patient: LiveService) -> None:
    sent = POST + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n" + HEALTH
    assert statuses(patient, sent) == [400]


def test_the_callers_own_request_id_is_in_the_refusal(patient: LiveService) -> None:
    (response,) = answers(patient, b"GET / HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n")
    assert response.headers["x-request-id"] == response.json()["request_id"] == "mine"


def test_refusals_are_counted_by_their_reason(patient: LiveService) -> None:
    before = patient.metric("rotulo_connections_refused_total", reason="malformed-request")
    assert statuses(patient, b"GET / HTTP/1.1\r\n\r\n") == [400]
    assert patient.metric("rotulo_connections_refused_total", reason="malformed-request") == before + 1


# Clients that do not read.


def test_a_client_that_does_not_read_its_answers_is_cut_off(impatient: LiveService) -> None:
    with closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(("127.0.0.1", impatient.port))
        with contextlib.suppress(ConnectionError):
            client.sendall(METRICS * 100_000)
        impatient.wait_for_metric(1, "rotulo_connections_refused_total", reason="slow-reader")
        with contextlib.suppress(ConnectionError):
            until_closed(client)


def test_the_service_stops_in_time_with_a_client_that_does_not_read() -> None:
    settings = {"send_timeout_seconds": 0.2, "drain_timeout_seconds": 3600.0}
    with serve([], **settings) as live, closing(socket.socket()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", live.port))
        client.settimeout(1)
        with contextlib.suppress(TimeoutError, ConnectionError):
            client.sendall(METRICS * 100_000)
        live.stop()


async def test_a_closed_connection_with_bytes_unsent_is_cut_off() -> None:
    """They are too few for the transport to say that it is full."""

    class Stuck(Discarding):
        closing = False
        looks = 0
        aborted = asyncio.Event()

        def close(self) -> None:
            self.closing = True

        def is_closing(self) -> bool:
            self.looks += 1
            return self.closing

        def abort(self) -> None:
            self.aborted.set()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"connection", b"close")]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body"})

    limits = guarded_protocol.ConnectionLimits(0.05, MAX_HEADER_BYTES, 0.1)
    config = Config(app, ws="none", log_level="critical")
    protocol = guarded_protocol.guarded(limits)(config, ServerState(), {})
    transport = Stuck()
    protocol.connection_made(transport)
    protocol.data_received(HEALTH + b"GET")
    await transport.aborted.wait()
    assert transport.looks < 50  # it slept in between
    protocol.connection_lost(None)


async def test_the_request_that_runs_is_told_of_a_lost_connection_though_another_came_behind_it() -> None:
    """Else it writes to a transport that is closed, which uvloop takes for a fault of ours."""
    told = []

    async def app(_scope: Any, receive: Any, _: Any) -> None:
        told.extend([(await receive())["type"] for _ in range(2)])

    class Pausable(Discarding):
        def pause_reading(self) -> None: ...
        def resume_reading(self) -> None: ...

    protocol = protocol_before(app)
    protocol.connection_made(Pausable())
    protocol.data_received(HEALTH + HEALTH)
    protocol.connection_lost(None)
    await asyncio.gather(*protocol.tasks)
    assert told[-1] == "http.disconnect"


@pytest.mark.parametrize("body", [b"small", bytes(100_000)])
async def test_a_connection_is_read_while_its_request_is_worked_on_however_large_the_body(
    body: bytes,
) -> None:
    """Else nobody would see the client leave."""
    received = asyncio.Event()

    async def app(_scope: Any, receive: Any, _: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        received.set()
        await asyncio.Future()

    class Readable(Discarding):
        reading = True

        def pause_reading(self) -> None:
            self.reading = False

        def resume_reading(self) -> None:
            self.reading = True

    protocol = protocol_before(app)
    transport = Readable()
    protocol.connection_made(transport)
    protocol.data_received(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(body))
    await asyncio.sleep(0)  # the application waits for the body
    protocol.data_received(body)
    await received.wait()
    assert transport.reading
    running = list(protocol.tasks)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    protocol.connection_lost(None)


async def test_a_connection_lost_in_the_middle_of_a_body_is_freed_without_a_collection_of_garbage() -> None:
    """Else its part of the body stays until there is one, and many who hang up take 100 MB."""

    async def app(_scope: Any, receive: Any, _: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    protocol = protocol_before(app)
    gone = weakref.ref(protocol)
    with no_collections():
        protocol.connection_made(Discarding())
        protocol.data_received(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\nhalf")
        running = list(protocol.tasks)
        protocol.connection_lost(None)
        del protocol
        await asyncio.gather(*running)
        running.clear()
        await asyncio.sleep(0)  # the task's own callbacks
        assert gone() is None


@pytest.mark.parametrize("lost", [None, ConnectionResetError()])
async def test_an_idle_connection_that_is_lost_is_freed_at_once(lost: Exception | None) -> None:
    """Not when its time to be idle is over, by a timer that nobody cancelled."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    protocol = protocol_before(app)
    gone = weakref.ref(protocol)
    with no_collections():
        protocol.connection_made(Discarding())
        protocol.data_received(HEALTH)
        await asyncio.gather(*protocol.tasks)
        protocol.connection_lost(lost)
        del protocol
        await asyncio.sleep(0)  # the task's own callbacks
        assert gone() is None


async def test_a_request_in_the_bytes_that_end_an_early_answered_body_has_no_idle_timer() -> None:
    """Else the connection is closed under it, once the time for idle ones is over."""
    release = asyncio.Event()

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})
        else:
            await release.wait()

    protocol = protocol_before(app)
    protocol.connection_made(Discarding())
    protocol.data_received(POST + b"Content-Length: 3\r\n\r\n")
    await asyncio.gather(*protocol.tasks)
    protocol.data_received(b"abc" + HEALTH)
    assert protocol.timeout_keep_alive_task is None
    protocol.connection_lost(None)
    release.set()
    await asyncio.gather(*protocol.tasks)


# What it stands on.


async def test_every_internal_of_uvicorn_that_is_used_is_there() -> None:
    used = re.findall(r"^    (protocol|cycle): (.+)$", guarded_protocol.__doc__ or "", re.MULTILINE)
    assert len(used) == 7

    async def app(_scope: Any, _receive: Any, _send: Any) -> None: ...

    protocol = HttpToolsProtocol(Config(app, ws="none", log_level="critical"), ServerState(), {})
    protocol.connection_made(Discarding())
    protocol.data_received(HEALTH)
    await asyncio.gather(*protocol.tasks)
    for owner, names in used:
        for name in names.split():
            assert hasattr(protocol if owner == "protocol" else protocol.cycle, name), name
    protocol.connection_lost(None)


def test_a_request_has_arrived_when_its_head_is_read_though_others_keep_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The budget of 50 ms is over before the request's turn comes."""
    real = Edge.__call__

    async def busy(self: Edge, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < scope["state"]["arrived"] + 0.1:
            await asyncio.sleep(0)
        await real(self, scope, receive, send)

    monkeypatch.setattr(Edge, "__call__", busy)
    with serve([predictor_on(PixelEngine())], latency_target_ms=50) as live:
        assert live.request("POST", "/v1/models/cifar10/predict", b"").status == 504


# The answer.


class Writing(Discarding):
    """A transport that remembers each call."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


async def written_for(app: Any, sent: bytes) -> list[bytes]:
    protocol, transport = protocol_before(app), Writing()
    protocol.connection_made(transport)
    protocol.data_received(sent)
    while protocol.tasks:
        await asyncio.gather(*protocol.tasks)
    protocol.connection_lost(None)
    return transport.written


async def answering_in_pieces(_scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"HTTP/1", "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def test_the_head_of_an_answer_goes_out_with_the_first_of_its_body() -> None:
    written = await written_for(answering_in_pieces, HEALTH + HEALTH)
    heads = [(piece.startswith(b"HTTP/1.1 200"), piece.endswith(b"\r\n\r\nHTTP/1")) for piece in written]
    assert heads == [(True, True), (False, False)] * 2


async def test_an_answer_without_a_body_goes_out_when_it_is_complete() -> None:
    (head,) = [piece for piece in await written_for(answering_in_pieces, b"HEAD" + HEALTH[3:]) if piece]
    assert head.startswith(b"HTTP/1.1 200")
    assert head.endswith(b"\r\n\r\n")


async def test_a_client_is_told_at_once_to_go_on_with_its_body() -> None:
    expecting = b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab"
    first, *_ = await written_for(answering_in_pieces, expecting)
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_what_an_application_had_begun_to_answer_goes_out_before_the_close() -> None:
    async def failing(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        raise ValueError

    (head,) = await written_for(failing, HEALTH)
    assert head.startswith(b"HTTP/1.1 200")
