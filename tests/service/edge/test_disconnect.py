"""A caller who hangs up: our own protocol tells of it, another server is asked."""

import asyncio

import pytest
from starlette.types import Message, Scope

from service.edge.disconnect import LEFT, cancelled_when_client_leaves
from service.errors import ClientLeft


class Client:
    """Hangs up when told. `asked`: how often somebody listened for it through `receive`."""

    def __init__(self) -> None:
        self.asked = 0
        self._left = asyncio.Event()

    async def receive(self) -> Message:
        self.asked += 1
        await self._left.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        self._left.set()


def told(left: asyncio.Future[None]) -> Scope:
    return {"state": {LEFT: left}}


def new_future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


async def test_work_ends_when_the_protocol_tells_that_the_client_left() -> None:
    left, client = new_future(), Client()
    asyncio.get_running_loop().call_soon(left.set_result, None)
    with pytest.raises(ClientLeft), cancelled_when_client_leaves(told(left), client.receive):
        await asyncio.Future()
    assert client.asked == 0


async def test_work_ends_at_once_when_the_client_had_left_before() -> None:
    left = new_future()
    left.set_result(None)
    with pytest.raises(ClientLeft), cancelled_when_client_leaves(told(left), Client().receive):
        await asyncio.Future()


async def test_under_a_server_that_does_not_tell_it_is_asked() -> None:
    client = Client()
    asyncio.get_running_loop().call_soon(client.leave)
    with pytest.raises(ClientLeft), cancelled_when_client_leaves({"state": {}}, client.receive):
        await asyncio.Future()


async def test_nobody_listens_any_more_once_the_work_is_done() -> None:
    client = Client()
    before = asyncio.all_tasks()
    with cancelled_when_client_leaves({"state": {}}, client.receive):
        await asyncio.sleep(0)
    listeners = asyncio.all_tasks() - before
    assert len(listeners) == 1
    await asyncio.wait(listeners)
    assert all(listener.cancelled() for listener in listeners)


async def test_who_leaves_after_the_work_is_done_cancels_nothing() -> None:
    left = new_future()
    with cancelled_when_client_leaves(told(left), Client().receive):
        pass
    left.set_result(None)
    await asyncio.sleep(0)  # raises CancelledError where it was


async def test_who_leaves_in_the_moment_the_work_is_done_cancels_nothing() -> None:
    left = new_future()
    with cancelled_when_client_leaves(told(left), Client().receive):
        left.set_result(None)
    await asyncio.sleep(0)


async def test_a_cancellation_by_somebody_else_stays_one() -> None:
    async def work() -> None:
        with cancelled_when_client_leaves(told(new_future()), Client().receive):
            await asyncio.Future()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
