"""Callers who hang up: their request is cancelled, so the batcher takes it out of the line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive, Scope

from service.errors import ClientLeft

# In a scope's state: a future that is done once the client has left. `guarded_protocol.py` puts it there.
LEFT = "client_left"


@contextmanager
def cancelled_when_client_leaves(scope: Scope, receive: Receive) -> Iterator[None]:
    """Cancel the work inside when the client disconnects; raises ClientLeft then.

    `receive` must have given the whole body: the only message left is `http.disconnect`. It is asked only
    under a server that is not ours: a task that waits for it costs a tenth of a small image's request.
    """
    worker = asyncio.current_task()
    if worker is None:
        raise RuntimeError("must run inside a task")
    told: asyncio.Future[None] | None = scope["state"].get(LEFT)
    departure = told if told is not None else asyncio.ensure_future(_disconnected(receive))
    left = inside = False

    def leave(departed: asyncio.Future[None]) -> None:
        nonlocal left
        if inside and not departed.cancelled():
            left = True
            worker.cancel()

    departure.add_done_callback(leave)
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
        departure.remove_done_callback(leave)
        if departure is not told:
            departure.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
