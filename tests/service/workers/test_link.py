"""Questions and answers over a real pair of sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.workers.link import Answer, Link, LinkClosed, Refused


async def nothing(_: str, __: Any) -> None:
    """Asks nobody."""


@asynccontextmanager
async def linked(answer: Answer) -> AsyncIterator[tuple[Link, socket.socket]]:
    """A link that asks, and the socket of the one that gives `answer`."""
    ours, theirs = socket.socketpair()
    asking, answering = Link(ours, nothing), Link(theirs, answer)
    reading = [await asking.open(), await answering.open()]
    try:
        yield asking, theirs
    finally:
        for task in reading:
            task.cancel()
        asking.close()
        answering.close()


async def test_what_is_asked_is_answered_however_long_and_whichever_is_first() -> None:
    turns = [asyncio.Event(), asyncio.Event()]

    async def answer(what: str, value: Any) -> Any:
        await turns[value].wait()
        return what * 100_000

    async with linked(answer) as (link, _):
        first, second = (asyncio.create_task(link.ask(what, turn)) for turn, what in enumerate("ab"))
        turns[1].set()
        assert await second == "b" * 100_000
        turns[0].set()
        assert await first == "a" * 100_000


async def test_an_error_is_a_refusal_with_its_name_and_the_next_question_is_answered() -> None:
    async def answer(what: str, _: Any) -> str:
        if what == "bad":
            raise ValueError("not so")
        return what

    async with linked(answer) as (link, _):
        with pytest.raises(Refused, match="not so") as refused:
            await link.ask("bad")
        assert refused.value.kind == "ValueError"
        assert await link.ask("good") == "good"


async def test_whoever_waits_for_an_answer_is_told_when_the_other_side_is_gone() -> None:
    asked = asyncio.Event()

    async def answer(_: str, __: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with linked(answer) as (link, theirs):
        waiting = asyncio.create_task(link.ask("anything"))
        await asked.wait()
        theirs.shutdown(socket.SHUT_RDWR)
        with pytest.raises(LinkClosed):
            await waiting
        with pytest.raises(LinkClosed):
            await link.ask("more")


async def test_one_that_does_not_answer_in_time_is_waited_for_no_longer() -> None:
    async def answer(_: str, __: Any) -> None:
        await asyncio.Event().wait()

    async with linked(answer) as (link, _):
        with pytest.raises(TimeoutError):
            await link.ask("anything", timeout_seconds=0.001)


async def test_what_is_no_message_ends_the_link_as_though_the_other_side_were_gone() -> None:
    ours, theirs = socket.socketpair()
    link = Link(ours, nothing)
    until_gone = await link.open()
    waiting = asyncio.create_task(link.ask("anything"))
    await asyncio.sleep(0)  # it has asked
    theirs.sendall((3).to_bytes(4) + b"[1,")
    with pytest.raises(LinkClosed):
        await waiting
    await until_gone
    theirs.close()
