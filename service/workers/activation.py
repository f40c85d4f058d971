"""A version for all workers, or for none: each loads, checks and warms it; then all let it answer.

They load it one after the other, so that a version which is unfit costs one of them the trouble, and callers
find the others undisturbed; one that becomes ready meanwhile is the next. Where it is unfit for one, or one
ends while it loads it, the version that was active stays everywhere. A worker that ends after that, or is not
ready by then, begins with the new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from service.workers.assignment import Versions
from service.workers.children import Child
from service.workers.link import LinkClosed, Refused


class Activations:
    """The versions of the whole service. `versions`: what a worker that starts is to begin with, by model."""

    def __init__(self, versions: dict[str, Versions], ready: Callable[[], Sequence[Child]]) -> None:
        """`ready` gives the workers that answer at this moment."""
        self.versions = versions
        self._ready = ready
        self._activating: set[str] = set()

    async def activate(self, model: str, version: str) -> None:
        """Returns when it answers in all; raises Refused, by the name of an error of `service.errors`."""
        if model in self._activating:
            raise Refused("VersionConflict", f"another version of {model!r} is being activated")
        self._activating.add(model)
        try:
            await self._activate(model, version)
        finally:
            self._activating.remove(model)

    async def _activate(self, model: str, version: str) -> None:
        prepared: list[Child] = []
        try:
            while others := [child for child in self._ready() if child not in prepared]:
                prepared.append(others[0])
                await _prepare(others[0], model, version)
        except Refused:
            await asyncio.gather(*(child.link.tell("discard", model) for child in prepared))
            raise
        was = self.versions[model]
        previous = was.previous if was.active == version else was.active
        self.versions = {**self.versions, model: Versions(version, previous)}
        await asyncio.gather(*(child.link.tell("switch", model) for child in prepared))

    def is_outdated(self, child: Child) -> bool:
        """Of one that has just started: whether what it was told at its start holds no more."""
        return child.assignment.versions != self.versions


async def _prepare(child: Child, model: str, version: str) -> None:
    try:
        await child.link.ask("prepare", [model, version])
    except LinkClosed:
        problem = f"worker {child.number} ended while it loaded version {version!r}; the active one stays"
        raise Refused("VersionConflict", problem) from None
