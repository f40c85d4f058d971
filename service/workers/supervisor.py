"""The parent of the workers: starts them, replaces those that end, relays between them, ends with them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from models import catalog
from service.metrics import WorkerMetrics
from service.process.leaving import leave
from service.settings import Settings
from service.workers.activation import Activations
from service.workers.assignment import Assignment, Versions
from service.workers.children import START_SECONDS, Child
from service.workers.link import LinkClosed, Refused
from service.workers.restarts import Restarts
from service.workers.totals import Totals, report

logger = logging.getLogger("rotulo")

REPORT_SECONDS = 1.0  # for a worker to say what it has counted; else what it said last counts
SPARE_SECONDS = 15.0  # beyond a drain's own bounds, for the record's last rows and the traces
END_SECONDS = 5.0  # after a second signal, until what has not ended is killed
SELF = 0  # the supervisor's own number in the totals


class StartFailed(Exception):
    """A worker could not start when all were to; the message says why."""


class Supervisor:
    """Runs `settings.workers` of them. Belongs to one event loop, and to the main thread for its signals."""

    def __init__(
        self,
        settings: Settings,
        arguments: Sequence[str],
        listener: socket.socket,
        greet: Callable[[str], None],
    ) -> None:
        """`listener` has the port for as long as it is open; the workers listen on their own.

        `greet` is called once, when all are ready. Raises BadArtifact where there are no models.
        """
        self._settings = settings
        self._arguments = list(arguments)
        self._port: int = listener.getsockname()[1]
        self._greet = greet
        self._token = None if settings.admin_token else secrets.token_urlsafe(32)
        versions = {name: Versions(newest) for name, newest in catalog.newest(settings.models_dir).items()}
        self._activations = Activations(versions, self._ready)
        self._children: dict[int, Child] = {}
        self._all_loaded = asyncio.Event()
        self._all_ready = asyncio.Event()
        self._draining = asyncio.Event()
        self._signals = 0
        self._background: set[asyncio.Task[None]] = set()
        self._totals = Totals()
        self._scrape: asyncio.Task[str] | None = None
        self._metrics = WorkerMetrics(lambda: len(self._ready()))

    async def run(self) -> int:
        """The exit code: 0 after a drain, else a worker's own. Raises StartFailed."""
        self._hear_signals()
        numbers = range(1, self._settings.workers + 1)
        try:
            async with asyncio.TaskGroup() as places:
                kept = [places.create_task(self._keep(number)) for number in numbers]
        except* StartFailed as failed:
            raise failed.exceptions[0] from None
        finally:
            for child in self._children.values():
                child.kill()
        codes = [task.result() for task in kept]
        return 0 if self._signals > 1 else next((code for code in codes if code), 0)

    async def _keep(self, number: int) -> int:
        """A worker in this place, until the drain; how the last one ended."""
        restarts = Restarts()
        while True:
            child, code = await self._one(number)
            if self._draining.is_set():
                return _exit_code(code) if child.ready else 0
            if not self._all_ready.is_set():
                raise StartFailed(child.failure or f"worker {number} {child.why_it_ended(code)}")
            self._metrics.restarted()
            if child.superseded:
                continue
            now = asyncio.get_running_loop().time()
            await self._wait(child, code, restarts.ended(child.ready_at, now))
            if self._draining.is_set():
                return 0

    async def _one(self, number: int) -> tuple[Child, int]:
        assignment = Assignment(
            number=number,
            workers=self._settings.workers,
            arguments=self._arguments,
            port=self._port,
            generated_token=self._token,
            versions=self._activations.versions,
        )
        child = self._children[number] = Child(assignment, self._answer)
        if self._all_ready.is_set():
            asyncio.get_running_loop().call_later(START_SECONDS, child.kill_unless_ready)
        try:
            return child, await child.run()
        finally:
            self._totals.ended(number)
            del self._children[number]

    async def _wait(self, child: Child, code: int, seconds: float) -> None:
        when = f"in {seconds:g} s" if seconds else "now"
        logger.error("worker %d %s; another starts %s", child.number, child.why_it_ended(code), when)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()

    def _ready(self) -> list[Child]:
        return [child for child in self._children.values() if child.ready]

    async def _answer(self, child: Child, what: str, value: Any) -> Any:
        """What a worker asks of its supervisor."""
        match what:
            case "loaded":
                return await self._may_listen(child)
            case "listening":
                return self._listens(child, value)
            case "metrics":
                return await self._metrics_text()
            case "activate":
                return await self._activations.activate(*value)
            case "drain":
                return self.drain()
            case "counted":
                return self._totals.reported(child.number, value)
            case "failed":
                child.failure = value
        return None

    async def _may_listen(self, child: Child) -> None:
        """Returns when it may; all of them may at once at the start, when none has failed."""
        child.loaded = True
        if sum(each.loaded for each in self._children.values()) == self._settings.workers:
            self._all_loaded.set()
        await self._all_loaded.wait()
        if self._activations.is_outdated(child):
            child.supersede()

    def _listens(self, child: Child, greeting: str) -> None:
        if self._draining.is_set():  # which has killed it
            return
        if self._activations.is_outdated(child):
            child.supersede()
            return
        child.ready_at = asyncio.get_running_loop().time()
        self._soon(child.watch(self._settings.hang_seconds + self._settings.hang_exit_seconds))
        if not self._all_ready.is_set() and len(self._ready()) == self._settings.workers:
            self._all_ready.set()
            self._greet(greeting)

    async def _metrics_text(self) -> str:
        """Who asks while one is under way gets the same: many that scrape cost workers no more than one."""
        if self._scrape is None or self._scrape.done():
            self._scrape = asyncio.create_task(self._scraped())
        return await self._scrape

    async def _scraped(self) -> str:
        await asyncio.gather(*(self._collect(child) for child in self._ready()))
        self._totals.reported(SELF, report(self._metrics.registry))
        return self._totals.text().decode()

    async def _collect(self, child: Child) -> None:
        try:
            counted = await child.link.ask("count", timeout_seconds=REPORT_SECONDS)
        except (TimeoutError, LinkClosed, Refused):
            return
        if self._children.get(child.number) is child:
            self._totals.reported(child.number, counted)

    def drain(self) -> None:
        """Tell all to stop; a second call changes nothing."""
        if self._draining.is_set():
            return
        self._draining.set()
        for child in self._children.values():
            if child.ready:
                self._soon(child.link.tell("drain"))
            else:
                child.kill()
        limits = self._settings.drain_grace_seconds + self._settings.drain_timeout_seconds
        self._kill_after(limits + SPARE_SECONDS)

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        heard = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup has it ignored
            heard.append(signal.SIGHUP)
        for number in heard:
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if not self._all_ready.is_set():
            for child in self._children.values():
                child.kill()
            leave(0, f"stopped by {number.name} before it was ready")
        self._signals += 1
        self.drain()
        if self._signals > 1:
            self._end()

    def _end(self) -> None:
        for child in self._children.values():
            self._soon(child.link.tell("end"))
        self._kill_after(END_SECONDS)

    def _kill_after(self, seconds: float) -> None:
        for child in self._children.values():
            asyncio.get_running_loop().call_later(seconds, child.kill)

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _exit_code(code: int) -> int:
    """A shell's: 128 and the signal's number for one that was killed."""
    return code if code >= 0 else 128 - code
