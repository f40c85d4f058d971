"""The outermost ASGI layer: request ids, keys and rates, closing while draining, and one line of metrics."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Draining, ServiceError
from service.problems import flask_error_response, problem_response
from service.wiring import Service

logger = logging.getLogger("rotulo")

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Endpoint(Protocol):
    """An ASGI application for one path. For the metrics: `route` is its template, `model` the name of the
    model behind it, if there is one."""

    route: str
    model: str | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Edge:
    """Wraps the whole application.

    Keys and rates are checked here, before any routing and from the path alone, so that no mount is
    without them. Every response carries `X-Request-Id`: the caller's own where it is short and plain, else
    a new one.
    """

    def __init__(
        self,
        app: ASGIApp,
        endpoints: Mapping[str, Endpoint],
        flask_endpoints: Mapping[str, Endpoint],
        service: Service,
    ) -> None:
        """`endpoints` are reached by exact path for POST, without the routing of `app`.

        So are `flask_endpoints`, and what is refused here on their paths is answered in Flask's shape.
        """
        self.app = app
        self._endpoints = {**endpoints, **flask_endpoints}
        self._flask_paths = flask_endpoints.keys()
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(scope["headers"])
        state = scope.setdefault("state", {})
        state["request_id"] = request_id.decode()
        state.setdefault("arrived", asyncio.get_running_loop().time())  # guarded_protocol.py knows better
        status: int | None = None

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._marked(message.get("headers", ()), request_id)
            await send(message)

        endpoint = self._endpoints.get(scope["path"]) if scope["method"] == "POST" else None
        state["route"] = endpoint.route if endpoint else None
        try:
            await (self._refusal(scope) or endpoint or self.app)(scope, receive, send_marked)
        except asyncio.CancelledError:
            if status is not None or not self._service.drain.begun:
                raise
            late = Draining("the service stopped before the answer was ready")
            await self._error(scope, late)(scope, receive, send_marked)
        except Exception:
            # Answered and logged already, with a 500 that says nothing; Starlette raises it once more.
            if status != 500:
                raise
        finally:
            seconds = time.monotonic() - state["arrived"]
            route, model = route_of(scope), self._model_of(scope, endpoint)
            self._service.metrics.answered(route, scope["method"], status or 500, seconds, model)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """The answer to whoever may not ask, or not now."""
        try:
            self._service.access.admit(scope, scope["state"]["arrived"])
        except ServiceError as error:
            return self._error(scope, error)
        return None

    def _error(self, scope: Scope, error: ServiceError) -> ASGIApp:
        respond = flask_error_response if scope["path"] in self._flask_paths else problem_response
        return respond(Request(scope), error)

    def _marked(self, headers: Iterable[tuple[bytes, bytes]], request_id: bytes) -> list[tuple[bytes, bytes]]:
        marked = [*headers, (b"x-request-id", request_id)]
        if self._service.drain.begun:
            marked.append((b"connection", b"close"))
        return marked

    def _model_of(self, scope: Scope, endpoint: Endpoint | None) -> str:
        """The model that was asked; "" where there is none, so that no made-up name grows the metrics."""
        name = endpoint.model if endpoint else scope.get("path_params", {}).get("model")
        return str(name) if name in self._service.models else ""


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The caller's own id, or a new one."""
    for name, value in headers:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return value
    # It begins with the time in milliseconds, as UUID 7 does (RFC 9562): an index of such grows at its end.
    # Callers may choose theirs, so it is no secret, and not worth a system call for the kernel's randomness.
    # No two workers draw the same: each is a program started anew, with a seed of its own.
    return b"%012x%020x" % (time.time_ns() // 1_000_000, random.getrandbits(80))


def route_of(scope: Scope) -> str:
    """The route's template, so that a scan of random paths does not grow the metrics."""
    if scope["state"]["route"]:
        return str(scope["state"]["route"])
    if "route" in scope:
        return str(scope["route"].path)
    return str(scope["path"]) if "endpoint" in scope else "unmatched"  # a Flask rule is its own path
