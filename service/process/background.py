"""Work off the event loop that must not keep the process alive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, from a daemon thread of its own.

    The threads of `asyncio.to_thread` are waited for when the process ends; this one is not.
    """
    loop = asyncio.get_running_loop()
    finished: asyncio.Future[Result] = loop.create_future()

    def settle(set_outcome: Callable[[], None]) -> None:
        if not finished.done():  # nobody waits any more
            set_outcome()

    def run() -> None:
        try:
            result = work()
        except Exception as error:
            failure = error
            outcome = lambda: finished.set_exception(failure)  # noqa: E731
        else:
            outcome = lambda: finished.set_result(result)  # noqa: E731
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, name="background", daemon=True).start()
    return await finished
