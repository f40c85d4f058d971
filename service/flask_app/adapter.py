"""A WSGI application under ASGI, with its requests truly concurrent.

asgiref's own `WsgiToAsgi` runs every request on one thread (asgiref #347), so that a batcher behind it
never sees two at once; with uvicorn's keep-alive it answers 500 to back-to-back requests (asgiref #491);
it receives a body of any size, and never calls `close()` on the response (PEP 3333). This adapter keeps
asgiref's translation of requests, and runs the application on the server's own loop (`blocking.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from io import BytesIO
from typing import Any

from asgiref.wsgi import WsgiToAsgiInstance
from flask import Flask
from starlette.types import Message, Receive, Scope, Send

from service.errors import MalformedRequest
from service.flask_app.blocking import run_blocking, wait

WsgiApplication = Callable[..., Iterable[bytes]]
BodyReader = Callable[[Scope, Receive], AbstractAsyncContextManager[bytes]]

# Where a view finds the request's ASGI scope, and its `receive` to learn that its client has left.
SCOPE_KEY = "asgi.scope"
RECEIVE_KEY = "asgi.receive"


class FlaskOnTheLoop(Flask):
    """A Flask application for the adapter: its async views are awaited by the server's own loop."""

    def async_to_sync(self, func: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        """Flask's hook for other ways than a thread and a loop for each call."""
        return lambda *args, **kwargs: wait(func(*args, **kwargs))


class ConcurrentWsgiToAsgi:
    """Carries a WSGI application whose views do not block, or block in `blocking.wait` alone.

    `read_body` is an async context manager that gives the whole request body; what it raises (a body over
    a limit, a client that left) passes through to the ASGI application outside, and so does what the
    application raises.

    A response is sent in one piece. PEP 3333's legacy `write` callable is not offered.
    """

    def __init__(self, wsgi_application: WsgiApplication, read_body: BodyReader) -> None:
        self._wsgi_application = wsgi_application
        self._read_body = read_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError("a WSGI application answers HTTP only; mount it inside an ASGI application")
        async with self._read_body(scope, receive) as body:
            exchange = _Exchange(self._wsgi_application, scope, receive)
            for message in await run_blocking(exchange.run, body):
                await send(message)


class _Exchange(WsgiToAsgiInstance):
    """One request and its response."""

    def __init__(self, wsgi_application: WsgiApplication, scope: Scope, receive: Receive) -> None:
        super().__init__(wsgi_application)
        self.scope = scope  # where asgiref's build_environ reads the headers
        self._receive = receive

    def run(self, body: bytes) -> list[Message]:
        """Call the application, inside `run_blocking`; returns what is to be sent.

        Raises MalformedRequest, and what the application raises.
        """
        try:
            environ = self.build_environ(self.scope, BytesIO(body))
        except ValueError as error:  # asgiref's limit on duplicate headers (CVE-2025-14550), or not ASCII
            raise MalformedRequest("malformed request headers") from error
        # A body that came in chunks has no length; Werkzeug then asks whether the input has an end.
        environ["wsgi.input_terminated"] = True
        environ[SCOPE_KEY] = self.scope
        environ[RECEIVE_KEY] = self._receive
        output = self.wsgi_application(environ, self.start_response)
        try:
            answer = b"".join(output)[: self.response_content_length]
        finally:
            close = getattr(output, "close", None)
            if close is not None:
                close()
        start: Message = self.response_start
        return [start, {"type": "http.response.body", "body": answer}]

    def start_response(
        self, status: str, response_headers: list[tuple[str, str]], exc_info: Any = None
    ) -> None:
        """As asgiref's, with header values in latin-1 as PEP 3333 has them, where asgiref takes ASCII."""
        super().start_response(status, [], exc_info)
        self.response_start["headers"] = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response_headers
        ]
        lengths = [value for name, value in response_headers if name.lower() == "content-length"]
        self.response_content_length = int(lengths[-1]) if lengths else None
