"""Reading the record: in threads of their own, few at once, each bounded in time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from service.background import in_thread
from service.errors import Overloaded, RecordAway
from service.record.database import Database
from service.record.export import csv_header, csv_lines, json_page
from service.record.filters import Filters
from service.record.noted import Row
from service.record.schema import MAX_READINGS, STATEMENT_SECONDS

PAGE_ROWS = 500

Result = TypeVar("Result")


class Reader:
    """All methods belong to the event loop, and raise Overloaded and RecordAway."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readings = 0

    async def page(self, filters: Filters, cursor: str | None, limit: int) -> bytes:
        """One page as JSON."""
        with self._one_more():
            work = partial(self._database.page, filters, cursor, limit + 1)
            return await _read(lambda: json_page(work(), limit))

    async def csv(self, filters: Filters, cursor: str | None, limit: int) -> AsyncGenerator[bytes, None]:
        """The lines, page by page, as fast as they are sent; the first piece has the names of the columns."""
        with self._one_more():
            names = csv_header()
            while limit > 0:
                size = min(limit, PAGE_ROWS)
                rows, lines = await _read(partial(self._csv_page, filters, cursor, size))
                yield names + lines
                if len(rows) < size:
                    return
                names, cursor, limit = b"", rows[-1]["id"], limit - size

    def _csv_page(self, filters: Filters, cursor: str | None, limit: int) -> tuple[list[Row], bytes]:
        rows = self._database.page(filters, cursor, limit)
        return rows, csv_lines(rows)

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        if self._readings >= MAX_READINGS:
            raise Overloaded("the record is being read by others")
        self._readings += 1
        try:
            yield
        finally:
            self._readings -= 1


async def _read(work: Callable[[], Result]) -> Result:
    try:
        return await in_thread(work)
    except Exception as error:  # a driver may raise anything
        raise RecordAway(
            f"the database is away, or took over {STATEMENT_SECONDS:.0f} s: try later, or narrow the query"
        ) from error
