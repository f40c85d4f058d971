"""What the record asks of its database. Every call may block, for seconds, and may raise anything."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from service.record.filters import Filters
from service.record.noted import Row, id_at, microseconds_of, storable
from service.record.schema import METADATA, PREDICTIONS, SHOWN, STATEMENT_SECONDS, engine_of

# These rows will never be taken; the last two come from drivers, which find no way to send them.
REFUSED = (DataError, IntegrityError, UnicodeError, OverflowError)

_ID = PREDICTIONS.c.id
_SQLITE_STEPS = 10_000  # between two looks at the clock: about a millisecond


def reason(error: Exception) -> str:
    """One line, without the statement and the values that SQLAlchemy would add."""
    words = str(getattr(error, "orig", None) or error).strip()
    return words.partition("\n")[0] or type(error).__name__


class Database:
    """One table in SQLite or PostgreSQL. May be used from several threads."""

    def __init__(self, url: str) -> None:
        """Connects to nothing yet; raises as `engine_of`."""
        self._engine = engine_of(url)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        self._beyond: str | None = None  # the newest id that is to go, while `trim` deletes in portions
        dialect: Any = sqlite if self._is_sqlite else postgresql
        insert = dialect.insert(PREDICTIONS).on_conflict_do_nothing()
        self._insert = str(insert.compile(dialect=self._engine.dialect))

    def prepare(self) -> None:
        """Make the table where there is none; forget what was known of another."""
        self._beyond = None
        METADATA.create_all(self._engine)

    def write(self, rows: Sequence[Row]) -> None:
        """All of them or none. Rows that are there already, since only the answer to their commit was lost,
        are not written twice.
        """
        values = [_sqlite_values(row) for row in rows] if self._is_sqlite else list(rows)
        with self._engine.begin() as connection:
            connection.exec_driver_sql(self._insert, values)

    def trim(self, oldest: int, keep: int, at_most: int) -> int:
        """Delete what is older than `oldest`, in microseconds since 1970, then all but the newest `keep`.

        Returns how many rows were deleted. The newest are counted once for all portions, and last: of very
        many, that takes longer than a statement may, and raises.
        """
        deleted = self._delete(id_at(oldest) > _ID, at_most)
        if deleted >= at_most:
            return deleted
        if self._beyond is None:
            self._beyond = self._newest_beyond(keep)
        portion = self._delete(self._beyond >= _ID, at_most)
        if portion < at_most:
            self._beyond = None
        return deleted + portion

    def _newest_beyond(self, keep: int) -> str:
        """The id that the newest `keep` follow; before every id where there are no more."""
        with self._engine.connect() as connection:
            return connection.scalar(select(_ID).order_by(_ID.desc()).offset(keep).limit(1)) or ""

    def _delete(self, unwanted: ColumnElement[bool], at_most: int) -> int:
        """The oldest of them."""
        ids = select(_ID).where(unwanted).order_by(_ID).limit(at_most)
        with self._engine.begin() as connection:
            return connection.execute(delete(PREDICTIONS).where(_ID.in_(ids))).rowcount

    def page(self, filters: Filters, before: str | None, limit: int) -> list[Row]:
        """Newest first, without images; `before` is the id of the row that the page before ended with."""
        with self._reading() as connection:
            return [dict(row) for row in connection.execute(_query(filters, before, limit)).mappings()]

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """PostgreSQL keeps the time by itself."""
        with self._engine.connect() as connection:
            if self._is_sqlite:
                deadline = time.monotonic() + STATEMENT_SECONDS
                raw: Any = connection.connection.driver_connection
                raw.set_progress_handler(lambda: time.monotonic() > deadline, _SQLITE_STEPS)
            yield connection


def _sqlite_values(row: Row) -> tuple[Any, ...]:
    """In the order of the columns, the time as SQLAlchemy stores it; its own way takes half as long again."""
    time = row["time"].replace(tzinfo=None).isoformat(" ", "microseconds")
    return tuple({**row, "time": time}.values())


def _query(filters: Filters, before: str | None, limit: int) -> Select[Any]:
    query = select(*SHOWN).order_by(_ID.desc()).limit(limit)
    for name in ("model", "version", "label", "request_id", "image_sha256"):
        if (wanted := getattr(filters, name)) is not None:
            query = query.where(PREDICTIONS.c[name] == storable(wanted))
    if filters.uncertain is not None:
        query = query.where(PREDICTIONS.c.uncertain == filters.uncertain)
    if filters.min_confidence is not None:
        query = query.where(PREDICTIONS.c.confidence >= filters.min_confidence)
    if filters.max_confidence is not None:
        query = query.where(PREDICTIONS.c.confidence <= filters.max_confidence)
    if filters.since is not None:
        query = query.where(id_at(microseconds_of(filters.since)) <= _ID)
    if filters.until is not None:
        query = query.where(id_at(microseconds_of(filters.until)) > _ID)
    return query if before is None else query.where(before > _ID)
