"""uvicorn, with the drain that this service wants in place of its own."""

from __future__ import annotations

import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from service.app import create_app
from service.edge.guarded_protocol import ConnectionLimits, guarded
from service.process.leaving import HANGING, leave, leave_at_signal
from service.process.listening import bound_everywhere, duplicated, unfit, url_of
from service.wiring import Service

# Between closing the listener and closing idle connections: what the kernel had accepted is still read.
LINGER_SECONDS = 0.5


class Server(uvicorn.Server):
    """Serves until SIGTERM, Ctrl-C, SIGHUP or /shutdown, drains, returns; a second signal ends it at once."""

    def __init__(self, service: Service, when_listening: Callable[[str], None] = lambda _: None) -> None:
        """`when_listening` is called once with the URL of the service."""
        super().__init__(_config(service))
        self._service = service
        self._drain = service.drain
        self._signals = 0
        self._when_listening = when_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.make_ready()
        settings = self._service.settings
        try:
            await super().startup(duplicated(sockets or bound_everywhere(settings)))
        except OSError as error:  # somebody else has begun to listen there
            raise unfit(settings, error) from error
        if self.started:
            self._when_listening(url_of(self.servers[0].sockets[0], tls=self.config.is_ssl))

    async def make_ready(self) -> None:
        """Before it listens; raises BadArtifact."""
        await self._service.warm_up()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's, and SIGHUP where nobody (nohup, say) has asked for it to be ignored."""
        with super().capture_signals():
            in_main_thread = threading.current_thread() is threading.main_thread()
            if in_main_thread and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                signal.signal(signal.SIGHUP, self.handle_exit)
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Not captured as uvicorn would, which raises the signal again: a drained service exits with 0."""
        if not self.started:
            leave_at_signal(sig, frame)
        self._signals += 1
        if self._signals > 1:  # /shutdown may have begun the drain; the first signal only agrees
            self.should_exit = self.force_exit = True
        self._drain.begin(time.monotonic())

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second."""
        now = time.monotonic()
        if not self._service.tick(now) and await self._service.hangs_still():
            leave(HANGING, "the engine hangs; the process ends, to be started again")
        if self._drain.over(now):
            for server in self.servers:
                server.close()
            self.should_exit = self.should_exit or self._drain.over(now - LINGER_SECONDS)
        return await super().on_tick(counter)


def _config(service: Service) -> uvicorn.Config:
    settings = service.settings
    limits = ConnectionLimits(
        settings.header_timeout_seconds,
        settings.max_header_bytes,
        settings.send_timeout_seconds,
        service.metrics.connection_refused,
    )
    return uvicorn.Config(
        service.trace.around(create_app(service)),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=guarded(limits),
        ws="none",
        log_level=settings.log_level,
        access_log=False,
        log_config=None,  # `service.process.logs` is
        server_header=False,
        # uvicorn's own default believes whatever runs on this host.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout_seconds),
        # Otherwise a back-to-back request inherits the context of the one before (asgiref #491).
        reset_contextvars=True,
    )
