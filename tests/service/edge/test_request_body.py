"""What the intake holds, and when it lets go."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope

from service.edge import request_body
from service.edge.request_body import BODY_IS_HERE, Intake
from service.errors import (
    BodyTooLarge,
    ClientLeft,
    MalformedRequest,
    Overloaded,
    SlowClient,
    UnsupportedEncoding,
)


def request(*headers: tuple[bytes, bytes]) -> Scope:
    return {"headers": list(headers)}


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", str(size).encode()


def arriving(*chunks: bytes) -> Receive:
    left = list(chunks)

    async def receive() -> Message:
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive


async def test_a_body_is_held_until_its_request_is_answered() -> None:
    intake = Intake(100, 1000, 60)
    async with intake.body(request(length(6)), arriving(b"abc", b"def")) as body:
        assert body == b"abcdef"
        assert intake.bytes_held == 6
    assert intake.bytes_held == 0


async def test_a_body_in_chunks_is_counted_as_it_arrives() -> None:
    intake = Intake(100, 1000, 60)
    async with intake.body(request(), arriving(b"abc", b"def")):
        assert intake.bytes_held == 6
    assert intake.bytes_held == 0


async def test_all_bodies_together_are_bounded() -> None:
    intake = Intake(100, 150, 60)
    async with intake.body(request(length(100)), arriving(bytes(100))):
        with pytest.raises(Overloaded):
            async with intake.body(request(length(51)), arriving(bytes(51))):
                pass
        async with intake.body(request(length(50)), arriving(bytes(50))):
            assert intake.bytes_held == 150
    assert intake.bytes_held == 0


@pytest.mark.parametrize(
    ("scope", "receive", "error"),
    [
        (request(length(101)), arriving(), BodyTooLarge),
        (request(), arriving(bytes(60), bytes(60)), BodyTooLarge),
        (request((b"content-length", b"9" * 5000)), arriving(), BodyTooLarge),
        (request((b"content-length", b"-1")), arriving(b""), MalformedRequest),
        (request((b"content-length", b"1e2")), arriving(b""), MalformedRequest),
        (request((b"content-encoding", b"gzip")), arriving(b""), UnsupportedEncoding),
        (request(length(10)), arriving(), ClientLeft),
    ],
)
async def test_a_refused_body_leaves_nothing_held(
    scope: Scope, receive: Receive, error: type[Exception]
) -> None:
    intake = Intake(100, 1000, 60)
    with pytest.raises(error):
        async with intake.body(scope, receive):
            pass
    assert intake.bytes_held == 0


async def test_a_body_that_no_memory_is_left_to_copy_leaves_nothing_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_memory(_: bytearray) -> bytes:
        raise MemoryError

    monkeypatch.setattr(request_body, "bytes", no_memory, raising=False)
    intake = Intake(100, 1000, 60)
    with pytest.raises(MemoryError):
        async with intake.body(request(), arriving(b"image")):
            pass
    assert intake.bytes_held == 0


async def test_a_length_that_is_announced_and_never_sent_holds_nothing() -> None:
    intake = Intake(100, 100, 60)
    silent = asyncio.Event()

    async def receive() -> Message:
        silent.set()
        await asyncio.Future()
        raise AssertionError

    async def wait_for_a_body() -> None:
        async with intake.body(request(length(100)), receive):
            pass

    waiting = asyncio.ensure_future(wait_for_a_body())
    await silent.wait()
    assert intake.bytes_held == 0
    async with intake.body(request(length(100)), arriving(bytes(100))):
        assert intake.bytes_held == 100
    waiting.cancel()


async def test_a_body_that_does_not_arrive_in_time_is_given_up() -> None:
    async def receive() -> Message:
        await asyncio.Future()
        raise AssertionError

    intake = Intake(100, 100, timeout_seconds=0)
    with pytest.raises(SlowClient):
        async with intake.body(request(), receive):
            pass


async def test_a_body_that_is_here_already_needs_no_clock() -> None:
    intake = Intake(100, 100, timeout_seconds=0)
    here = {**request(length(5)), "state": {BODY_IS_HERE: True}}
    async with intake.body(here, arriving(b"image")) as body:
        assert body == b"image"
