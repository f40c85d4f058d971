"""The record's rules, without a clock, a thread or a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching import Answered
from models.images import prepare
from models.predictor import Predictor
from service.record.export import csv_lines, iso
from service.record.line import Line
from service.record.noted import Noted, RowMaker, id_at, microseconds_of, storable, time_at
from service.record.policy import (
    FIRST_RETRY_SECONDS,
    LAST_RETRY_SECONDS,
    QUIET_SECONDS,
    TRIM_EVERY_SECONDS,
    TRIM_ROWS,
    Outage,
    Retention,
)
from service.serving.served import Classified
from tests.conftest import ImageMaker
from tests.service.fakes import PixelEngine, predictor_on

MICROSECONDS = st.integers(0, 2**60)


@pytest.fixture(scope="module")
def pixel_predictor() -> Predictor:
    return predictor_on(PixelEngine())


def noted(predictor: Predictor, images: list[bytes], time_ns: int = 0) -> Noted:
    predictions = predictor.predict([prepare(image, predictor.manifest.preprocessing) for image in images])
    answers = [
        Classified(Answered(each, 0.1, 0.2, 3), 0.4, 8, 8)
        for each in predictions
        if not isinstance(each, Exception)
    ]
    return Noted(time_ns, "r", "ana", "v1", predictor.manifest, list(zip(images, answers, strict=True)))


# The line.


def test_the_line_is_bounded_in_rows_until_they_are_released(
    pixel_predictor: Predictor, make_image: ImageMaker
) -> None:
    line, two = Line(3, 1_000_000), noted(pixel_predictor, [make_image(), make_image()])
    assert line.offer(two)
    assert not line.offer(two)
    assert list(line.take()) == [two]
    assert list(line.take()) == []
    assert (line.rows, line.offer(two)) == (2, False)
    line.release(rows=2)
    assert (line.rows, line.offer(two)) == (0, True)


def test_the_line_is_bounded_in_bytes_until_they_are_released(
    pixel_predictor: Predictor, make_image: ImageMaker
) -> None:
    image = make_image()
    line, one = Line(100, len(image)), noted(pixel_predictor, [image])
    assert line.offer(one)
    assert not line.offer(one)
    line.release(image_bytes=len(image))
    assert line.offer(one)


# An outage.


def test_a_database_is_tried_again_after_twice_as_long_each_time_up_to_a_bound() -> None:
    outage, now, waits = Outage(), 100.0, []
    for _ in range(9):
        outage.failed(now)
        waits.append(outage.retry_at - now)
        now = outage.retry_at
    assert waits == [min(FIRST_RETRY_SECONDS * 2**number, LAST_RETRY_SECONDS) for number in range(9)]
    outage.succeeded(now)
    outage.failed(now)
    assert outage.retry_at - now == FIRST_RETRY_SECONDS


def test_an_outage_is_spoken_of_when_it_begins_and_when_it_ends() -> None:
    outage = Outage()
    assert outage.succeeded(0.0) is None
    assert [outage.failed(now) for now in (1.0, 2.0, 3.0)] == [True, False, False]
    assert outage.succeeded(5.0) == 4.0
    assert outage.succeeded(6.0) is None


def test_a_database_that_comes_and_goes_is_spoken_of_once_a_minute() -> None:
    outage = Outage()
    assert outage.failed(0.0)
    assert outage.succeeded(1.0) == 1.0
    assert not outage.failed(2.0)
    assert outage.succeeded(3.0) is None
    assert outage.failed(QUIET_SECONDS)


def test_an_outage_soon_after_another_is_spoken_of_once_it_has_outlasted_the_quiet() -> None:
    outage = Outage()
    assert outage.failed(0.0)
    assert outage.succeeded(1.0) == 1.0
    later = (2.0, QUIET_SECONDS - 1, QUIET_SECONDS, 3 * QUIET_SECONDS)
    assert [outage.failed(now) for now in later] == [False, False, True, False]
    assert outage.succeeded(4 * QUIET_SECONDS) == 4 * QUIET_SECONDS - 2.0


# Retention.


def test_a_full_portion_is_followed_by_another_at_once_and_a_smaller_one_by_a_pause() -> None:
    retention = Retention(days=2, rows=10)
    assert retention.due_at < 0
    retention.trimmed(TRIM_ROWS, 50.0)
    assert retention.due_at == 50.0
    retention.trimmed(TRIM_ROWS - 1, 50.0)
    assert retention.due_at == 50.0 + TRIM_EVERY_SECONDS


def test_what_is_older_than_the_days_is_too_old() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    oldest = Retention(days=2, rows=1).oldest(microseconds_of(now))
    assert time_at(oldest) == now - timedelta(days=2)


# Ids and cells.


@given(MICROSECONDS, MICROSECONDS)
def test_ids_sort_as_times_do(one: int, other: int) -> None:
    assert (id_at(one) < id_at(other)) == (one < other)
    assert (id_at(one) + "0" * 16 < id_at(other)) == (one < other)


@given(st.datetimes(timezones=st.timezones() | st.none()))
def test_every_moment_has_a_place(moment: datetime) -> None:
    microseconds = microseconds_of(moment)
    assert len(id_at(microseconds)) == 16
    assert moment.tzinfo or time_at(microseconds) == moment.replace(tzinfo=UTC)


def test_images_of_one_request_keep_their_order_and_other_processes_do_not_meet(
    pixel_predictor: Predictor, make_image: ImageMaker
) -> None:
    several = noted(pixel_predictor, [make_image(seed) for seed in range(20)], time_ns=10**18)
    one, other = ([row["id"] for row in RowMaker(False).rows(several)] for _ in range(2))
    assert one == sorted(one)
    assert len(set(one + other)) == 40


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_can_be_stored(text: str) -> None:
    assert "\0" not in storable(text)
    assert storable(text).encode().decode() == storable(text)
    assert storable(storable(text)) == storable(text)


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@a", "\t=1", "\r\n=1", " =1", "\uff1d1"])
def test_a_cell_is_never_a_formula(pixel_predictor: Predictor, make_image: ImageMaker, cell: str) -> None:
    (row,) = RowMaker(False).rows(noted(pixel_predictor, [make_image()]))
    assert f"'{cell}".encode() in csv_lines([{**row, "label": cell}])


def test_a_moment_without_a_zone_is_in_utc() -> None:
    assert iso(datetime(2026, 3, 1, 12)) == "2026-03-01T12:00:00.000000Z"
    east = datetime.fromisoformat("2026-03-01T12:00:00+02:00")
    assert iso(east) == "2026-03-01T10:00:00.000000Z"
