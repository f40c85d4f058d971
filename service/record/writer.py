"""The one thread that writes the record. Whatever its database does, only this thread waits for it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from service.record.database import REFUSED, Database, reason
from service.record.line import Line
from service.record.noted import Row, RowMaker
from service.record.policy import TRIM_ROWS, Outage, Retention

logger = logging.getLogger("rotulo")

GATHER_SECONDS = 0.5  # from the first row that waits to the writing of all that have come by then
PORTION_ROWS = 500
PORTION_BYTES = 8_388_608  # of images


class Writer:
    """Rows out of the line and into the database; then, now and then, old rows out of that.

    `count` is told how many rows were `written` or `dropped`. The process does not wait for the thread.
    """

    def __init__(
        self,
        line: Line,
        database: Database,
        row_maker: RowMaker,
        retention: Retention,
        count: Callable[[str, int], None],
    ) -> None:
        self.last_write = time.monotonic()
        self._line = line
        self._database = database
        self._row_maker = row_maker
        self._retention = retention
        self._count = count
        self._outage = Outage()
        self._prepared = False
        self._rows: deque[Row] = deque()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._flush_until = 0.0
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something in the line."""
        if not self._wake.is_set():
            self._wake.set()

    def close(self, seconds: float) -> None:
        """Write what waits, and return then or after so many seconds; blocks."""
        self._flush_until = time.monotonic() + seconds
        self._stopping.set()
        self._wake.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            logger.warning(
                "%d predictions may not be recorded: the database does not answer", self._line.rows
            )

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._digest()
            self._work()
            self._wake.wait(max(0.0, self._next_at() - time.monotonic()))
            self._stopping.wait(GATHER_SECONDS)
            self._wake.clear()
        self._digest()
        self._flush()
        self._database.close()

    def _next_at(self) -> float:
        """When there is something to do though nobody asks for it."""
        return self._outage.retry_at if self._rows else max(self._outage.retry_at, self._retention.due_at)

    def _digest(self) -> None:
        """Make rows of what came: they are small, while the images they are made of are not."""
        for noted in self._line.take():
            try:
                rows = self._row_maker.rows(noted)
            except Exception:
                logger.exception("request %s cannot be recorded", noted.request_id)
                self._drop(len(noted.answers))
                rows = []
            self._rows.extend(rows)
            self._line.release(image_bytes=noted.image_bytes - sum(_held(row) for row in rows))

    def _work(self) -> None:
        """A portion of what waits, then one of what is too old; and again, where either was a full one."""
        more = True
        while more and not self._stopping.is_set():
            wrote = bool(self._rows) and self._attempt(self._write)
            trimmed = self._is_trim_due() and self._attempt(self._trim)
            self._digest()
            more = (wrote and self._is_portion_full()) or (trimmed and self._is_trim_due())

    def _is_trim_due(self) -> bool:
        return time.monotonic() >= self._retention.due_at

    def _is_portion_full(self) -> bool:
        return len(self._rows) >= PORTION_ROWS or sum(map(_held, self._rows)) >= PORTION_BYTES

    def _flush(self) -> None:
        self._outage.retry_at = -math.inf  # one more try, however short ago the last one was
        while self._rows and time.monotonic() < self._flush_until and self._attempt(self._write):
            pass
        if self._rows:
            logger.warning("%d predictions are not recorded: the service stops", len(self._rows))
            self._drop(len(self._rows))

    def _attempt(self, step: Callable[[], None]) -> bool:
        """False where the database fails, or has failed a moment ago."""
        if time.monotonic() < self._outage.retry_at:
            return False
        try:
            if not self._prepared:
                self._database.prepare()
                self._prepared = True
            step()
        except Exception as error:
            self._prepared = False  # what comes back may be another database
            if self._outage.failed(time.monotonic()):
                logger.warning("predictions are not recorded: %s", reason(error))
            return False
        if (seconds := self._outage.succeeded(time.monotonic())) is not None:
            logger.warning("predictions are recorded again, after %.0f s", seconds)
        return True

    def _write(self) -> None:
        portion = self._portion()
        try:
            self._database.write(portion)
        except REFUSED as error:
            logger.warning("not all of %d predictions can be recorded: %s", len(portion), reason(error))
            self._write_each(portion)
        else:
            self._done(portion, "written")

    def _write_each(self, rows: Sequence[Row]) -> None:
        """So that one which the database refuses takes no other with it."""
        for row in rows:
            try:
                self._database.write([row])
            except REFUSED:
                self._done([row], "dropped")
            else:
                self._done([row], "written")

    def _done(self, rows: Sequence[Row], outcome: str) -> None:
        """These, the oldest, leave the line."""
        if outcome == "written":
            self.last_write = time.monotonic()
        for _ in rows:
            self._line.release(rows=1, image_bytes=_held(self._rows.popleft()))
        self._count(outcome, len(rows))

    def _portion(self) -> list[Row]:
        """The oldest rows, at least one; they leave the line when they are written."""
        portion: list[Row] = []
        room = PORTION_BYTES
        for row in self._rows:
            room -= _held(row)
            if portion and (room < 0 or len(portion) >= PORTION_ROWS):
                break
            portion.append(row)
        return portion

    def _trim(self) -> None:
        """One portion. That this fails is no outage: it is said, and tried again as if all had been done."""
        oldest, deleted = self._retention.oldest(time.time_ns() // 1000), 0
        try:
            deleted = self._database.trim(oldest, self._retention.rows, TRIM_ROWS)
        except Exception as error:
            self._prepared = False  # as in `_attempt`
            logger.warning("old predictions are not deleted: %s", reason(error))
        self._retention.trimmed(deleted, time.monotonic())

    def _drop(self, rows: int) -> None:
        self._line.release(rows=rows)
        self._count("dropped", rows)


def _held(row: Row) -> int:
    return len(row["image"] or b"")
