"""The body of a request that asks for an upgrade.

A server may ignore the question (RFC 9110, 7.8), and must then read the request as any other. Java's own HTTP
client asks for HTTP/2 so with its first request on each connection, a POST included. httptools stops behind
such a head, and takes what follows for the other protocol's.
"""

from __future__ import annotations

from collections.abc import Sequence

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def framing_of(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The field by which a body is announced, if one is; names are in lower case."""
    for name, value in headers:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 \t")):
            return name + b": " + value
    return None


def parser_of_body(protocol: HttpToolsProtocol, framing: bytes) -> httptools.HttpRequestParser:
    """A parser that has read a head with a body, of which `protocol` hears all but that head."""
    parser = httptools.HttpRequestParser(_BehindHead(protocol))
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
    parser.feed_data(b"POST / HTTP/1.1\r\nhost: a\r\n" + framing + b"\r\n\r\n")
    return parser


class _BehindHead:
    """The parser's callbacks. What comes behind the body are whole requests again."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._protocol = protocol
        self._head_is_over = False
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if self._head_is_over:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._head_is_over:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_is_over:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._head_is_over:
            self._protocol.on_headers_complete()
        self._head_is_over = True
