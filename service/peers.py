"""What a service asks of those that serve beside it; alone, as is the default, it has none.

`service.workers` has another answer; `OutOfReach` is that of replicas which do not know one another.
"""

from __future__ import annotations

from service.errors import OneOfSeveral
from service.metrics import Metrics
from service.serving.slots import ModelSlot


class Peers:
    """Nobody else: what is asked for here is done here."""

    def require_reach(self) -> None:
        """Before what must be done by all of them; raises OneOfSeveral where a request cannot see to that."""

    async def metrics_text(self, metrics: Metrics) -> bytes:
        """The metrics of all, `metrics` being one's own; raises Draining where they cannot be told."""
        return metrics.text()

    async def activate(self, slot: ModelSlot, version: str | None) -> None:
        """Let a version answer everywhere, or nowhere; raises as `ModelSlot.activate`."""
        await slot.activate(version)

    def begin_drain(self) -> None:
        """Tell the others that the service is to stop."""


class OutOfReach(Peers):
    """Replicas behind one address that do not know one another: a request reaches any one of them."""

    def require_reach(self) -> None:
        raise OneOfSeveral("this request reaches one replica of several: deploy anew instead")
