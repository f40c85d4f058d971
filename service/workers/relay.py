"""The other workers, as a worker knows them: through its supervisor."""

from __future__ import annotations

import asyncio

from models.errors import UnknownModel
from service.errors import Draining, UnfitVersion, VersionConflict
from service.metrics import Metrics
from service.peers import Peers
from service.serving.slots import ModelSlot
from service.workers.link import Link, LinkClosed, Refused

# What an activation may be refused with, in whichever worker.
_ERRORS = {kind.__name__: kind for kind in (UnknownModel, UnfitVersion, VersionConflict, Draining)}


class Relay(Peers):
    """Asks the supervisor. Without one a worker is on its way out: whatever it is asked for is a Draining."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._telling: asyncio.Task[None] | None = None

    async def metrics_text(self, metrics: Metrics) -> bytes:  # noqa: ARG002 (its own are among them)
        try:
            text: str = await self._link.ask("metrics")
        except LinkClosed:
            raise _without_supervisor() from None
        return text.encode()

    async def activate(self, slot: ModelSlot, version: str | None) -> None:
        wanted = version or next(reversed(slot.versions()), None)
        if wanted is None:
            raise UnknownModel(f"no version of {slot.name!r} is on disk")
        try:
            await self._link.ask("activate", [slot.name, wanted])
        except Refused as refused:
            raise _ERRORS.get(refused.kind, RuntimeError)(str(refused)) from None
        except LinkClosed:
            raise _without_supervisor() from None

    def begin_drain(self) -> None:
        self._telling = asyncio.get_running_loop().create_task(self._link.tell("drain"))


def _without_supervisor() -> Draining:
    return Draining("the service is stopping")
