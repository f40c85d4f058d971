"""What waits to be recorded, bounded in rows and in the bytes of images that it holds on to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from service.record.noted import Noted


class Line:
    """`offer` belongs to one thread, everything else to one other.

    There is no lock to wait for: each of the counters is changed by one of the two alone.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._waiting: deque[Noted] = deque()
        self._rows_in = self._bytes_in = 0
        self._rows_out = self._bytes_out = 0

    @property
    def rows(self) -> int:
        """Offered and not released."""
        return self._rows_in - self._rows_out

    def offer(self, noted: Noted) -> bool:
        """False where there is no room for all of its rows."""
        rows, size = len(noted.answers), noted.image_bytes
        held = self._bytes_in - self._bytes_out
        if self.rows + rows > self._max_rows or held + size > self._max_bytes:
            return False
        self._rows_in += rows
        self._bytes_in += size
        self._waiting.append(noted)
        return True

    def take(self) -> Iterator[Noted]:
        """What is there now, oldest first. It counts until it is released."""
        for _ in range(len(self._waiting)):
            yield self._waiting.popleft()

    def release(self, rows: int = 0, image_bytes: int = 0) -> None:
        """These rows are done with, or these bytes are no longer held."""
        self._rows_out += rows
        self._bytes_out += image_bytes
