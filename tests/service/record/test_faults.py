"""What happens to predictions, and to the record, when its database is locked, full, gone or killed."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from batching import Answered
from models.images import Pixels, prepare
from models.predictor import Prediction
from service.record import database as record_database
from service.record import reader, recorder
from service.record.database import Database
from service.record.noted import Noted, Row, RowMaker
from service.record.schema import MAX_READINGS
from service.serving.served import Classified
from tests.conftest import ImageMaker
from tests.live import TOKEN, LiveService, Response, serve
from tests.service.fakes import PixelEngine, predictor_on
from tests.service.record.databases import Cluster, RecordDatabase, SqliteFile
from tests.service.test_lifecycle import post, started

PREDICT, RECORD = "/v1/models/cifar10/predict", "/v1/predictions"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
AWAY, BACK = "predictions are not recorded:", "predictions are recorded again"


@contextlib.contextmanager
def serving(url: str, **settings: Any) -> Iterator[LiveService]:
    with serve([predictor_on(PixelEngine())], record_url=url, **settings) as live:
        yield live


def predict(live: LiveService, image: bytes, number: int) -> None:
    """Answered, whatever the record does."""
    assert live.request("POST", PREDICT, image, {"X-Request-Id": f"r-{number}"}).status == 200


def written(live: LiveService, rows: int) -> None:
    live.wait_for_metric(rows, "rotulo_record_rows_total", outcome="written")


def read(live: LiveService, query: str = "") -> Response:
    return live.request("GET", RECORD + query, headers=ADMIN)


def until(live: LiveService, holds: Callable[[], bool]) -> None:
    """Ask the service for its health until it holds; bounded."""
    for _ in range(20_000):
        if holds():
            return
        live.request("GET", "/healthz")
    raise AssertionError("it never came to that")


def said(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in record.getMessage() for record in caplog.records)


def ids(database: RecordDatabase) -> Counter[str]:
    return Counter(str(row[0]) for row in database.rows("SELECT request_id FROM predictions"))


def test_while_the_database_is_away_predictions_go_on_and_then_all_of_them_are_recorded_once(
    database: RecordDatabase, make_image: ImageMaker, caplog: pytest.LogCaptureFixture
) -> None:
    image = make_image()
    with serving(database.url) as live:
        predict(live, image, 0)
        written(live, 1)
        with database.away():
            predict(live, image, 1)
            until(live, lambda: said(caplog, AWAY) > 0)
            for number in range(2, 20):
                predict(live, image, number)
            response = read(live)
            assert live.metric("rotulo_record_waiting") == 19
        assert response.status == (200 if database.reads_while_away else 503)
        if response.status == 503:
            assert response.json()["type"] == "urn:rotulo:problem:record-away"
            assert "retry-after" in response.headers
        written(live, 20)
        assert live.metric("rotulo_record_waiting") == 0
        assert live.metric("rotulo_record_last_write_age_seconds") >= 0
    assert ids(database) == Counter(f"r-{number}" for number in range(20))
    assert (said(caplog, AWAY), said(caplog, BACK)) == (1, 1)


def test_a_server_killed_and_started_again_under_predictions_loses_none_and_doubles_none(
    cluster: Cluster, make_image: ImageMaker
) -> None:
    database, image, stop = cluster.database(), make_image(), threading.Event()
    sent = itertools.count()
    with serving(database.url) as live:

        def keep_asking() -> None:
            while not stop.is_set():
                predict(live, image, next(sent))

        thread = threading.Thread(target=keep_asking)
        thread.start()
        try:
            for _ in range(3):
                rows = live.metric("rotulo_record_rows_total", outcome="written")
                with database.away():
                    until(live, lambda: live.metric("rotulo_record_waiting") > 20)
                until(live, lambda: live.metric("rotulo_record_rows_total", outcome="written") > rows)  # noqa: B023
        finally:
            stop.set()
            thread.join()
    assert ids(database) == Counter(f"r-{number}" for number in range(next(sent)))


def test_a_directory_that_goes_away_and_comes_back_is_written_to_again(
    tmp_path: Path, make_image: ImageMaker, caplog: pytest.LogCaptureFixture
) -> None:
    image, directory = make_image(), tmp_path / "record"
    directory.mkdir()
    database = SqliteFile(directory / "p.db")
    with serving(database.url) as live:
        predict(live, image, 0)
        written(live, 1)
        shutil.rmtree(directory)
        predict(live, image, 1)
        until(live, lambda: said(caplog, AWAY) > 0)
        assert read(live).status == 503
        directory.mkdir()
        written(live, 2)
        assert [row["request_id"] for row in read(live).json()["predictions"]] == ["r-1"]
    assert ids(database) == Counter(["r-1"])


def test_a_database_that_is_not_there_at_the_start_is_waited_for(
    tmp_path: Path, make_image: ImageMaker, caplog: pytest.LogCaptureFixture
) -> None:
    database = SqliteFile(tmp_path / "later" / "p.db")
    with serving(database.url) as live:
        until(live, lambda: said(caplog, AWAY) > 0)
        predict(live, make_image(), 0)
        (tmp_path / "later").mkdir()
        written(live, 1)
    assert ids(database) == Counter(["r-0"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KB."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", where],  # noqa: S607
        stderr=subprocess.DEVNULL,
    )
    if not mounted:
        pytest.skip("only root may mount a small file system")
    try:
        yield where
    finally:
        subprocess.check_call(["umount", "--lazy", where])  # noqa: S607


def test_a_full_disk_costs_no_prediction_and_is_written_to_once_there_is_room(
    small_disk: Path, make_image: ImageMaker, caplog: pytest.LogCaptureFixture
) -> None:
    image, ballast = make_image(), small_disk / "ballast"
    database = SqliteFile(small_disk / "p.db")
    with serving(database.url) as live:
        predict(live, image, 0)
        written(live, 1)
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as full:
            while full.write(bytes(1024)):
                pass
        for number in range(1, 40):
            predict(live, image, number)
        until(live, lambda: said(caplog, AWAY) > 0)
        ballast.unlink()
        written(live, 40)
        assert len(read(live).json()["predictions"]) == 40
    assert ids(database) == Counter(f"r-{number}" for number in range(40))


def test_more_than_may_wait_is_dropped_and_counted_and_answered(
    tmp_path: Path, make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MAX_ROWS", 5)
    image, database = make_image(), SqliteFile(tmp_path / "p.db")
    with serving(database.url) as live:
        predict(live, image, 0)
        written(live, 1)
        with database.away():
            for number in range(1, 10):
                predict(live, image, number)
            assert live.metric("rotulo_record_rows_total", outcome="dropped") == 4
        written(live, 6)
    assert ids(database) == Counter(f"r-{number}" for number in range(6))


def test_a_stop_while_the_database_is_away_ends_and_says_what_is_lost(
    database: RecordDatabase, make_image: ImageMaker, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(database.url) as live:
        predict(live, make_image(), 0)
        written(live, 1)
        with database.away():
            predict(live, make_image(), 1)
            live.stop()
    assert said(caplog, "1 predictions are not recorded: the service stops") == 1
    assert ids(database) == Counter(["r-0"])


def test_a_stop_does_not_wait_for_a_database_that_does_not_answer(
    tmp_path: Path, make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(Database, "write", lambda *_: answer.wait())
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.1)
    with serving(SqliteFile(tmp_path / "p.db").url) as live:
        predict(live, make_image(), 0)
        live.stop()
        assert said(caplog, "1 predictions may not be recorded") == 1
    answer.set()


def test_rows_that_the_database_will_never_take_are_dropped_and_the_next_are_written(
    tmp_path: Path, make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = RowMaker.rows

    def rows(self: RowMaker, noted: Noted) -> list[Row]:
        return [{**row, "label": None} if noted.request_id == "r-0" else row for row in made(self, noted)]

    monkeypatch.setattr(RowMaker, "rows", rows)
    database = SqliteFile(tmp_path / "p.db")
    with serving(database.url) as live:
        predict(live, make_image(), 0)
        live.wait_for_metric(1, "rotulo_record_rows_total", outcome="dropped")
        predict(live, make_image(), 1)
        written(live, 1)
    assert ids(database) == Counter(["r-1"])


@pytest.mark.parametrize(
    ("encoding", "kept"), [("LATIN1", ["caf\xe9"]), ("SQL_ASCII", ["caf\xe9", "\u732b"])]
)
def test_a_database_in_another_encoding_takes_what_that_can_hold_and_shows_it_as_text(
    cluster: Cluster, make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch, encoding: str, kept: list[str]
) -> None:
    made, labels = RowMaker.rows, iter(["caf\xe9", "\u732b"])
    monkeypatch.setattr(
        RowMaker, "rows", lambda *args: [{**row, "label": next(labels)} for row in made(*args)]
    )
    with serving(cluster.database(encoding).url) as live:
        for number in range(2):
            predict(live, make_image(), number)
        written(live, len(kept))
        live.wait_for_metric(2 - len(kept), "rotulo_record_rows_total", outcome="dropped")
        assert sorted(row["label"] for row in read(live).json()["predictions"]) == kept


def test_a_query_that_takes_too_long_is_ended_and_the_writer_is_not_held(
    tmp_path: Path, make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    database = SqliteFile(tmp_path / "p.db")
    with serving(database.url) as live:
        predict(live, make_image(), 0)
        written(live, 1)
        (row,) = RowMaker(keep_images=False).rows(noted_at(0.0, make_image()))
        Database(database.url).write([{**row, "id": f"{number:032x}"} for number in range(20_000)])
        monkeypatch.setattr(record_database, "STATEMENT_SECONDS", -1.0)
        for _ in range(2):
            assert read(live, "?label=none").status == 503
        assert said(caplog, "the record cannot be read: interrupted") == 1
        monkeypatch.undo()
        assert read(live, "?label=none").status == 200
        predict(live, make_image(), 1)
        written(live, 2)


@pytest.mark.parametrize(("rendering", "query"), [("json_page", ""), ("csv_lines", "?format=csv")])
def test_rows_that_cannot_be_shown_are_not_taken_for_a_database_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rendering: str, query: str
) -> None:
    def broken(*_: object) -> bytes:
        raise ValueError("cannot be shown")

    monkeypatch.setattr(reader, rendering, broken)
    with serving(SqliteFile(tmp_path / "p.db").url) as live:
        until(live, lambda: read(live, query).status == 500)


def test_a_table_locked_by_another_is_a_503_within_a_bound(cluster: Cluster, make_image: ImageMaker) -> None:
    database = cluster.database()
    with serving(database.url) as live:
        predict(live, make_image(), 0)
        written(live, 1)
        with database.locked():
            assert read(live).status == 503
            predict(live, make_image(), 1)
        written(live, 2)


def test_no_more_than_a_few_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_READINGS", 0)
    with serving(SqliteFile(tmp_path / "p.db").url) as live:
        response = read(live)
    assert (response.status, response.json()["type"]) == (503, "urn:rotulo:problem:overloaded")


def test_a_caller_who_leaves_in_the_middle_of_a_csv_makes_room_for_the_next(
    tmp_path: Path, make_image: ImageMaker
) -> None:
    database = SqliteFile(tmp_path / "p.db")
    with serving(database.url) as live:
        until(live, lambda: read(live).status == 200)
        (row,) = RowMaker(keep_images=False).rows(noted_at(0.0, make_image()))
        Database(database.url).write([{**row, "id": f"{number:032x}"} for number in range(40_000)])
        for _ in range(MAX_READINGS):
            with contextlib.closing(live.connection()) as connection:
                connection.request("GET", f"{RECORD}?format=csv", headers=ADMIN)
                assert connection.getresponse().read(1000)
        until(live, lambda: read(live).status == 200)


def test_rows_that_are_written_again_are_there_once(database: RecordDatabase, make_image: ImageMaker) -> None:
    kept, rows = Database(database.url), RowMaker(keep_images=False).rows(noted_at(0.0, make_image()))
    kept.prepare()
    for _ in range(2):
        kept.write(rows)
    kept.close()
    assert ids(database) == Counter(["r"])


def test_a_csv_whose_rest_cannot_be_read_is_cut_off(
    tmp_path: Path, make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PAGE_ROWS", 2)
    page = Database.page

    def first_page(self: Database, filters: Any, before: str | None, limit: int) -> list[Row]:
        if before is not None:
            raise sqlite3.OperationalError("disk I/O error")
        return page(self, filters, before, limit)

    with serving(SqliteFile(tmp_path / "p.db").url) as live:
        for number in range(5):
            predict(live, make_image(), number)
        written(live, 5)
        assert read(live, "?format=csv").body.count(b"\r\n") == 6
        monkeypatch.setattr(Database, "page", first_page)
        with pytest.raises(http.client.IncompleteRead) as cut:
            read(live, "?format=csv")
        assert cut.value.partial.count(b"\r\n") == 3
        assert read(live).status == 200


def noted_at(days: float, image: bytes) -> Noted:
    """An answer of so many days ago."""
    predictor = predictor_on(PixelEngine())
    (prediction,) = predictor.predict([prepare(image, predictor.manifest.preprocessing)])
    assert isinstance(prediction, Prediction)
    answers: list[tuple[bytes | Pixels, Classified]] = [
        (image, Classified(Answered(prediction, 0.0, 0.0, 1), 0.0, 8, 8))
    ]
    return Noted(time.time_ns() - int(days * 86_400e9), "r", None, "v1", predictor.manifest, answers)


def test_rows_too_old_or_too_many_are_deleted_in_portions(
    database: RecordDatabase, make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.record.writer.TRIM_ROWS", 7)
    monkeypatch.setattr("service.record.policy.TRIM_ROWS", 7)
    image, maker, kept = make_image(), RowMaker(keep_images=False), Database(database.url)
    kept.prepare()
    kept.write([row for days in (9.0, 5.1, 4.9, *(1.0,) * 20) for row in maker.rows(noted_at(days, image))])
    kept.close()
    with serving(database.url, record_days=5) as live:
        until(live, lambda: len(read(live).json()["predictions"]) == 21)
    with serving(database.url, record_days=5, record_rows=4) as live:
        until(live, lambda: len(read(live).json()["predictions"]) == 4)
        predict(live, make_image(), 1)
        written(live, 1)
        assert len(read(live).json()["predictions"]) == 5  # until it looks again, in a minute


@pytest.fixture
def filled(database: RecordDatabase, make_image: ImageMaker) -> Iterator[Database]:
    """Three answers of nine days ago, and twenty of yesterday."""
    kept, maker = Database(database.url), RowMaker(keep_images=False)
    kept.prepare()
    days = (9.0,) * 3 + (1.0,) * 20
    kept.write([row for ago in days for row in maker.rows(noted_at(ago, make_image()))])
    yield kept
    kept.close()


def days_ago(days: int) -> int:
    return time.time_ns() // 1000 - days * 86_400_000_000


def test_what_is_too_old_is_deleted_where_the_newest_cannot_be_counted_in_time(
    database: RecordDatabase, filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(*_: object) -> str:
        raise TimeoutError("canceling statement due to statement timeout")

    monkeypatch.setattr(Database, "_newest_beyond", too_long)
    with pytest.raises(TimeoutError):
        filled.trim(days_ago(5), keep=4, at_most=7)
    assert database.rows("SELECT count(*) FROM predictions") == [(20,)]


def test_the_newest_are_counted_once_for_all_portions_and_again_in_the_next_round(
    filled: Database, make_image: ImageMaker
) -> None:
    counted: list[str] = []

    @event.listens_for(filled._engine, "before_cursor_execute")
    def note(_: object, __: object, statement: str, *___: object) -> None:
        if "OFFSET" in statement and "DELETE" not in statement:
            counted.append(statement)

    assert [filled.trim(days_ago(5), 4, 7) for _ in range(3)] == [3 + 7, 7, 2]
    assert len(counted) == 1
    filled.write(RowMaker(keep_images=False).rows(noted_at(0.0, make_image())))
    assert filled.trim(days_ago(5), 4, 7) == 1
    assert len(counted) == 2


def test_a_process_whose_database_is_locked_ends_with_0(
    models_dir: Path, tmp_path: Path, make_image: ImageMaker
) -> None:
    database = SqliteFile(tmp_path / "p.db")
    flags = ("--models-dir", str(models_dir), "--record-url", database.url)
    with started(*flags) as (process, port, _), database.away():
        assert post(port, make_image()) == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
