"""Whole HTTP/1.1 requests as bytes, made once before the load begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from loadtest.answers import Check, Judge, judge
from loadtest.api_key import key_headers
from loadtest.bodies import Body


@dataclass(frozen=True, slots=True)
class Message:
    """One request, how its answer is judged, and what kind of caller sends it.

    leave_after_seconds: hang up then, if there is no answer yet.
    upload_seconds: how long the body takes to leave, in small pieces.
    """

    kind: str
    data: bytes = field(repr=False)
    judge: Judge = field(repr=False)
    leave_after_seconds: float = math.inf
    upload_seconds: float = 0.0


def post(
    kind: str,
    host: str,
    path: str,
    body: Body,
    check: Check,
    *,
    headers: Mapping[str, str] | None = None,
    leave_after_seconds: float = math.inf,
    upload_seconds: float = 0.0,
) -> Message:
    """A POST of ``body`` whose 200 must pass ``check``."""
    return Message(
        kind,
        encoded(host, path, body, headers or {}),
        partial(judge, check),
        leave_after_seconds,
        upload_seconds,
    )


def encoded(host: str, path: str, body: Body, headers: Mapping[str, str]) -> bytes:
    """The bytes of a POST on a connection that stays open; raises BadOptions where the key is none."""
    lines = {
        "Host": host,
        "Content-Type": body.content_type,
        "Content-Length": str(len(body.data)),
        **key_headers(),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body.data
