"""Rótulo on Ray Serve: `serve run service.on_ray:application`. Each replica is a whole service of its own.

A replica holds what a process of `python -m service` holds, from the Batcher to the ASGI application; Ray's
proxies stand in for uvicorn, and Ray for whoever supervises the process. Batches are the Batcher's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service.app import create_app
from service.peers import OutOfReach
from service.process import logs
from service.process.background import in_thread
from service.process.leaving import HANGING, leave
from service.process.memory import give_memory_back, leave_out_of_collections
from service.serving.store import Store
from service.settings import PREFIX, BadSettings, Settings, read_settings
from service.wiring import Service

TICK_SECONDS = 0.1  # as often as uvicorn does
# Fails three times, and Ray puts another replica in its place; before `hang_exit_seconds` ends the process.
HEALTH_PERIOD_SECONDS = 5.0
# How much of the largest batch may be in a replica before there should be another: it runs batches of half
# that size or less, and nobody is refused yet.
TARGET_OF_BATCH = 0.5
# What a replica can hold at most, twice over, so that whom it refuses never waits in a proxy for the refusal.
ROOM_TO_REFUSE = 2

# Ray's proxies do what these are about, and have options of their own.
OF_THE_PROXY = (
    "host",
    "port",
    "header_timeout_seconds",
    "max_header_bytes",
    "send_timeout_seconds",
    "keep_alive_seconds",
    "drain_grace_seconds",
    "ssl_certfile",
    "ssl_keyfile",
)


class Scaling(BaseModel):
    """How many replicas; the arguments of `serve run`, or `args` in a Serve config file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_replicas: int = Field(default=1, ge=1, description="replicas at least")
    max_replicas: int = Field(default=1, ge=1, description="replicas at most")
    target_ongoing_requests: float | None = Field(
        default=None, gt=0, description="requests in a replica beyond which another is started"
    )


def application(arguments: Mapping[str, Any]) -> serve.Application:
    """The Serve application, of the arguments in `Scaling`; replicas have the settings of where this runs.

    Raises BadSettings, and pydantic's ValidationError where an argument is not one.
    """
    scaling = Scaling.model_validate(arguments)
    settings = replicable(read_settings([]))
    deploy = serve.deployment(name="rotulo", **options(settings, scaling))
    return deploy(serve.ingress()(Replica)).bind(settings)


def replicable(settings: Settings) -> Settings:
    """Raises BadSettings where one of them cannot hold for replicas behind Ray's proxies."""
    for name in OF_THE_PROXY:
        if name in settings.model_fields_set:
            raise _unfit(name, "Ray's proxies decide that: see docs/ray.md")
    if settings.workers != 1:
        raise _unfit("workers", "Ray starts the replicas: see min_replicas and max_replicas in docs/ray.md")
    if ":" in settings.device:
        raise _unfit("device", "Ray chooses the GPU of each replica: cpu or cuda")
    if settings.record_url and settings.record_url.get_secret_value().startswith("sqlite"):
        raise _unfit("record_url", "replicas need a database that they share: postgresql+psycopg://...")
    return settings


def _unfit(name: str, why: str) -> BadSettings:
    return BadSettings(f"{PREFIX}{name.upper()}: {why}")


def options(settings: Settings, scaling: Scaling) -> dict[str, Any]:
    """Of the deployment: its size, what may wait where, its health and its end."""
    held = 2 * settings.max_waiting + settings.max_batch_size  # in the line, in decoding, in a batch
    target = scaling.target_ongoing_requests or max(1, TARGET_OF_BATCH * settings.max_batch_size)
    return {
        "ray_actor_options": {"num_cpus": settings.threads, "num_gpus": int(settings.device == "cuda")},
        "autoscaling_config": AutoscalingConfig(
            min_replicas=scaling.min_replicas,
            max_replicas=scaling.max_replicas,
            target_ongoing_requests=target,
        ),
        "max_ongoing_requests": ROOM_TO_REFUSE * held,
        # While no replica can be reached, these wait in a proxy; Ray refuses the others.
        "max_queued_requests": settings.max_waiting,
        "backpressure_config": BackpressureConfig(status_code=503, retry_after_s=1),
        "health_check_period_s": HEALTH_PERIOD_SECONDS,
        "graceful_shutdown_timeout_s": settings.drain_timeout_seconds,
        "graceful_shutdown_wait_loop_s": TICK_SECONDS,
    }


class Replica:
    """One service in a Ray actor. Ray makes it, asks for its application, and closes that at the end."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc] # Ray awaits it
        """Load the models and warm them up; no request comes before. Raises RotuloModelError."""
        give_memory_back()
        logs.configure(settings.log_level, settings.log_format)
        store = Store(settings)
        self.service = Service(settings, await in_thread(store.load_all), store, OutOfReach())
        await self.service.warm_up()
        leave_out_of_collections()
        self._watching = asyncio.create_task(watch(self.service))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What the process of `python -m service` serves, as Ray's proxies want it."""
        app: ASGIApp = self.service.trace.around(create_app(self.service))
        if self.service.settings.trusted_proxies:
            app = ProxyHeadersMiddleware(app, self.service.settings.trusted_proxies)  # type: ignore[arg-type, assignment]
        return marked(app, serve.get_replica_context().replica_id.unique_id)

    async def check_health(self) -> None:
        """Ray asks this, and replaces a replica that raises; raises EngineHangs."""
        reason = self.service.not_ready()
        if reason is not None:
            raise reason


async def watch(service: Service) -> None:
    """Answer the callers of an engine that hangs; end the process where it does not return at all."""
    while service.tick(time.monotonic()) or not await service.hangs_still():
        await asyncio.sleep(TICK_SECONDS)
    leave(HANGING, "the engine hangs; the process ends, for Ray to start another")


def marked(app: ASGIApp, replica: str) -> ASGIApp:
    """Says in `X-Replica` who answers; leaves `X-Request-Id` to Ray's proxy, which would add it again."""

    async def replica_app(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [pair for pair in message.get("headers", ()) if pair[0] != b"x-request-id"]
                message = {**message, "headers": [*headers, (b"x-replica", replica.encode())]}
            await send(message)

        await app(scope, receive, send_marked)

    return replica_app
