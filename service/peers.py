"""What a service asks of the processes that serve beside it; alone, as is the default, it has none.

`service.workers` has the other answer.
"""

from __future__ import annotations

from service.metrics import Metrics
from service.slots import ModelSlot


class Peers:
    """Nobody else: what is asked for here is done here."""

    async def metrics_text(self, metrics: Metrics) -> bytes:
        """The metrics of all, `metrics` being one's own; raises Draining where they cannot be told."""
        return metrics.text()

    async def activate(self, slot: ModelSlot, version: str | None) -> None:
        """Let a version answer everywhere, or nowhere; raises as `ModelSlot.activate`."""
        await slot.activate(version)

    def begin_drain(self) -> None:
        """Tell the others that the service is to stop."""
