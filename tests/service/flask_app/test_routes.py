"""The routes of the old CIFAR-10 service, over a real socket."""

from __future__ import annotations

import contextlib

import pytest
from werkzeug.wrappers import Request

from models.predictor import Predictor
from tests.conftest import CLASSES, TOLERANCE, ImageMaker, png_header
from tests.live import TOKEN, LiveService, multipart, send, serve


def test_files_are_answered_in_order_in_the_old_shape(live: LiveService, make_image: ImageMaker) -> None:
    images = [make_image(seed) for seed in range(4)]
    body, headers = multipart(*(("file", image) for image in images))
    answer = live.request("POST", "/predict", body, headers).json()
    assert list(answer) == ["predictions"]
    native = [live.request("POST", "/v1/models/cifar10/predict", image).json() for image in images]
    assert [entry["category_index"] for entry in answer["predictions"]] == [one["index"] for one in native]
    assert [CLASSES.index(entry["category"]) for entry in answer["predictions"]] == [
        one["index"] for one in native
    ]
    for entry, one in zip(answer["predictions"], native, strict=True):
        assert entry["confidence"] == pytest.approx(one["confidence"], abs=TOLERANCE)


def test_the_field_may_be_named_image(live: LiveService, make_image: ImageMaker) -> None:
    assert live.request("POST", "/predict", *multipart(("image", make_image()))).status == 200


def test_a_bad_file_among_several_carries_its_own_error(live: LiveService, make_image: ImageMaker) -> None:
    body, headers = multipart(("file", b"not an image"), ("file", make_image()))
    bad, good = live.request("POST", "/predict", body, headers).json()["predictions"]
    assert list(bad) == ["error"]
    assert good["category"] in CLASSES


@pytest.mark.parametrize(
    ("content", "status"), [(b"text", 415), (b"\xff\xd8\xff", 422), (png_header(9400, 9400), 413), (b"", 400)]
)
def test_one_bad_file_is_the_status_of_the_response(live: LiveService, content: bytes, status: int) -> None:
    response = live.request("POST", "/predict", *multipart(("file", content)))
    assert response.status == status
    assert list(response.json()) == ["error"]


def test_a_request_without_a_file_is_refused_in_the_old_shape(live: LiveService) -> None:
    for body, headers in ((b"", {}), (b"x", {"Content-Type": "image/jpeg"}), multipart(("other", b"x"))):
        response = live.request("POST", "/predict", body, headers)
        assert response.status == 400
        assert list(response.json()) == ["error"]


def test_an_empty_file_among_several_has_its_own_error(live: LiveService, make_image: ImageMaker) -> None:
    body, headers = multipart(("file", make_image()), ("file", b""))
    good, empty = live.request("POST", "/predict", body, headers).json()["predictions"]
    assert good["category"]
    assert list(empty) == ["error"]


@pytest.mark.parametrize("fields", [b"a=b", b"a&" * 100_000])
def test_fields_of_another_kind_of_form_are_not_even_read(
    live: LiveService, fields: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Werkzeug takes any number of them, for seconds in which nobody else is answered."""
    monkeypatch.setattr(Request, "_load_form_data", lambda _: pytest.fail("it was parsed"))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert live.request("POST", "/predict", fields, headers).status == 400


def test_another_method_is_not_allowed(live: LiveService) -> None:
    response = live.request("GET", "/predict")
    assert response.status == 405
    assert list(response.json()) == ["error"]


def test_500_of_500_requests_back_to_back_on_one_connection_are_answered(
    live: LiveService, make_image: ImageMaker
) -> None:
    images = [make_image(seed) for seed in range(10)]
    bodies = [multipart(("file", image)) for image in images]
    expected = [live.request("POST", "/predict", *body).json() for body in bodies]
    with contextlib.closing(live.connection()) as connection:
        for turn in range(500):
            body, headers = bodies[turn % 10]
            response = send(connection, "POST", "/predict", body, headers)
            assert response.status == 200
            assert response.json() == expected[turn % 10]


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"]
)
def test_shutdown_without_the_token_is_refused_and_nothing_stops(
    live: LiveService, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = live.request("POST", "/shutdown", headers=headers)
    assert response.status == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert live.request("GET", "/readyz").status == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", ""])
def test_shutdown_for_a_page_of_another_site_is_refused(live: LiveService, origin: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Origin": origin}
    response = live.request("POST", "/shutdown", headers=headers)
    assert response.status == 403
    assert live.request("GET", "/readyz").status == 200


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {}, 401),
        ("POST", {"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example"}, 403),
        ("GET", {}, 405),
    ],
)
def test_who_may_not_stop_the_service_is_refused_before_any_body(
    method: str, headers: dict[str, str], status: int
) -> None:
    with serve([], body_timeout_seconds=0.1) as running, contextlib.closing(running.connection()) as client:
        client.request(method, "/shutdown", headers={"Content-Length": "10000000", **headers})
        assert client.getresponse().status == status


def test_shutdown_by_get_is_not_allowed(live: LiveService) -> None:
    assert live.request("GET", "/shutdown", headers={"Authorization": f"Bearer {TOKEN}"}).status == 405


def test_shutdown_with_the_token_is_accepted_and_the_service_is_no_longer_ready(
    predictor: Predictor,
) -> None:
    with serve([predictor], drain_grace_seconds=60.0) as running:
        for _ in range(2):  # a second call changes nothing
            response = running.request("POST", "/shutdown", headers={"Authorization": f"Bearer {TOKEN}"})
            assert response.status == 202
        assert running.request("GET", "/readyz").status == 503
        assert running.request("GET", "/healthz").headers["connection"] == "close"


def test_a_body_in_chunks_is_read_whole(live: LiveService, make_image: ImageMaker) -> None:
    body, headers = multipart(("file", make_image()))
    chunks = (body[at : at + 100] for at in range(0, len(body), 100))
    assert live.request("POST", "/predict", chunks, headers).status == 200


def test_what_is_refused_before_flask_has_the_old_shape_too(live: LiveService) -> None:
    too_large = (bytes(65_536) for _ in range(live.service.settings.max_body_bytes // 65_536 + 1))
    for body, headers, status in (
        (too_large, {}, 413),
        (b"x", {"Content-Encoding": "gzip"}, 415),
        (b"x", {"X-Timeout-Ms": "soon"}, 400),
    ):
        response = live.request("POST", "/predict", body, headers)
        assert response.status == status
        assert list(response.json()) == ["error"]
