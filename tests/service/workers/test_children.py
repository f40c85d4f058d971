"""A worker that is watched: a real process, and a link that answers or does not."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from service.workers import children
from service.workers.assignment import Assignment
from service.workers.children import Child
from service.workers.link import Link, LinkClosed

ASSIGNMENT = Assignment(2, 2, [], 8000, None, {})


class FakeLink:
    """Raises these one after the other when it is asked, or answers where there is None."""

    def __init__(self, *outcomes: type[Exception] | None) -> None:
        self.outcomes = list(outcomes)

    async def ask(self, what: str, timeout_seconds: float) -> None:
        assert what == "alive"
        assert timeout_seconds == 30.0
        if (outcome := self.outcomes.pop(0)) is not None:
            raise outcome


async def nothing(*_: Any) -> None:
    """Asks nobody."""


@asynccontextmanager
async def watched(
    monkeypatch: pytest.MonkeyPatch, *outcomes: type[Exception] | None
) -> AsyncIterator[tuple[Child, asyncio.subprocess.Process]]:
    monkeypatch.setattr(children, "ALIVE_SECONDS", 0.0)
    child = Child(ASSIGNMENT, nothing)
    link = FakeLink(*outcomes)
    child.link = cast(Link, link)
    child._process = process = await asyncio.create_subprocess_exec("sleep", "600")
    try:
        await child.watch(60.0)
        assert not link.outcomes
        yield child, process
    finally:
        child.kill()
        await process.wait()


async def test_one_that_leaves_two_questions_in_a_row_unanswered_is_killed_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(monkeypatch, None, TimeoutError, TimeoutError) as (child, process):
        code = await process.wait()
        assert code == -signal.SIGKILL
        assert child.why_it_ended(code) == "stood still for 60 s and was killed"


async def test_one_that_is_late_once_lives_and_is_watched_until_its_link_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(monkeypatch, TimeoutError, None, TimeoutError, None, LinkClosed) as (_, process):
        assert process.returncode is None


async def test_one_that_hangs_in_its_start_is_killed_and_that_is_said() -> None:
    child = Child(ASSIGNMENT, nothing)
    child._process = process = await asyncio.create_subprocess_exec("sleep", "600")
    child.kill_unless_ready()
    code = await process.wait()
    assert code == -signal.SIGKILL
    assert child.why_it_ended(code) == "was not ready within 600 s and was killed"


async def test_one_that_is_ready_may_take_as_long_as_it_took() -> None:
    child = Child(ASSIGNMENT, nothing)
    child._process = process = await asyncio.create_subprocess_exec("sleep", "600")
    child.ready_at = 0.0
    child.kill_unless_ready()
    assert process.returncode is None
    child.kill()
    assert await process.wait() == -signal.SIGKILL
    assert child.why_it_ended(-signal.SIGKILL) == "ended by SIGKILL"


async def test_without_a_descriptor_left_it_fails_and_its_place_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socketpair", no_more)
    child = Child(ASSIGNMENT, nothing)
    assert await child.run() == 1
    monkeypatch.undo()
    assert "Too many open files" in child.why_it_ended(1)


async def test_without_a_thread_to_wait_for_it_one_that_has_begun_ends_and_its_place_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = asyncio.create_subprocess_exec

    async def start_halfway(*command: str, **options: Any) -> None:
        begun.append(await start(*command, **options))
        raise RuntimeError("can't start new thread")

    begun: list[asyncio.subprocess.Process] = []
    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_halfway)
    child = Child(ASSIGNMENT, nothing)
    assert await child.run() == 1
    assert child.why_it_ended(1) == "cannot start: can't start new thread"
    assert await begun[0].wait() == 1


@pytest.mark.parametrize(
    ("number", "words"), [(signal.SIGSEGV, "ended by SIGSEGV"), (35, "ended by signal 35")]
)
def test_any_signal_that_ended_one_can_be_said(number: int, words: str) -> None:
    child = Child(ASSIGNMENT, nothing)
    child.ready_at = 0.0
    assert child.why_it_ended(-number) == words
