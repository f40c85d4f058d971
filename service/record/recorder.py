"""What the rest of the service knows of the record: note an answer, read, close."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from starlette.types import Scope

from models.images import Pixels
from service.errors import RecordOff
from service.metrics import Metrics
from service.process.background import in_thread
from service.record.line import Line
from service.record.noted import Noted, RowMaker
from service.record.policy import Retention
from service.serving.served import Classified, ServedModel
from service.settings import BadSettings, Settings

if TYPE_CHECKING:
    from service.record.reader import Reader

MAX_ROWS = 10_000
MAX_BYTES = 67_108_864
FLUSH_SECONDS = 5.0


class NoRecord:
    """The record that is off, as is the default."""

    def answered(
        self,
        scope: Scope,
        route: str,
        model: ServedModel,
        images: Sequence[bytes | Pixels],
        results: Sequence[Classified | Exception],
    ) -> None:
        """These images of one request are answered so, in order; the errors among them are no rows."""

    @property
    def reader(self) -> Reader:
        """Raises RecordOff."""
        raise RecordOff("no record is kept here; --record-url turns it on")

    async def close(self) -> None:
        """Write what waits, within FLUSH_SECONDS."""


class Record(NoRecord):
    """The record that is on. `answered` belongs to the event loop, and costs it an append."""

    def __init__(self, settings: Settings, url: str, metrics: Metrics) -> None:
        from service.record.database import Database
        from service.record.reader import Reader
        from service.record.writer import Writer

        database = Database(url)
        self._line = Line(MAX_ROWS, MAX_BYTES)
        self._count = metrics.recorded
        self._reader = Reader(database)
        self._writer = Writer(
            self._line,
            database,
            RowMaker(settings.record_images),
            Retention(settings.record_days, settings.record_rows),
            metrics.recorded,
        )
        metrics.watch_record(lambda: self._line.rows, lambda: time.monotonic() - self._writer.last_write)

    def answered(
        self,
        scope: Scope,
        route: str,
        model: ServedModel,
        images: Sequence[bytes | Pixels],
        results: Sequence[Classified | Exception],
    ) -> None:
        pairs = zip(images, results, strict=True)
        answers = [(image, result) for image, result in pairs if isinstance(result, Classified)]
        if not answers:
            return
        state = scope["state"]
        key = state.get("api_key_name")
        noted = Noted(time.time_ns(), state["request_id"], key, route, model.predictor.manifest, answers)
        if self._line.offer(noted):
            self._writer.wake()
        else:
            self._count("dropped", len(answers))

    @property
    def reader(self) -> Reader:
        return self._reader

    async def close(self) -> None:
        await in_thread(partial(self._writer.close, FLUSH_SECONDS))


def record_of(settings: Settings, metrics: Metrics) -> NoRecord:
    """Raises BadSettings where what the record needs is not installed."""
    if settings.record_url is None:
        return NoRecord()
    try:
        return Record(settings, settings.record_url.get_secret_value(), metrics)
    except ImportError as error:
        hint = "pip install 'rotulo[record]', or for PostgreSQL 'rotulo[postgres]'"
        raise BadSettings(f"--record-url: {error}; {hint}") from error
    except Exception as error:  # what it says may hold a password
        raise BadSettings("--record-url: it is not a URL that SQLAlchemy understands") from error
