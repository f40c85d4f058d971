"""The one table, and how its database is reached: every call to it ends within a bound."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

STATEMENT_SECONDS = 5.0
LOCK_SECONDS = 1.0
MAX_READINGS = 4  # at once; one connection more is the writer's

METADATA = MetaData()
# Bytewise on every server: in some locales' order digits do not sort as ids do.
_ID = String(32).with_variant(String(32, collation="C"), "postgresql")
PREDICTIONS = Table(
    "predictions",
    METADATA,
    Column(
        "id", _ID, primary_key=True, comment="16 hexadecimal digits of the time, then what makes it unique"
    ),
    Column("time", DateTime(timezone=True), nullable=False, comment="of the answer; in SQLite, text in UTC"),
    # Ids of ours sort nearly as the times do. An index of what comes in no order, as hashes do, would write
    # another page for each row, which took longer than all the rest of writing it.
    Column("request_id", Text, nullable=False, index=True),
    Column("api_key", Text, comment="the name of the caller's key, where keys are on"),
    Column("route", Text, nullable=False, comment="v1, flask or v2"),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("image_sha256", String(64), nullable=False, comment="of the bytes as sent"),
    Column("image_bytes", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("label", Text, nullable=False),
    Column("index", Integer, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("uncertain", Boolean, nullable=False),
    Column("decode_seconds", Float, nullable=False),
    Column("queue_seconds", Float, nullable=False),
    Column("infer_seconds", Float, nullable=False),
    Column("batch_size", Integer, nullable=False),
    Column("cache", Text, comment="hit, coalesced or miss, where answers are kept"),
    Column("image", LargeBinary, comment="the bytes as sent, where record_images is on"),
    sqlite_with_rowid=False,  # new rows come behind the others: one tree to write to and not two
)
SHOWN = [column for column in PREDICTIONS.columns if column.name != "image"]


def engine_of(url: str) -> Engine:
    """Connects to nothing yet. Raises ImportError without the driver, and others where it is no URL."""
    parsed = make_url(url)
    return _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed)


def _sqlite(url: URL) -> Engine:
    """A connection for each use: one that is kept would go on writing to a file that was deleted."""
    engine = create_engine(
        url, poolclass=NullPool, hide_parameters=True, connect_args={"timeout": LOCK_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # Readers and the writer do not wait for each other.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _postgresql(url: URL) -> Engine:
    return create_engine(
        url,
        hide_parameters=True,
        pool_size=1,
        max_overflow=MAX_READINGS,
        pool_timeout=STATEMENT_SECONDS,
        pool_pre_ping=True,
        connect_args={name: value for name, value in _LIBPQ.items() if name not in url.query},
    )


_LIBPQ: dict[str, Any] = {
    "connect_timeout": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "rotulo",
    "client_encoding": "utf8",  # whatever the server stores text in; of SQL_ASCII, psycopg would make bytes
    "options": f"-c statement_timeout={STATEMENT_SECONDS:.0f}s -c lock_timeout={LOCK_SECONDS:.0f}s",
}
