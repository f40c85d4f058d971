"""A worker as the supervisor holds it: its process, its link, and what it was told."""

from __future__ import annotations

import asyncio
import math
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from service.workers.assignment import Assignment
from service.workers.link import Link, LinkClosed

ALIVE_SECONDS = 2.0  # from a sign of life to the next question
START_SECONDS = 600.0  # for one that starts in another's place: a large model on a slow disk takes minutes

Answer = Callable[["Child", str, Any], Awaitable[Any]]


class Child:
    """One process, from its start to its end.

    `ready_at`, on the loop's clock: when it began to listen, infinite until then. `loaded`: whether it could.
    `failure`: why it could not start, in its own words. `superseded`: it was ended for another that begins
    with other versions.
    """

    def __init__(self, assignment: Assignment, answer: Answer) -> None:
        """`answer` is called with this child and what it asks."""
        self.assignment = assignment
        self.number = assignment.number
        self.ready_at = math.inf
        self.failure: str | None = None
        self.loaded = False
        self.superseded = False
        self.link: Link
        self._answer = answer
        self._process: asyncio.subprocess.Process | None = None
        self._killed = False
        self._silent_seconds = 0.0
        self._late = False

    @property
    def ready(self) -> bool:
        return self.ready_at < math.inf

    async def run(self) -> int:
        """Start it, and wait for its end: its exit code, or a signal's number below 0."""
        try:
            process, until_gone = await self._started()
        except (OSError, RuntimeError) as error:  # no memory, say, no descriptor, or no thread left
            self.failure = str(error)
            return 1
        self._process = process
        try:
            if self._killed:
                process.kill()
            code = await process.wait()
            await until_gone  # its last words are read
        finally:
            self.kill()
            await process.wait()
        return code

    async def _started(self) -> tuple[asyncio.subprocess.Process, asyncio.Task[None]]:
        ours, theirs = socket.socketpair()
        # Not asyncio's own pipe: that stays open, and its reader alive, where the start fails halfway.
        told, telling = socket.socketpair()
        telling.setblocking(False)
        self.link = Link(ours, lambda what, value: self._answer(self, what, value))
        with theirs, told, telling:
            until_gone = await self.link.open()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service.workers.worker", str(theirs.fileno())),
                stdin=told.fileno(),
                pass_fds=(theirs.fileno(),),
                process_group=0,  # Ctrl-C is for the supervisor, which tells the workers
            )
            with suppress(OSError):  # it has ended already
                await asyncio.get_running_loop().sock_sendall(telling, self.assignment.to_json())
        return process, until_gone

    def kill(self) -> None:
        """At once, or as soon as it has started. It may have ended."""
        self._killed = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def kill_unless_ready(self) -> None:
        """For its place would stay empty for as long as it hangs in its start."""
        if not self.ready:
            self._late = True
            self.kill()

    async def watch(self, seconds: float) -> None:
        """Kill it when its event loop answers nothing for so long: its callers wait, and so do activations.

        Asked twice in that time, since a machine that was paused makes the first answer late.
        """
        with suppress(LinkClosed):
            while await self._lives(seconds / 2) or await self._lives(seconds / 2):
                await asyncio.sleep(ALIVE_SECONDS)
            self._silent_seconds = seconds
            self.kill()

    async def _lives(self, seconds: float) -> bool:
        try:
            await self.link.ask("alive", timeout_seconds=seconds)
        except TimeoutError:
            return False
        return True

    def supersede(self) -> None:
        """Kill it, as what it began with holds no more."""
        self.superseded = True
        self.kill()

    def why_it_ended(self, code: int) -> str:
        """In words."""
        if self.failure:
            return f"cannot start: {self.failure}"
        if self._silent_seconds:
            return f"stood still for {self._silent_seconds:g} s and was killed"
        if self._late:
            return f"was not ready within {START_SECONDS:g} s and was killed"
        how = f"ended by {_name_of(-code)}" if code < 0 else f"ended with code {code}"
        return how if self.ready else f"{how} before it was ready"


def _name_of(number: int) -> str:
    """Most of the real-time signals have none."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
