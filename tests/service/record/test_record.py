"""The record: what was answered is what can be read, over HTTP, from SQLite and from PostgreSQL."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from models.predictor import Predictor
from service.flask_app import routes as flask_routes
from service.record import reader
from service.record.export import COLUMNS
from service.record.line import Line
from service.record.noted import Noted
from service.record.routes import RowPayload
from service.settings import BadSettings, read_settings
from service.v2 import routes as v2_routes
from tests.conftest import CLASSES, ImageMaker, spec
from tests.live import TOKEN, LiveService, Response, multipart, serve
from tests.markdown import ROOT
from tests.service.fakes import PixelEngine, predictor_on
from tests.service.record.databases import RecordDatabase, SqliteFile

PREDICT, INFER, RECORD = "/v1/models/cifar10/predict", "/v2/models/cifar10/infer", "/v1/predictions"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
KEY = "the-key-of-ana-0001"
ODD = (
    "=HYPERLINK(1)",
    "ra\N{LATIN SMALL LETTER ENG}\N{COMBINING ACUTE ACCENT} \N{HEBREW LETTER ALEF}\N{RIGHT-TO-LEFT OVERRIDE}",
    "a \"b\", 'c'\r\n\x00\N{WATERMELON}",
)
HOSTILE = ("' OR 1=1 --", "'; DROP TABLE predictions; --", "%", "_", "\\", '"', "a\x00b", "\N{WATERMELON}")


def predictor(name: str = "cifar10", classes: tuple[str, ...] = CLASSES) -> Predictor:
    return predictor_on(PixelEngine(), spec(name).model_copy(update={"classes": classes}))


@pytest.fixture
def live(database: RecordDatabase) -> Iterator[LiveService]:
    bottle = predictor("bottle", ("open", "closed", "unknown", *CLASSES[3:]))
    with serve([predictor(), bottle], record_url=database.url) as running:
        yield running


def written(live: LiveService, rows: int) -> None:
    live.wait_for_metric(rows, "rotulo_record_rows_total", outcome="written")


def read(live: LiveService, headers: dict[str, str] = ADMIN, **query: Any) -> Response:
    return live.request("GET", f"{RECORD}?{urlencode(query)}", headers=headers)


def rows_of(live: LiveService, **query: Any) -> list[dict[str, Any]]:
    response = read(live, **query)
    assert response.status == 200, response.body
    return response.json()["predictions"]  # type: ignore[no-any-return]


def v2_body(**tensor: Any) -> str:
    return json.dumps({"inputs": [tensor]})


def test_the_answers_of_every_route_are_rows_that_say_the_same(
    live: LiveService, make_image: ImageMaker
) -> None:
    images = [make_image(seed, (20 + seed, 30)) for seed in range(7)]
    native = live.request("POST", PREDICT, images[0], {"X-Request-Id": "one"}).json()
    several = live.request("POST", PREDICT, *multipart(("file", images[1]), ("file", images[2]))).json()
    flask = live.request("POST", "/predict", *multipart(("file", images[3]), ("file", images[4]))).json()
    bottle = live.request("POST", "/classificar", *multipart(("image", images[5])))
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    encoded = base64.b64encode(images[6]).decode()
    v2 = live.request("POST", INFER, v2_body(**tensor, data=[encoded])).json()
    written(live, 7)
    rows = rows_of(live)[::-1]
    assert [row["route"] for row in rows] == ["v1", "v1", "v1", "flask", "flask", "flask", "v2"]
    assert [row["image_sha256"] for row in rows] == [hashlib.sha256(image).hexdigest() for image in images]
    assert [(row["width"], row["height"]) for row in rows] == [(20 + seed, 30) for seed in range(7)]
    assert [row["image_bytes"] for row in rows] == [len(image) for image in images]
    for answer, row in zip([native, *several["predictions"]], rows, strict=False):
        assert {**answer, **row} == {**row, **answer}
    for answer, row in zip(flask["predictions"], rows[3:5], strict=True):
        assert (answer["category"], answer["category_index"], answer["confidence"]) == (
            row["label"], row["index"], row["confidence"],
        )  # fmt: skip
    assert (bottle.status, rows[5]["model"]) == (200, "bottle")
    outputs = {output["name"]: output["data"][0] for output in v2["outputs"]}
    assert (outputs["label"], outputs["index"]) == (rows[6]["label"], rows[6]["index"])
    assert rows[0]["request_id"] == "one"
    assert rows[1]["request_id"] == rows[2]["request_id"]
    assert all(row["batch_size"] >= 1 and row["infer_seconds"] >= 0 for row in rows)
    assert {row["cache"] for row in rows} == {None}


def test_the_timing_is_that_of_the_answer(live: LiveService, make_image: ImageMaker) -> None:
    timing = live.request("POST", PREDICT, make_image()).headers["server-timing"]
    written(live, 1)
    (row,) = rows_of(live)
    shown = [float(part.partition("dur=")[2]) for part in timing.split(", ")[:3]]
    recorded = [row[name] * 1000 for name in ("decode_seconds", "queue_seconds", "infer_seconds")]
    assert recorded == pytest.approx(shown, abs=0.006)  # shown with two decimals


def test_a_row_says_whether_its_image_was_run(database: RecordDatabase, make_image: ImageMaker) -> None:
    one, other = make_image(1), make_image(2)
    with serve([predictor()], record_url=database.url, cache_entries=10) as live:
        live.request("POST", PREDICT, one)
        live.request("POST", PREDICT, *multipart(("file", one), ("file", other), ("file", other)))
        written(live, 4)
        rows = rows_of(live)[::-1]
        text = read(live, format="csv").body.decode()
    assert [row["cache"] for row in rows] == ["miss", "hit", "miss", "coalesced"]
    assert [row["batch_size"] for row in rows] == [1, 0, 1, 1]
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [line["cache"] for line in lines] == [row["cache"] for row in rows[::-1]]


def test_pixels_are_rows_too(live: LiveService) -> None:
    pixels = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    body = v2_body(name="pixels", datatype="UINT8", shape=[2, 8, 8, 3], data=pixels.ravel().tolist())
    assert live.request("POST", INFER, body).status == 200
    written(live, 2)
    rows = rows_of(live)[::-1]
    assert [row["image_sha256"] for row in rows] == [
        hashlib.sha256(each.tobytes()).hexdigest() for each in pixels
    ]
    assert [(row["image_bytes"], row["width"], row["decode_seconds"]) for row in rows] == [(192, 8, 0)] * 2


def test_what_is_refused_is_no_row(live: LiveService, make_image: ImageMaker) -> None:
    good = make_image()
    assert live.request("POST", PREDICT, b"no image").status == 415
    assert live.request("POST", "/predict", *multipart(("file", b"no image"))).status == 415
    assert live.request("POST", PREDICT, *multipart(("file", b"bad"), ("file", good))).status == 200
    written(live, 1)
    (row,) = rows_of(live)
    assert row["image_sha256"] == hashlib.sha256(good).hexdigest()


def test_an_answer_that_is_not_given_is_no_row(
    tmp_path: Path, make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the response cannot be written")

    url = SqliteFile(tmp_path / "p.db").url
    models = [predictor(), predictor("bottle")]  # no bottle is a class of it
    with serve(models, record_url=url) as live:
        assert live.request("POST", "/classificar", *multipart(("image", make_image()))).status == 404
        monkeypatch.setattr(v2_routes, "write_response", broken)
        pixels = {"name": "pixels", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": [0] * 192}
        assert live.request("POST", INFER, v2_body(**pixels)).status == 500
        monkeypatch.setattr(flask_routes, "_category", broken)
        assert live.request("POST", "/predict", *multipart(("file", make_image()))).status == 500
        assert live.request("POST", PREDICT, make_image()).status == 200
        written(live, 1)
        assert [row["route"] for row in rows_of(live)] == ["v1"]


def test_a_request_without_an_answer_does_not_enter_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[Noted] = []

    def offer(_: Line, noted: Noted) -> bool:
        offered.append(noted)
        return True

    monkeypatch.setattr(Line, "offer", offer)
    with serve([predictor()], record_url=SqliteFile(tmp_path / "p.db").url) as live:
        assert live.request("POST", PREDICT, *multipart(("file", b"bad"), ("file", b"worse"))).status == 200
    assert not offered


def test_a_row_has_the_name_of_the_key_and_never_the_key(
    database: RecordDatabase, make_image: ImageMaker, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"ana:{KEY}\n")
    with serve([predictor()], record_url=database.url, api_keys_file=keys, metrics_need_key=False) as live:
        assert live.request("POST", PREDICT, make_image(), {"X-API-Key": KEY}).status == 200
        written(live, 1)
        assert [row["api_key"] for row in rows_of(live)] == ["ana"]
        assert read(live, headers={"X-API-Key": KEY}).status == 401
    assert KEY not in str(database.rows("SELECT * FROM predictions"))


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_the_record_asks_for_the_admin_token_before_anything_else(
    live: LiveService, headers: dict[str, str]
) -> None:
    assert read(live, headers, limit="nonsense").status == 401


@pytest.fixture
def filled(live: LiveService, make_image: ImageMaker) -> tuple[LiveService, list[dict[str, Any]]]:
    """A service with 23 rows of two models, and the rows."""
    answers = [
        *(
            live.request("POST", PREDICT, make_image(seed), {"X-Request-Id": f"r-{seed % 10}"})
            for seed in range(20)
        ),
        *(live.request("POST", "/classificar", *multipart(("image", make_image(seed)))) for seed in range(3)),
    ]
    assert {answer.status for answer in answers} == {200}
    written(live, 23)
    rows = rows_of(live)
    assert len(rows) == 23
    return live, rows


def wanted(rows: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Queries, and the rows that each must show."""
    one = rows[9]
    for name in ("model", "version", "label", "request_id", "image_sha256"):
        yield {name: one[name]}, [row for row in rows if row[name] == one[name]]
    yield {"version": "2"}, []
    yield {"uncertain": "false"}, [row for row in rows if not row["uncertain"]]
    yield {"since": one["time"]}, [row for row in rows if row["time"] >= one["time"]]
    yield {"until": one["time"]}, [row for row in rows if row["time"] < one["time"]]
    least, most = sorted(row["confidence"] for row in rows)[5::10][:2]
    between = [row for row in rows if least <= row["confidence"] <= most]
    yield {"min_confidence": least, "max_confidence": most}, between
    yield {"model": "bottle", "label": one["label"]}, []


def test_filters_and_pages_and_csv_show_the_same_rows(
    filled: tuple[LiveService, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    live, rows = filled
    assert [row["time"] for row in rows] == sorted((row["time"] for row in rows), reverse=True)
    for query, expected in wanted(rows):
        assert rows_of(live, **query) == expected, query
    seen, cursor = [], None
    while True:
        page = read(live, limit=7, **({"cursor": cursor} if cursor else {})).json()
        seen += page["predictions"]
        if (cursor := page["next"]) is None:
            break
    assert seen == rows
    monkeypatch.setattr(reader, "PAGE_ROWS", 5)
    for headers, query in (({"Accept": "text/csv"}, {}), ({}, {"format": "csv"})):
        response = read(live, {**ADMIN, **headers}, **query)
        assert response.headers["content-type"].startswith("text/csv")
        lines = list(csv.DictReader(io.StringIO(response.body.decode(), newline="")))
        assert [line["id"] for line in lines] == [row["id"] for row in rows]
        assert lines[0] == {name: _as_text(value) for name, value in rows[0].items()}
    two = read(live, format="csv", limit=7, label=rows[0]["label"]).body.decode().splitlines()
    assert len(two) == 1 + len([row for row in rows if row["label"] == rows[0]["label"]][:7])


def _as_text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_what_is_asked_for_is_a_value_and_never_sql(live: LiveService, make_image: ImageMaker) -> None:
    live.request("POST", PREDICT, make_image())
    written(live, 1)
    for text in HOSTILE:
        for name in ("model", "version", "label", "request_id"):
            assert rows_of(live, **{name: text}) == []
    assert len(rows_of(live)) == 1


@pytest.mark.parametrize(
    "query",
    [
        {"lable": "cat"},
        {"limit": 0},
        {"limit": 1001},
        {"limit": 1_000_001, "format": "csv"},
        {"cursor": "1"},
        {"cursor": "' OR 1=1 --" + "0" * 21},
        {"image_sha256": "x"},
        {"min_confidence": "nan"},
        {"min_confidence": 2},
        {"since": "yesterday"},
        {"uncertain": "perhaps"},
        {"format": "xml"},
        {"label": "x" * 301},
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(live_sqlite: LiveService, query: dict[str, Any]) -> None:
    response = read(live_sqlite, **query)
    assert response.status == 400
    assert next(iter(query)) in response.json()["detail"]


@pytest.fixture(scope="module")
def live_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    path = tmp_path_factory.mktemp("record") / "predictions.db"
    with serve([predictor()], record_url=f"sqlite:///{path}") as running:
        yield running


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-01-01"])
def test_moments_beyond_all_rows_are_moments(live_sqlite: LiveService, moment: str) -> None:
    assert read(live_sqlite, since=moment).status == read(live_sqlite, until=moment).status == 200


def test_labels_of_any_characters_are_recorded_and_no_cell_is_a_formula(
    database: RecordDatabase, make_image: ImageMaker
) -> None:
    with serve([predictor(classes=(*ODD, *CLASSES[3:]))], record_url=database.url) as live:
        labels = [
            live.request("POST", PREDICT, make_image(seed), {"X-Request-Id": "-1-1"}).json()["label"]
            for seed in range(12)
        ]
        written(live, 12)
        recorded = [row["label"] for row in rows_of(live)][::-1]
        text = read(live, format="csv").body.decode()
    assert set(labels) == set(ODD)
    assert recorded == [label.replace("\0", "\N{REPLACEMENT CHARACTER}") for label in labels]
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [line["label"] for line in lines][::-1] == [
        f"'{label}" if label.startswith("=") else label for label in recorded
    ]
    assert {line["request_id"] for line in lines} == {"'-1-1"}


@pytest.mark.parametrize("keep", [True, False])
def test_images_are_kept_where_that_is_asked_for_and_never_else(
    database: RecordDatabase, make_image: ImageMaker, keep: bool
) -> None:
    image = make_image()
    with serve([predictor()], record_url=database.url, record_images=keep) as live:
        live.request("POST", PREDICT, image)
        written(live, 1)
        assert "image" not in rows_of(live)[0]
    ((stored,),) = database.rows("SELECT image FROM predictions")
    assert (stored and bytes(stored)) == (image if keep else None)


def test_a_stop_writes_what_waits(database: RecordDatabase, make_image: ImageMaker) -> None:
    with serve([predictor()], record_url=database.url) as live:
        for seed in range(30):
            live.request("POST", PREDICT, make_image(seed))
    assert database.rows("SELECT count(*) FROM predictions") == [(30,)]


def test_where_it_is_off_a_404_says_so_and_nothing_is_shown_in_the_metrics() -> None:
    with serve([predictor()]) as live:
        response = read(live)
        metrics = live.request("GET", "/metrics").body
    assert (response.status, response.json()["type"]) == (404, "urn:rotulo:problem:record-off")
    assert "--record-url" in response.json()["detail"]
    assert b"rotulo_record_waiting" not in metrics


def test_where_it_is_off_sqlalchemy_is_not_imported() -> None:
    code = (
        "import sys; from service.app import create_app; from service.wiring import Service;"
        "from service.settings import Settings; create_app(Service(Settings(), []));"
        "sys.exit('sqlalchemy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d", "postgresql://u:secret@h/d", "secret"],
)
def test_a_url_of_another_kind_stops_the_start_and_is_not_shown(url: str) -> None:
    with pytest.raises(BadSettings, match=r"--record-url .*must be sqlite") as refused:
        read_settings(["--record-url", url])
    assert "secret" not in str(refused.value)


def test_a_url_that_cannot_be_read_stops_the_start_and_is_not_shown() -> None:
    url = "postgresql+psycopg://u:secret@h:port/d"
    with pytest.raises(BadSettings, match="--record-url") as refused, serve([predictor()], record_url=url):
        pass
    assert "secret" not in str(refused.value)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "service.record.database", None)
    url = SqliteFile(tmp_path / "p.db").url
    with pytest.raises(BadSettings, match=r"rotulo\[record\]"), serve([predictor()], record_url=url):
        pass


def test_the_columns_are_those_that_are_described() -> None:
    assert tuple(RowPayload.model_fields) == COLUMNS
