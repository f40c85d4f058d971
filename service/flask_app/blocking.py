"""Code that blocks, on the event loop and without a thread: it waits in a greenlet while the loop goes on.

A WSGI call is synchronous and most of its life is waiting for a batch. In a pool of threads it costs two
hops and a fight for the interpreter lock, which took more than twice Flask's own time. SQLAlchemy's asyncio
extension runs its synchronous core in the same way.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")


class _Blocking(greenlet):
    """A call that may `wait`; its switches to the parent hand over what it waits for."""


async def run_blocking(call: Callable[..., T], *arguments: Any) -> T:
    """Run `call` here, on the loop's thread, awaiting for it whatever it passes to `wait`.

    It shares the task's context variables. Cancelling the task raises CancelledError where it waits. What
    it does between waits holds the loop: it must be short.
    """
    current = getcurrent()
    inside = _Blocking(call, current)
    inside.gr_context = current.gr_context
    outcome: Any = inside.switch(*arguments)
    while not inside.dead:
        try:
            value = await outcome
        except BaseException:
            outcome = inside.throw(*sys.exc_info())
        else:
            outcome = inside.switch(value)
    result: T = outcome
    return result


def wait(awaitable: Awaitable[T]) -> T:
    """Wait, inside `run_blocking`, until `awaitable` is done; returns its result or raises its error."""
    current = getcurrent()
    if not isinstance(current, _Blocking) or current.parent is None:
        raise RuntimeError("wait() works inside run_blocking() alone")
    result: T = current.parent.switch(awaitable)
    return result
