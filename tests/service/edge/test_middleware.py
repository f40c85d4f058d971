"""The outermost layer, without a socket."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Scope

from service.app import create_app
from service.settings import Settings
from service.wiring import Service
from tests.service.fakes import PixelEngine, predictor_on


async def test_a_request_is_timed_from_the_moment_its_head_was_read() -> None:
    service = Service(Settings(), [predictor_on(PixelEngine())])
    arrived = asyncio.get_running_loop().time() - 100
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": "/healthz",
        "query_string": b"",
        "headers": [],
        "state": {"arrived": arrived},
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    await create_app(service)(scope, receive, send)
    assert sent[0]["status"] == 200
    seconds = service.metrics.registry.get_sample_value(
        "rotulo_http_request_seconds_sum", {"route": "/healthz"}
    )
    assert seconds is not None
    assert 100 <= seconds < 200
    await service.close()
