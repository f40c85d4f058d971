"""The parts, put together: a slot for every model, one device for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence, Set

from batching import FOR_ANSWERS, Batcher, BatchPolicy, Device
from models.errors import UnknownModel
from models.images import Pixels
from models.predictor import Prediction, Predictor
from service.drain import Drain
from service.edge.access import access_of
from service.edge.admin_token import AdminToken
from service.edge.request_body import Intake
from service.errors import Draining, EngineHangs, ServiceError
from service.metrics import Metrics
from service.peers import Peers
from service.record.recorder import record_of
from service.serving.cached import CachedModel
from service.serving.decoding import Decoder
from service.serving.served import ServedModel
from service.serving.slots import ModelSlot
from service.serving.store import Store
from service.serving.watchdog import Watchdog
from service.settings import PREFIX, BadSettings, Settings
from service.targets import LatencyTargets
from service.tracing import trace_of

SECOND_LOOK_SECONDS = 0.5


def targets_of(settings: Settings, models: Set[str]) -> LatencyTargets:
    """Raises BadSettings where one is for a model that there is not."""
    targets = LatencyTargets.parse(settings.latency_target_ms)
    for name in targets.models.keys() - models:
        raise BadSettings(
            f"--latency-target-ms ({PREFIX}LATENCY_TARGET_MS): no model is named {name!r}, "
            f"there are {', '.join(sorted(models))}"
        )
    return targets


class Service:
    """What the routes work with."""

    def __init__(
        self,
        settings: Settings,
        predictors: Sequence[Predictor],
        store: Store | None = None,
        peers: Peers | None = None,
    ) -> None:
        """Serves `predictors`, beside `peers`; later versions of the same models come from `store`.

        Raises BadSettings.
        """
        self.settings = settings
        self.peers = peers or Peers()
        self._targets = targets_of(settings, {predictor.manifest.name for predictor in predictors})
        self.metrics = Metrics(self._targets, caches=settings.cache_entries > 0)
        self.intake = Intake(settings.max_body_bytes, settings.max_bytes_held, settings.body_timeout_seconds)
        self.admin_token = AdminToken(
            settings.admin_token.get_secret_value() if settings.admin_token else None
        )
        self.access = access_of(settings)
        self.trace = trace_of(settings)
        self.record = record_of(settings, self.metrics)
        self.drain = Drain(settings.drain_grace_seconds)
        self._watchdog = Watchdog(settings.hang_seconds, settings.hang_exit_seconds)
        self._device = Device(settings.device)
        self._decoder = Decoder(settings.threads, settings.max_waiting, self.metrics)
        store = store or Store(settings)
        self.models: Mapping[str, ModelSlot] = {
            predictor.manifest.name: ModelSlot(predictor, self._serve, store, self.metrics)
            for predictor in predictors
        }
        self.metrics.watch_service(
            ready=lambda: self.not_ready() is None,
            engine_busy_seconds=self._engine_busy_seconds,
            bodies_held_bytes=lambda: self.intake.bytes_held,
            decodes_in_progress=lambda: self._decoder.in_progress,
        )

    def _serve(self, predictor: Predictor) -> ServedModel:
        policy = BatchPolicy(
            latency_target_seconds=self._targets.seconds(predictor.manifest.name),
            max_batch_size=self.settings.max_batch_size,
            max_waiting=self.settings.max_waiting,
            for_answers=FOR_ANSWERS,
        )
        batcher: Batcher[Pixels, Prediction] = Batcher(
            predictor.predict,
            policy,
            self._device,
            name=predictor.manifest.name,
            observer=self.metrics,
            pipelined_from=predictor.engine.pipelined_from,
        )
        if not self.settings.cache_entries:
            return ServedModel(predictor, self._decoder, batcher, self.trace)
        return CachedModel(
            predictor,
            self._decoder,
            batcher,
            self.trace,
            max_entries=self.settings.cache_entries,
            metrics=self.metrics,
        )

    def slot(self, name: str) -> ModelSlot:
        """Raises UnknownModel."""
        try:
            return self.models[name]
        except KeyError:
            raise UnknownModel(f"no model is named {name!r}") from None

    def model(self, name: str) -> ServedModel:
        """The active version, to be looked at; what a request works with comes from `slot(name).use()`.

        Raises UnknownModel.
        """
        return self.slot(name).active

    def not_ready(self) -> ServiceError | None:
        """Why requests should go elsewhere, or None."""
        if self.drain.begun:
            return Draining("the service is stopping")
        if self._watchdog.hangs(self._device.busy_since, time.monotonic()):
            return EngineHangs("the engine does not answer")
        return None

    def _engine_busy_seconds(self) -> float:
        busy_since = self._device.busy_since
        return 0.0 if busy_since is None else time.monotonic() - busy_since

    def begin_drain(self) -> None:
        """Start to stop, and all peers with this; see `service.drain`."""
        self.drain.begin(time.monotonic())
        self.peers.begin_drain()

    def tick(self, now: float) -> bool:
        """What time alone brings about, to be called a few times a second with `time.monotonic()`.

        Returns False once the engine hangs beyond hope and the process must end.
        """
        busy_since = self._device.busy_since
        hangs = self._watchdog.hangs(busy_since, now)
        for slot in self.models.values():
            if self.drain.begun:
                slot.abandon_activation()
            if hangs:
                slot.give_up()
        return not self._watchdog.gives_up(busy_since, now)

    async def hangs_still(self) -> bool:
        """Whether `tick` says the same a moment later, in which the last callers hear that they are given up.

        In a process that was paused, every call has taken too long: one that goes on returns now.
        """
        await asyncio.sleep(SECOND_LOOK_SECONDS)
        return not self.tick(time.monotonic())

    async def warm_up(self) -> None:
        """Before the first request; raises BadArtifact."""
        for slot in self.models.values():
            await slot.active.warm_up()

    async def close(self) -> None:
        """Answer what was accepted, record it, then end every thread."""
        await asyncio.gather(*(slot.close() for slot in self.models.values()))
        await self.record.close()
        self._device.close()
        self._decoder.close()
        await self.trace.close()
