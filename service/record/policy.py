"""When to try a database that is away again, what to say of it, and what to delete. Touches no clock."""

from __future__ import annotations

import math

FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 30.0
QUIET_SECONDS = 60.0  # a database that comes and goes is spoken of once a minute
TRIM_EVERY_SECONDS = 60.0
TRIM_ROWS = 1000  # deleted at once, at most

_MICROSECONDS_A_DAY = 86_400_000_000


class Outage:
    """A database that fails is tried again after twice as long each time. `now` in seconds, of any clock that
    only goes forward.
    """

    def __init__(self) -> None:
        self.retry_at = -math.inf
        self._failures = 0
        self._began = 0.0
        self._said = False
        self._quiet_until = -math.inf

    def failed(self, now: float) -> bool:
        """Whether this is to be said: once in an outage, as soon as the quiet after another one is over."""
        wait = FIRST_RETRY_SECONDS * 2 ** min(self._failures, 16)
        self.retry_at = now + min(wait, LAST_RETRY_SECONDS)
        self._failures += 1
        if self._failures == 1:
            self._began, self._said = now, False
        if self._said or now < self._quiet_until:
            return False
        self._said, self._quiet_until = True, now + QUIET_SECONDS
        return True

    def succeeded(self, now: float) -> float | None:
        """How long the outage took, where one ends that was spoken of."""
        ended = self._failures > 0
        self._failures, self.retry_at = 0, -math.inf
        return now - self._began if ended and self._said else None


class Retention:
    """How many days and rows are kept. A full portion deleted means that there may be more at once."""

    def __init__(self, days: int, rows: int) -> None:
        self.rows = rows
        self.due_at = -math.inf
        self._days = days

    def oldest(self, microseconds: int) -> int:
        """The oldest moment that is kept; both since 1970."""
        return microseconds - self._days * _MICROSECONDS_A_DAY

    def trimmed(self, deleted: int, now: float) -> None:
        """So many rows were deleted."""
        self.due_at = now if deleted >= TRIM_ROWS else now + TRIM_EVERY_SECONDS
