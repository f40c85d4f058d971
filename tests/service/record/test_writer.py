"""The record's writer, step by step: without its thread, and with answers that come while it writes."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.record import writer as record_writer
from service.record.database import Database
from service.record.line import Line
from service.record.noted import Noted, Row, RowMaker
from service.record.policy import TRIM_EVERY_SECONDS, TRIM_ROWS, Retention
from service.record.writer import PORTION_ROWS, Writer
from tests.conftest import ImageMaker
from tests.service.record.databases import SqliteFile
from tests.service.record.test_faults import noted_at


class Fake(Database):
    """Takes everything; `arrivals`: how many answers come during each write, and then none do."""

    def __init__(self, line: Line, noted: Noted, arrivals: list[int]) -> None:
        self.steps: list[tuple[str, int]] = []
        self.deleted = [0]
        self._line, self._noted, self._arrivals = line, noted, arrivals

    def prepare(self) -> None:
        pass

    def write(self, rows: Sequence[Row]) -> None:
        self.steps.append(("write", len(rows)))
        for _ in range(self._arrivals.pop(0) if self._arrivals else 0):
            assert self._line.offer(self._noted)

    def trim(self, oldest: int, keep: int, at_most: int) -> int:
        assert keep < oldest
        self.steps.append(("trim", at_most))
        return self.deleted.pop(0)


class Stage:
    """A writer whose thread never starts, and what it works with."""

    def __init__(self, noted: Noted) -> None:
        self.line = Line(100_000, 1_000_000_000)
        self.retention = Retention(days=1, rows=10)
        self.counted: Counter[str] = Counter()
        self._noted = noted

    def writer(self, database: Database) -> Writer:
        return Writer(self.line, database, RowMaker(False), self.retention, self._count)

    def offer(self, rows: int) -> None:
        for _ in range(rows):
            assert self.line.offer(self._noted)

    def fake(self, arrivals: list[int]) -> Fake:
        return Fake(self.line, self._noted, arrivals)

    def _count(self, outcome: str, rows: int) -> None:
        self.counted[outcome] += rows


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, make_image: ImageMaker) -> Stage:
    monkeypatch.setattr(threading.Thread, "start", lambda _: None)
    return Stage(noted_at(0.0, make_image()))


def work(writer: Writer) -> None:
    writer._digest()
    writer._work()


def test_answers_that_come_one_by_one_are_not_written_one_by_one(stage: Stage) -> None:
    fake = stage.fake([1] * 50)
    writer = stage.writer(fake)
    stage.offer(1)
    work(writer)
    assert fake.steps == [("write", 1), ("trim", TRIM_ROWS)]
    assert stage.line.rows == 1  # for the next writing


def test_full_portions_are_written_at_once(stage: Stage) -> None:
    fake = stage.fake([PORTION_ROWS, 10])
    writer = stage.writer(fake)
    stage.offer(2 * PORTION_ROWS)
    work(writer)
    assert [rows for step, rows in fake.steps if step == "write"] == [PORTION_ROWS] * 3
    assert stage.line.rows == 10


def test_what_is_too_old_is_deleted_while_answers_keep_coming(stage: Stage) -> None:
    fake = stage.fake([PORTION_ROWS] * 5)
    fake.deleted = [TRIM_ROWS, TRIM_ROWS, TRIM_ROWS - 1]
    writer = stage.writer(fake)
    stage.offer(PORTION_ROWS)
    work(writer)
    assert [step for step, _ in fake.steps] == ["write", "trim"] * 3 + ["write"] * 3


def test_full_portions_of_what_is_too_old_are_deleted_at_once_where_nothing_waits(stage: Stage) -> None:
    fake = stage.fake([])
    fake.deleted = [TRIM_ROWS, TRIM_ROWS, 0]
    work(stage.writer(fake))
    assert [step for step, _ in fake.steps] == ["trim"] * 3


def test_rows_that_cannot_be_deleted_are_no_outage_and_are_tried_again_in_a_while(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> int:
        raise sqlite3.OperationalError("permission denied")

    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time_ns=time.time_ns)
    monkeypatch.setattr(record_writer, "time", clock)
    fake = stage.fake([])
    monkeypatch.setattr(fake, "trim", refused)
    writer = stage.writer(fake)
    for waited in (0.0, 1.0, TRIM_EVERY_SECONDS):
        now[0] += waited
        stage.offer(1)
        work(writer)
    assert stage.counted == {"written": 3}
    said = [record.getMessage() for record in caplog.records]
    assert said == ["old predictions are not deleted: permission denied"] * 2


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [("label", None, "label"), ("label", "\ud800", "surrogates"), ("index", 2**63, "too large")],
)
def test_a_row_that_is_refused_or_cannot_even_be_sent_takes_no_other_with_it(
    stage: Stage,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    column: str,
    value: str | int | None,
    reason: str,
) -> None:
    database = SqliteFile(tmp_path / "p.db")
    writer = stage.writer(Database(database.url))
    stage.retention.rows = 1000
    stage.offer(5)
    writer._digest()
    writer._rows[2][column] = value
    writer._work()
    assert stage.counted == {"written": 4, "dropped": 1}
    assert stage.line.rows == 0
    assert database.rows("SELECT count(*) FROM predictions") == [(4,)]
    (said,) = [record.getMessage() for record in caplog.records]
    assert reason in said


def test_a_portion_is_full_by_the_bytes_of_its_images_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = stage.fake([])
    writer = Writer(stage.line, fake, RowMaker(True), stage.retention, lambda *_: None)
    monkeypatch.setattr(record_writer, "PORTION_BYTES", 1)
    stage.offer(3)
    work(writer)
    assert [rows for step, rows in fake.steps if step == "write"] == [1, 1, 1]
