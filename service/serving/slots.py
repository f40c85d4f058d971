"""A model's place in the service: which version answers, and how another takes over.

A request belongs to the version that was active when it arrived, from its first byte to its answer. Each
version has a Batcher of its own, so no batch can mix two; the old one goes when its last request is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from models.errors import RotuloModelError, UnknownModel
from models.predictor import Predictor
from service.errors import UnfitVersion, VersionConflict
from service.metrics import Metrics
from service.process.background import in_thread
from service.serving.served import ServedModel
from service.serving.store import Store

logger = logging.getLogger("rotulo")


class ModelSlot:
    """One model of the service. All methods belong to the event loop.

    `active` answers. `previous` is the version that did before it, None before the first switch.
    """

    def __init__(
        self,
        predictor: Predictor,
        serve: Callable[[Predictor], ServedModel],
        store: Store,
        metrics: Metrics,
    ) -> None:
        """`serve` puts a Predictor on the device, with a line of its own."""
        self.name = predictor.manifest.name
        self.active = serve(predictor)
        self.previous: str | None = None
        self._serve = serve
        self._store = store
        self._metrics = metrics
        self._activating: asyncio.Task[object] | None = None
        self._retiring: dict[ServedModel, asyncio.Task[None]] = {}
        metrics.watch(
            self.name,
            waiting=lambda: sum(model.batcher.waiting for model in self._open()),
            answers_kept=lambda: sum(model.answers_kept for model in self._open()),
        )
        metrics.active(self.name, self.active.version, predictor.engine.name)

    def use(self) -> AbstractContextManager[ServedModel]:
        """The active version, for the whole of one request."""
        return self.active.in_use()

    def versions(self) -> tuple[str, ...]:
        """On disk now, oldest first."""
        return self._store.versions(self.name)

    async def activate(self, version: str | None = None) -> None:
        """Let a version answer from now on, the newest where none is given; raises as `prepare`."""
        self.switch(await self.prepare(version))

    async def prepare(self, version: str | None = None) -> ServedModel:
        """Load a version, the newest where none is given, check and warm it, for `switch`, or to be closed.

        Whatever fails, the one that was active stays. Raises VersionConflict while another is prepared,
        UnknownModel where there is no such version, UnfitVersion where it must not be served.
        """
        if self._activating is not None:
            raise VersionConflict(f"another version of {self.name!r} is being activated")
        self._activating = asyncio.current_task()
        try:
            return await self._ready(version)
        except BaseException as error:
            self._metrics.activation(self.name, _outcome(error))
            raise
        finally:
            self._activating = None

    def before(self) -> str:
        """The version that was active before, where a rollback leads; raises VersionConflict without one."""
        if self.previous is None:
            raise VersionConflict(f"no other version of {self.name!r} has been active")
        return self.previous

    def abandon_activation(self) -> None:
        """Cancel the request that activates a version, if there is one: the service is stopping."""
        if self._activating is not None:
            self._activating.cancel()

    def give_up(self) -> None:
        """Answer every caller at once: the engine hangs."""
        for model in self._open():
            model.give_up()

    async def close(self) -> None:
        """Answer what was accepted, by every version that still has requests."""
        await asyncio.gather(*(model.close() for model in self._open()))

    async def _ready(self, version: str | None) -> ServedModel:
        try:
            predictor = await in_thread(partial(self._store.load, self.name, version))
            return await self._warmed(predictor)
        except UnknownModel:
            raise
        except RotuloModelError as error:
            raise UnfitVersion(str(error)) from error
        except Exception as error:  # an engine may raise anything
            logger.exception("%s: version %s cannot be loaded", self.name, version or "newest")
            raise UnfitVersion(f"it cannot be loaded: {type(error).__name__}, see the log") from error

    async def _warmed(self, predictor: Predictor) -> ServedModel:
        successor = self._serve(predictor)
        try:
            await successor.warm_up()
        except BaseException:
            await successor.close()
            raise
        return successor

    def switch(self, successor: ServedModel) -> None:
        """Let what was prepared answer, in one step of the event loop."""
        old, self.active = self.active, successor
        if old.version != successor.version:
            self.previous = old.version
        self._retiring[old] = asyncio.create_task(self._retire(old))
        self._metrics.active(self.name, successor.version, successor.predictor.engine.name)
        self._metrics.activation(self.name, "activated")
        logger.warning(
            "%s: version %s answers now, in place of %s", self.name, successor.version, old.version
        )

    async def _retire(self, old: ServedModel) -> None:
        await old.close()
        del self._retiring[old]

    def _open(self) -> list[ServedModel]:
        return [self.active, *self._retiring]


def _outcome(error: BaseException) -> str:
    """For the metrics."""
    if isinstance(error, UnknownModel):
        return "unknown"
    return "unfit" if isinstance(error, UnfitVersion) else "abandoned"
