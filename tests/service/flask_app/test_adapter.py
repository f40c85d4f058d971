"""The adapter carries any Flask application: concurrency, async views, closing, limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import flask
import pytest
from starlette.types import Message, Receive, Scope

from service.edge.request_body import Intake
from service.errors import BodyTooLarge, MalformedRequest
from service.flask_app.adapter import ConcurrentWsgiToAsgi, FlaskOnTheLoop

CALLERS = 256


def scope(path: str = "/", method: str = "GET", headers: list[tuple[bytes, bytes]] | None = None) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "http_version": "1.1",
        "headers": headers or [],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1234),
    }


async def call(
    app: flask.Flask, request: Scope, body: bytes = b"", max_body_bytes: int = 1024
) -> list[Message]:
    """What the adapter sends for one request."""
    adapter = ConcurrentWsgiToAsgi(app, Intake(max_body_bytes, 10 * max_body_bytes, 60).body)
    return await call_adapter(adapter, request, body)


async def call_adapter(adapter: ConcurrentWsgiToAsgi, request: Scope, body: bytes = b"") -> list[Message]:
    sent: list[Message] = []
    arriving = [{"type": "http.request", "body": body}]

    async def receive() -> Message:
        return arriving.pop() if arriving else await asyncio.Future()  # the client stays

    async def send(message: Message) -> None:
        sent.append(message)

    await adapter(request, receive, send)
    return sent


def body_of(messages: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages[1:])


@pytest.fixture
def app() -> flask.Flask:
    return FlaskOnTheLoop("test", static_folder=None)


async def test_requests_are_inside_at_once(app: flask.Flask) -> None:
    everybody_is_here = asyncio.Barrier(CALLERS)

    @app.get("/")
    async def view() -> str:
        async with asyncio.timeout(30):
            await everybody_is_here.wait()
        return "here"

    adapter = ConcurrentWsgiToAsgi(app, Intake(1024, 1024, 60).body)
    answers = await asyncio.gather(*(call_adapter(adapter, scope()) for _ in range(CALLERS)))
    assert [answer[0]["status"] for answer in answers] == [200] * CALLERS


async def test_an_async_view_runs_on_the_loop_of_the_server(app: flask.Flask) -> None:
    loops = []

    @app.get("/")
    async def view() -> str:
        loops.append(asyncio.get_running_loop())
        return ""

    await call(app, scope())
    assert loops == [asyncio.get_running_loop()]


async def test_each_view_sees_its_own_request_after_waiting(app: flask.Flask) -> None:
    everybody_is_here = asyncio.Barrier(CALLERS)

    @app.get("/<name>")
    async def view(name: str) -> str:
        async with asyncio.timeout(30):
            await everybody_is_here.wait()
        return f"{name} {flask.request.path}"

    adapter = ConcurrentWsgiToAsgi(app, Intake(1024, 1024, 60).body)
    answers = await asyncio.gather(*(call_adapter(adapter, scope(f"/{n}")) for n in range(CALLERS)))
    assert [body_of(answer) for answer in answers] == [f"{n} /{n}".encode() for n in range(CALLERS)]


async def test_a_cancelled_request_is_cancelled_where_its_view_waits(app: flask.Flask) -> None:
    inside, seen = asyncio.Event(), []

    @app.get("/")
    async def view() -> str:
        inside.set()
        try:
            await asyncio.Future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return ""

    asked = asyncio.create_task(call(app, scope()))
    await inside.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert seen == ["cancelled"]


async def test_the_response_is_closed(app: flask.Flask) -> None:
    closed = []

    @app.get("/")
    def view() -> flask.Response:
        response = flask.Response("text")
        response.call_on_close(lambda: closed.append("closed"))
        return response

    await call(app, scope())
    assert closed == ["closed"]


async def test_the_response_is_closed_when_its_stream_fails(app: flask.Flask) -> None:
    closed = []

    def chunks() -> Iterator[str]:
        yield "one"
        raise OSError("the disk is gone")

    @app.get("/")
    def view() -> flask.Response:
        response = flask.Response(chunks())
        response.call_on_close(lambda: closed.append("closed"))
        return response

    with pytest.raises(OSError, match="the disk is gone"):
        await call(app, scope())
    assert closed == ["closed"]


async def test_a_response_with_a_length_is_sent_in_one_piece(app: flask.Flask) -> None:
    app.add_url_rule("/", view_func=lambda: "text")
    start, body = await call(app, scope())
    assert dict(start["headers"])[b"content-length"] == b"4"
    assert body["body"] == b"text"


async def test_a_response_without_a_length_is_sent_in_one_piece_too(app: flask.Flask) -> None:
    app.add_url_rule("/", view_func=lambda: flask.Response(iter(["one", "two"]), 418))
    start, body = await call(app, scope())
    assert start["status"] == 418
    assert body["body"] == b"onetwo"


async def test_head_has_headers_and_no_body(app: flask.Flask) -> None:
    app.add_url_rule("/", view_func=lambda: "text")
    messages = await call(app, scope(method="HEAD"))
    assert dict(messages[0]["headers"])[b"content-length"] == b"4"
    assert body_of(messages) == b""


async def test_a_chunked_body_reaches_the_view_whole(app: flask.Flask) -> None:
    app.add_url_rule("/", view_func=lambda: flask.request.get_data(), methods=["POST"])
    adapter = ConcurrentWsgiToAsgi(app, Intake(1024, 1024, 60).body)
    chunks = iter([b"one ", b"two ", b"three"])
    sent: list[Message] = []

    async def receive() -> Message:
        chunk = next(chunks)
        return {"type": "http.request", "body": chunk, "more_body": chunk != b"three"}

    async def send(message: Message) -> None:
        sent.append(message)

    await adapter(scope(method="POST", headers=[(b"transfer-encoding", b"chunked")]), receive, send)
    assert body_of(sent) == b"one two three"


async def test_header_values_in_latin_1_are_sent_as_they_are(app: flask.Flask) -> None:
    app.add_url_rule("/", view_func=lambda: flask.Response("x", headers={"X-Name": "R\xf3tulo"}))
    messages = await call(app, scope())
    assert dict(messages[0]["headers"])[b"x-name"] == "R\xf3tulo".encode("latin-1")


async def test_a_body_over_the_limit_never_reaches_the_application(app: flask.Flask) -> None:
    called = []

    @app.post("/")
    def view() -> str:
        called.append("called")
        return ""

    with pytest.raises(BodyTooLarge):
        await call(app, scope(method="POST"), bytes(1025))
    assert called == []


async def test_what_the_body_reader_raises_passes_through(app: flask.Flask) -> None:
    @asynccontextmanager
    async def read_body(_: Scope, __: Receive) -> AsyncIterator[bytes]:
        raise BodyTooLarge("no")
        yield b""

    with pytest.raises(BodyTooLarge):
        await call_adapter(ConcurrentWsgiToAsgi(app, read_body), scope())


async def test_too_many_duplicate_headers_are_a_malformed_request(app: flask.Flask) -> None:
    with pytest.raises(MalformedRequest):
        await call(app, scope(headers=[(b"x-same", b"1")] * 200))


async def test_an_application_that_is_not_flask_is_carried_too() -> None:
    def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("201 Created", [("Content-Length", "2")])
        return [environ["REQUEST_METHOD"].encode()[:2], b"not announced"]

    adapter = ConcurrentWsgiToAsgi(wsgi, Intake(1024, 1024, 60).body)
    start, body = await call_adapter(adapter, scope())
    assert start["status"] == 201
    assert body["body"] == b"GE"


async def test_a_scope_that_is_not_http_is_refused(app: flask.Flask) -> None:
    with pytest.raises(ValueError, match="HTTP only"):
        await call(app, {"type": "lifespan"})
