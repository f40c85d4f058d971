"""Callers who hang up: their request is cancelled, so the batcher takes it out of the line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.asgi import Receive
from service.errors import ClientLeft


@asynccontextmanager
async def cancelled_when_client_leaves(receive: Receive) -> AsyncIterator[None]:
    """Cancel the work inside when the client disconnects; raises ClientLeft then.

    `receive` must have given the whole body: the only message left is `http.disconnect`.
    """
    worker = asyncio.current_task()
    if worker is None:
        raise RuntimeError("must run inside a task")
    left = inside = False

    def leave(watched: asyncio.Future[None]) -> None:
        nonlocal left
        if inside and not watched.cancelled():
            left = True
            worker.cancel()

    watcher = asyncio.ensure_future(_disconnected(receive))
    watcher.add_done_callback(leave)
    inside = True
    try:
        yield
    except asyncio.CancelledError:
        if not left:
            raise  # somebody else cancelled us
        worker.uncancel()
        raise ClientLeft("the client left before the answer") from None
    finally:
        inside = False
        watcher.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
