"""When an engine call is taken to hang, and when the process must go for it. Pure: reads no clock.

A thread inside an engine cannot be ended, so a call that never returns takes every model of its device with
it. First the service is not ready and its callers are answered; it recovers if the call returns after all.
Then the process ends, for whoever supervises it to start another.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Watchdog:
    """`hang_seconds`: longer than any batch takes. `exit_seconds`: after that, until the process ends."""

    hang_seconds: float
    exit_seconds: float

    def hangs(self, busy_since: float | None, now: float) -> bool:
        """Whether a call that began at `busy_since`, if one runs, has taken too long."""
        return busy_since is not None and now - busy_since >= self.hang_seconds

    def gives_up(self, busy_since: float | None, now: float) -> bool:
        """Whether it is not expected to return at all."""
        return busy_since is not None and now - busy_since >= self.hang_seconds + self.exit_seconds
