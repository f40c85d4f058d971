"""Rows as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from service.record.noted import Row
from service.record.schema import SHOWN

COLUMNS = tuple(column.name for column in SHOWN)
# What a spreadsheet reads as the begin of a formula (OWASP, "CSV Injection"), the full-width forms too.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def json_page(rows: Sequence[Row], limit: int) -> bytes:
    """The first `limit` of the rows, and where the next page begins if there are more."""
    shown = [{**row, "time": iso(row["time"])} for row in rows[:limit]]
    cursor = shown[-1]["id"] if len(rows) > limit else None
    return json.dumps({"predictions": shown, "next": cursor}, ensure_ascii=False).encode()


def csv_header() -> bytes:
    """The names of the columns."""
    return _lines([COLUMNS])


def csv_lines(rows: Iterable[Row]) -> bytes:
    """A line each, in the order of COLUMNS."""
    return _lines([[_cell(row[name]) for name in COLUMNS] for row in rows])


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC; SQLite gives a moment without its zone."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.lstrip().startswith(_FORMULA) else value
    if isinstance(value, datetime):
        return iso(value)
    return str(value).lower() if isinstance(value, bool) else value


def _lines(cells: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(cells)
    return text.getvalue().encode()
