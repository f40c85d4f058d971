"""`python -m service.workers.worker LINK`, which only the supervisor starts: the service, as one of several.

LINK is the descriptor of its end of a link, which it inherits.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from models.errors import RotuloModelError
from service.errors import Draining
from service.greeting import greeting
from service.process import logs
from service.process.cpus import share
from service.process.leaving import end, leave, leave_as, leave_at_signals
from service.process.listening import bound
from service.process.memory import give_memory_back, leave_out_of_collections
from service.server import Server
from service.serving.served import ServedModel
from service.serving.store import Store
from service.settings import BadSettings, Settings, read_settings
from service.wiring import Service
from service.workers.assignment import Assignment
from service.workers.link import Link, LinkClosed, message
from service.workers.relay import Relay
from service.workers.totals import report

logger = logging.getLogger("rotulo")


def main(link: int) -> int:
    """Returns the exit code, as `service.__main__.main`; the supervisor is told of a failure, and says it."""
    leave_at_signals()
    told = sys.stdin.buffer.read()
    if not told:
        leave(1, "the supervisor is gone")
    assignment = Assignment.from_json(told)
    leave_as(assignment.number)
    end = socket.socket(fileno=link)
    end.set_inheritable(False)
    last_words = end.dup()
    try:
        counted = _serve(assignment, end)
    except (BadSettings, RotuloModelError) as error:
        _say(last_words, "failed", str(error))
        return 2
    _say(last_words, "counted", counted)
    return 0


def _serve(assignment: Assignment, end: socket.socket) -> list[Any]:
    """Until the drain is over; what was counted."""
    settings = settings_of(assignment)
    give_memory_back()
    logs.configure(settings.log_level, settings.log_format, assignment.number)
    worker = Worker(assignment, settings, end)
    worker.run(sockets=[worker.listener])
    return worker.counted()


def settings_of(assignment: Assignment) -> Settings:
    """The service's, with this worker's share of the processors where the operator has set no number."""
    settings = read_settings(assignment.arguments)
    changed: dict[str, Any] = {"port": assignment.port}
    if "threads" not in settings.model_fields_set:
        changed["threads"] = share(settings.threads, assignment.workers, assignment.number)
    if assignment.generated_token is not None:
        changed["admin_token"] = SecretStr(assignment.generated_token)
    return settings.model_copy(update=changed)


def _say(end: socket.socket, what: str, value: Any) -> None:
    """Without an event loop, and without an answer."""
    end.setblocking(True)
    with suppress(OSError):
        end.sendall(message(0, "ask", what, value))


class Worker(Server):
    """Listens when its supervisor says so, does what it is told, and drains when the supervisor is gone."""

    def __init__(self, assignment: Assignment, settings: Settings, end: socket.socket) -> None:
        """Loads the models; raises as `Store.load_all`, and BadSettings."""
        self._assignment = assignment
        self.listener = bound(settings, shared=True)
        self._link = Link(end, self._answer)
        self._prepared: dict[str, ServedModel] = {}
        store = Store(settings)
        predictors = store.load_all({name: version.active for name, version in assignment.versions.items()})
        service = Service(settings, predictors, store, Relay(self._link))
        for name, version in assignment.versions.items():
            service.models[name].previous = version.previous
        super().__init__(service, self._say_listening)
        self._telling: asyncio.Task[None] | None = None

    def counted(self) -> list[Any]:
        """See `totals.report`."""
        return report(self._service.metrics.registry)

    async def make_ready(self) -> None:
        until_gone = await self._link.open()
        await super().make_ready()
        try:
            await self._link.ask("loaded")
        except LinkClosed:
            leave(1, "the supervisor is gone")
        until_gone.add_done_callback(self._drain_alone)

    def _say_listening(self, url: str) -> None:
        leave_out_of_collections()
        said = greeting(self._service, url, self._assignment.generated_token)
        self._telling = asyncio.create_task(self._link.tell("listening", said))

    def _drain_alone(self, _: asyncio.Task[None]) -> None:
        if not self._drain.begun:
            logger.error("the supervisor is gone; this worker stops")
            self._drain.begin(time.monotonic())

    async def _answer(self, what: str, value: Any) -> Any:
        """What the supervisor asks of this worker; whether it is alive, any answer says."""
        match what:
            case "count":
                return self.counted()
            case "prepare":
                await self._prepare(*value)
            case "switch":
                self._service.models[value].switch(self._prepared.pop(value))
            case "discard":
                await self._discard(value)
            case "drain":
                self._drain.begin(time.monotonic())
            case "end":
                self.should_exit = self.force_exit = True
        return None

    async def _prepare(self, model: str, version: str) -> None:
        try:
            self._prepared[model] = await self._service.models[model].prepare(version)
        except asyncio.CancelledError:
            raise Draining("the service is stopping") from None

    async def _discard(self, model: str) -> None:
        if (successor := self._prepared.pop(model, None)) is not None:
            await successor.close()


if __name__ == "__main__":
    end(main(int(sys.argv[1])))
