"""Stopping without losing anybody: SIGTERM, Ctrl-C and /shutdown are one thing.

First not ready, and every answer asks its client to close the connection, while requests are still served:
load balancers and clients move away. After the grace the listener closes, and what was accepted is answered.
"""

from __future__ import annotations

import math


class Drain:
    """Whether the service is stopping, and whether the listener should close. Touches no clock."""

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._close_at = math.inf

    @property
    def begun(self) -> bool:
        """True once the service is stopping; readiness is false from here on."""
        return self._close_at < math.inf

    def begin(self, now: float) -> None:
        """Start to stop; a second call changes nothing."""
        if not self.begun:
            self._close_at = now + self._grace_seconds

    def over(self, now: float) -> bool:
        """True when the listener should close."""
        return now >= self._close_at
