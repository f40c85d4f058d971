"""uvicorn's HTTP protocol, with the clocks and bounds that it lacks.

uvicorn waits for ever for a request that does not come, takes headers of any size, and holds an answer as
long as its client does not read it. Here

- a request's head has a time from the connection, or from its first byte on a connection in use: 408;
- so has the rest of a body that was answered early, because nobody reads it: closed; where the answer itself
  ends the connection, only a moment later, or it would be lost;
- bytes that are neither body nor a finished head (headers, trailers, chunk extensions) are bounded: 431;
- a head that could be read in two ways is refused: 400, see `request_head.py`;
- a request that asks for an upgrade is read as any other, see `ignored_upgrade.py`;
- a client that does not take its answer is cut off.

A body that is still coming is clocked by whoever reads it (`request_body.py`), an idle connection by
uvicorn's keep-alive.

One timer per connection, which looks at deadlines: a request moves none of them unless it comes in pieces.
No deadline can be set nearer than the timer's longest sleep, so that none is seen late.

Of uvicorn's internals it needs these attributes (a test reads this list), that the scope keeps the list of
headers which the parser filled, and that the first of an answer that is written is its head alone.

    protocol: _unset_keepalive_if_required cycle flow headers loop
    protocol: on_body on_headers_complete on_message_begin
    protocol: on_message_complete on_response_complete parser pause_writing pipeline resume_writing scope
    protocol: server_state timeout_keep_alive timeout_keep_alive_handler
    protocol: timeout_keep_alive_task transport url
    cycle: body disconnected keep_alive message_event more_body
    cycle: response_complete response_started scope transport
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.edge.disconnect import LEFT
from service.edge.ignored_upgrade import framing_of, parser_of_body
from service.edge.middleware import request_id_of
from service.edge.request_body import BODY_IS_HERE
from service.edge.request_head import fault_in_head, too_large
from service.errors import MalformedRequest, ServiceError, SlowClient, problem_body, problem_of
from service.problems import CONTENT_TYPE

_CONTINUE = b"HTTP/1.1 100 "
# Time to read a refusal in. To close at once, with bytes of the client unread, would reset it away.
LINGER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`refused` is told the kind of the problem, whenever a connection ends here."""

    header_timeout_seconds: float
    max_header_bytes: int
    send_timeout_seconds: float
    refused: Callable[[str], None] = lambda _: None


def guarded(connection_limits: ConnectionLimits) -> type[GuardedProtocol]:
    """The class for uvicorn's `http` option, which takes no arguments for it."""

    class Configured(GuardedProtocol):
        limits = connection_limits

    return Configured


class _AnswerTransport:
    """Where uvicorn writes an answer, and what it closes after one that ends the connection.

    uvicorn writes the head of an answer by itself. Here it waits for the first of the body, however long
    that takes: one system call, and one packet that wakes the client, in place of two.
    """

    def __init__(self, protocol: GuardedProtocol) -> None:
        self._write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self._close = protocol.close_after_answer
        self._head = b""
        self._head_is_due = True

    def write(self, data: bytes) -> None:
        if not self._head_is_due:
            self._write(self._head + data)
            self._head = b""
        elif data.startswith(_CONTINUE):
            self._write(data)
        else:
            self._head, self._head_is_due = data, False

    def end(self) -> None:
        """The answer is complete, or will not be: what is still held goes out, and another may begin."""
        if self._head and not self.is_closing():  # it has no body (HEAD), or failed before it
            self._write(self._head)
        self._head, self._head_is_due = b"", True

    def close(self) -> None:
        self.end()
        self._close()


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Deadlines are on the loop's clock; None where nothing is awaited."""

    limits: ClassVar[ConnectionLimits]

    _head_by: float | None = None  # when the client must have sent what it owes
    _gone_by: float | None = None  # when the connection is cut, whatever is unsent
    _timer: asyncio.TimerHandle | None = None
    _undelivered = 0  # bytes fed since the parser last finished a head or a request, or gave some body
    _in_head = False
    _in_body = False
    _refused = False  # nothing more is read
    _hung_up = False  # nothing more is written
    _fault: ServiceError | None = None
    _framing: bytes | None = None  # of a body behind a head that asks for an upgrade

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._unanswered: deque[RequestResponseCycle] = deque()
        self._answer_transport = _AnswerTransport(self)
        self._head_by = self.loop.time() + self.limits.header_timeout_seconds
        self._look_again(self._longest_sleep)

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle in self._unanswered:  # uvicorn tells the last one, which may not be the one that runs
            cycle.disconnected = True
            cycle.message_event.set()
            cycle.scope["state"][LEFT].set_result(None)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # which uvicorn does only where the client closed in order
        if self._timer is not None:
            self._timer.cancel()
        # Each holds on to this, and so to its half of a body, until a collection of garbage finds them.
        del self._answer_transport
        self._unanswered.clear()
        self.pipeline.clear()
        self._forget_request()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._undelivered += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if self._undelivered > self.limits.max_header_bytes:
            self._refuse(too_large(self.limits.max_header_bytes))
        if self._answering():
            self._head_by = None
        elif self._head_by is None and self.timeout_keep_alive_task is None:
            self._head_by = self.loop.time() + self.limits.header_timeout_seconds

    def _feed(self, data: bytes) -> None:
        try:
            while data:
                data = self._fed(data)
        except httptools.HttpParserError:
            self._refuse(self._fault or MalformedRequest("this is not a request in HTTP/1.1"))

    def _fed(self, data: bytes) -> bytes:
        """What is left: nothing, or what follows a head that asks for an upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._framing is not None:
                self.parser, self._framing = parser_of_body(self, self._framing), None
            return data[upgrade.args[0] :]
        return b""

    # Called by the parser, inside data_received.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()  # the request before may have ended in the same bytes
        self._in_head = True

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        self._fault = fault_in_head(version, self.url, self.headers, self.limits.max_header_bytes)
        if self._fault is not None:
            raise self._fault  # the parser stops, and raises
        super().on_headers_complete()
        self._framing = framing_of(self.headers) if self.parser.should_upgrade() else None
        # The loop's clock stands still in a round: what waits in it for others' requests counts as well.
        cycle = self.cycle
        cycle.scope["state"]["arrived"] = self.loop.time()
        cycle.scope["state"][LEFT] = self.loop.create_future()
        cycle.transport = cast(asyncio.Transport, self._answer_transport)
        self._unanswered.append(cycle)
        self.headers = []  # for the trailers, which the parser reports alike; the scope keeps its own list
        self._undelivered = 0
        self._in_head, self._in_body = False, True

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._undelivered = 0

    def on_message_complete(self) -> None:
        if self._framing is not None:
            return  # so the parser believes, which takes the body for another protocol's
        super().on_message_complete()
        self.cycle.scope["state"][BODY_IS_HERE] = True
        self._undelivered = 0
        self._in_body = False
        if not self.pipeline:
            # Who has the whole body asks for nothing more, and a paused transport sees no client leave.
            self.flow.resume_reading()
        if not self._answering():  # answered before its body came; idle only now
            self._forget_request()
            self._head_by = None
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    # Called by uvicorn, and by the transport.

    def on_response_complete(self) -> None:
        self._unanswered.popleft().body.clear()  # what nobody asked for, where the answer came first
        self._answer_transport.end()
        super().on_response_complete()
        if self._in_head and not self._answering():  # it came behind the request that is now answered
            self._unset_keepalive_if_required()
            self._head_by = self.loop.time() + self.limits.header_timeout_seconds
        elif not self._in_body and not self._answering():
            self._forget_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        if not self._hung_up:
            self._gone_by = self.loop.time() + self.limits.send_timeout_seconds

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._hung_up:
            self._gone_by = None

    # The clock.

    @property
    def _longest_sleep(self) -> float:
        return min(self.limits.header_timeout_seconds, self.limits.send_timeout_seconds)

    def _look_again(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        if self._gone_by is None and self.transport.is_closing():
            self._gone_by = now + self.limits.send_timeout_seconds
        if self._gone_by is not None and now >= self._gone_by:
            self._cut_off()
            return
        if self._head_by is not None and now >= self._head_by:
            self._head_by = None
            self._refuse(SlowClient(f"no request within {self.limits.header_timeout_seconds:g} s"))
        nearest = [moment - now for moment in (self._gone_by, self._head_by) if moment is not None]
        self._look_again(min([self._longest_sleep, *nearest]))

    # The ends.

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _forget_request(self) -> None:
        """uvicorn keeps the last one until the next comes: half of an idle connection's memory."""
        self.cycle = self.scope = None  # type: ignore[assignment]
        self.headers = []

    def _refuse(self, error: ServiceError) -> None:
        """Answer with the error where it cannot be taken for another request's answer, and close."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._head_by = None
        self._unset_keepalive_if_required()
        self.limits.refused(problem_of(error).kind)
        if self._answering() and not self._may_take_over():
            self.cycle.keep_alive = False  # those before it are answered, then the connection closes
        elif self._in_body and not self._answering():
            self.transport.close()  # its answer is out
        else:
            self.transport.write(self._response(error))
            self._hang_up()

    def close_after_answer(self) -> None:
        """At once, but where the body is still coming: then what comes is read and forgotten for a moment."""
        if self._in_body and not self.pipeline:
            self._refused = True
            self._hang_up()
        else:
            self.transport.close()

    def _may_take_over(self) -> bool:
        """Whether the request being answered is the faulty one, is alone, and has no answer yet."""
        cycle = self.cycle
        if self.pipeline or cycle.response_started or not cycle.more_body:
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        return True

    def _hang_up(self) -> None:
        """Say no more; what the client still sends is read and forgotten until it closes, for a moment."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()  # over TLS it says so, and reads on until the client agrees
        self._hung_up = True
        linger = min(LINGER_SECONDS, self.limits.send_timeout_seconds)
        self._gone_by = self.loop.time() + linger
        self._look_again(linger)

    def _cut_off(self) -> None:
        if not self._hung_up:
            self.limits.refused("slow-reader")
        self.transport.abort()

    def _response(self, error: ServiceError) -> bytes:
        request_id = request_id_of(self.scope["headers"] if self.scope else ())
        body = json.dumps(problem_body(error, request_id.decode())).encode()
        status = HTTPStatus(problem_of(error).status)
        headers = [
            *self.server_state.default_headers,
            (b"content-type", CONTENT_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id),
            (b"connection", b"close"),
        ]
        lines = [b"HTTP/1.1 %d %s" % (status, status.phrase.encode())]
        lines += [name + b": " + value for name, value in headers]
        return b"\r\n".join([*lines, b"", body])
