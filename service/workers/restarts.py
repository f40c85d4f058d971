"""When to start a worker in place of one that ended. Pure: reads no clock.

The first that ends is replaced at once: somebody killed it, or it was the one in a million. One that ends
again soon, or cannot start, waits longer each time, so that a fault that stays costs next to nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

STEADY_SECONDS = 60.0  # a worker that has served so long starts with a clean record
FIRST_SECONDS = 1.0
LONGEST_SECONDS = 30.0


@dataclass(slots=True)
class Restarts:
    """The record of one worker's place. `failures`: ends in a row that came too soon."""

    failures: int = 0

    def ended(self, ready_at: float, now: float) -> float:
        """How many seconds to wait; `ready_at` is infinite where it never was ready."""
        if now - ready_at >= STEADY_SECONDS:
            self.failures = 0
        self.failures += 1
        if self.failures == 1:
            return 0.0
        return min(LONGEST_SECONDS, FIRST_SECONDS * math.exp2(min(self.failures - 2, 30)))
