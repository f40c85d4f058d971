"""Reading the record: in threads of their own, few at once, each bounded in time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import partial

from service.errors import Overloaded, RecordAway
from service.process.background import in_thread
from service.record.database import Database, reason
from service.record.export import csv_header, csv_lines, json_page
from service.record.filters import Filters
from service.record.noted import Row
from service.record.policy import QUIET_SECONDS
from service.record.schema import MAX_READINGS, STATEMENT_SECONDS

logger = logging.getLogger("rotulo")

PAGE_ROWS = 500


class Reader:
    """All methods belong to the event loop, and raise Overloaded and RecordAway."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readings = 0
        self._quiet_until = -math.inf

    async def page(self, filters: Filters, cursor: str | None, limit: int) -> bytes:
        """One page as JSON."""
        with self._one_more():
            rows = await self._read(filters, cursor, limit + 1)
            return await in_thread(partial(json_page, rows, limit))

    async def csv(self, filters: Filters, cursor: str | None, limit: int) -> AsyncGenerator[bytes, None]:
        """The lines, page by page, as fast as they are sent; the first piece has the names of the columns."""
        with self._one_more():
            names = csv_header()
            while limit > 0:
                size = min(limit, PAGE_ROWS)
                rows = await self._read(filters, cursor, size)
                yield names + await in_thread(partial(csv_lines, rows))
                if len(rows) < size:
                    return
                names, cursor, limit = b"", rows[-1]["id"], limit - size

    async def _read(self, filters: Filters, cursor: str | None, limit: int) -> list[Row]:
        try:
            return await in_thread(partial(self._database.page, filters, cursor, limit))
        except Exception as error:  # a driver may raise anything
            self._say(error)
            took = f"took over {STATEMENT_SECONDS:.0f} s"
            raise RecordAway(f"the database is away, or {took}: try later, or narrow the query") from error

    def _say(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            logger.warning("the record cannot be read: %s", reason(error))

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        if self._readings >= MAX_READINGS:
            raise Overloaded("the record is being read by others")
        self._readings += 1
        try:
            yield
        finally:
            self._readings -= 1
