"""uvicorn, with the drain that this service wants in place of its own."""

from __future__ import annotations

import time
from types import FrameType

import uvicorn

from service.app import create_app
from service.wiring import Service

# Between closing the listener and closing idle connections: what the kernel had accepted is still read.
LINGER_SECONDS = 0.5


class Server(uvicorn.Server):
    """Serves until SIGTERM, Ctrl-C or /shutdown, drains, and returns; a second signal ends it at once."""

    def __init__(self, service: Service) -> None:
        super().__init__(_config(service))
        self._drain = service.drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Not captured as uvicorn would, which raises the signal again: a drained service exits with 0."""
        if self._drain.begun:
            self.should_exit = self.force_exit = True
        self._drain.begin(time.monotonic())

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second."""
        now = time.monotonic()
        if self._drain.over(now):
            for server in self.servers:
                server.close()
            self.should_exit = self.should_exit or self._drain.over(now - LINGER_SECONDS)
        return await super().on_tick(counter)


def _config(service: Service) -> uvicorn.Config:
    settings = service.settings
    return uvicorn.Config(
        create_app(service),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        log_level=settings.log_level,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=round(settings.drain_timeout_seconds),
        # Otherwise a back-to-back request inherits the context of the one before (asgiref #491).
        reset_contextvars=True,
    )
