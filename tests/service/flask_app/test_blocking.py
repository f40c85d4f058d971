from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from service.flask_app.blocking import run_blocking, wait


async def later(value: str) -> str:
    await asyncio.sleep(0)
    return value


async def test_a_call_that_does_not_wait_returns_its_result() -> None:
    assert await run_blocking(lambda a, b: a + b, 1, 2) == 3


async def test_a_call_waits_as_often_as_it_likes() -> None:
    assert await run_blocking(lambda: [wait(later(word)) for word in ("one", "two")]) == ["one", "two"]


async def test_others_run_while_a_call_waits() -> None:
    met = asyncio.Barrier(2)
    async with asyncio.timeout(30):
        places = await asyncio.gather(*(run_blocking(lambda: wait(met.wait())) for _ in range(2)))
    assert sorted(places) == [0, 1]


async def test_what_is_awaited_raises_where_the_call_waits() -> None:
    async def fail() -> None:
        raise OSError("the disk is gone")

    def call() -> str:
        try:
            wait(fail())
        except OSError as error:
            return f"caught: {error}"
        return "not raised"

    assert await run_blocking(call) == "caught: the disk is gone"


async def test_what_the_call_raises_is_raised_to_the_caller() -> None:
    def call() -> None:
        wait(later("one"))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await run_blocking(call)


async def test_a_cancelled_call_ends_where_it_waits() -> None:
    waits, ended = asyncio.Event(), []

    def call() -> None:
        waits.set()
        try:
            wait(asyncio.Future())
        finally:
            ended.append("ended")

    task = asyncio.create_task(run_blocking(call))
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["ended"]


async def test_context_variables_are_those_of_the_task() -> None:
    name: ContextVar[str] = ContextVar("name")
    name.set("outside")

    async def read() -> str:
        return name.get()

    def call() -> tuple[str, str]:
        before = wait(read())
        name.set("inside")
        return before, wait(read())

    assert await run_blocking(call) == ("outside", "inside")


async def test_waiting_outside_is_refused() -> None:
    waiting = later("never")
    with pytest.raises(RuntimeError, match="inside run_blocking"):
        wait(waiting)
    waiting.close()
