"""The native routes, over a real socket."""

from __future__ import annotations

import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from models.images import prepare
from models.predictor import Prediction, Predictor
from tests.conftest import CLASSES, SAMPLES, TOLERANCE, ImageMaker, png_header
from tests.live import LiveService, Response, multipart, serve
from tests.service.fakes import HeldEngine, predictor_on

PREDICT = "/v1/models/cifar10/predict"


def offline(predictor: Predictor, data: bytes) -> Prediction:
    (prediction,) = predictor.predict([prepare(data, predictor.manifest.preprocessing)])
    assert isinstance(prediction, Prediction)
    return prediction


def assert_problem(response: Response, status: int, kind: str) -> None:
    assert response.status == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == f"urn:rotulo:problem:{kind}"
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("name", ["cat.jpg", "cat-32.jpg", "cat-32.png", "cat-face.webp"])
def test_a_raw_image_gets_the_answer_of_the_model_offline(
    live: LiveService, predictor: Predictor, name: str
) -> None:
    data = (SAMPLES / name).read_bytes()
    answer = live.request("POST", PREDICT, data).json()
    expected = offline(predictor, data)
    assert answer["label"] == CLASSES[expected.index]
    assert answer["index"] == expected.index
    assert answer["confidence"] == pytest.approx(expected.confidence, abs=TOLERANCE)
    assert answer["uncertain"] == expected.uncertain
    assert (answer["model"], answer["version"]) == ("cifar10", "1")


def test_the_content_type_of_a_raw_image_does_not_matter(live: LiveService, make_image: ImageMaker) -> None:
    for content_type in ("image/gif", "application/octet-stream", "application/x-www-form-urlencoded"):
        response = live.request("POST", PREDICT, make_image(), {"Content-Type": content_type})
        assert response.status == 200


def test_every_way_to_send_one_image_gets_the_same_answer(live: LiveService, make_image: ImageMaker) -> None:
    image = make_image(3)
    document = json.dumps({"image": base64.b64encode(image).decode()})
    raw = live.request("POST", PREDICT, image).json()
    assert live.request("POST", PREDICT, *multipart(("file", image))).json() == raw
    json_answer = live.request("POST", PREDICT, document, {"Content-Type": "application/json"})
    assert json_answer.json() == raw


def test_top_k_lists_the_likeliest_classes_in_order(live: LiveService, make_image: ImageMaker) -> None:
    top = live.request("POST", f"{PREDICT}?top_k=10", make_image()).json()["top"]
    assert sorted(entry["label"] for entry in top) == sorted(CLASSES)
    confidences = [entry["confidence"] for entry in top]
    assert confidences == sorted(confidences, reverse=True)
    assert sum(confidences) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("top_k", ["0", "-1", "x", "1001"])
def test_a_top_k_out_of_range_is_a_malformed_request(
    live: LiveService, make_image: ImageMaker, top_k: str
) -> None:
    assert_problem(live.request("POST", f"{PREDICT}?top_k={top_k}", make_image()), 400, "malformed-request")


def test_several_files_are_answered_in_order_and_a_bad_one_carries_its_own_error(
    live: LiveService, predictor: Predictor, make_image: ImageMaker
) -> None:
    first, last = make_image(1), make_image(2)
    body, headers = multipart(("file", first), ("file", b"not an image"), ("file", last))
    response = live.request("POST", PREDICT, body, headers)
    predictions = response.json()["predictions"]
    assert response.status == 200
    assert [entry.get("index") for entry in predictions] == [
        offline(predictor, first).index,
        None,
        offline(predictor, last).index,
    ]
    assert predictions[1]["error"]["status"] == 415


def test_a_list_of_one_image_is_answered_as_a_list(live: LiveService, make_image: ImageMaker) -> None:
    document = json.dumps({"images": [base64.b64encode(make_image()).decode()]})
    response = live.request("POST", PREDICT, document, {"Content-Type": "application/json"})
    assert len(response.json()["predictions"]) == 1


def test_more_images_than_allowed_are_refused(live: LiveService, make_image: ImageMaker) -> None:
    images = [base64.b64encode(make_image()).decode()] * (live.service.settings.max_images + 1)
    document = json.dumps({"images": images})
    response = live.request("POST", PREDICT, document, {"Content-Type": "application/json"})
    assert_problem(response, 400, "malformed-request")


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"image": 1}',
        '{"image": "%%%"}',
        '{"image": "\N{SNOWMAN}"}',
        '{"images": [1]}',
        '{"images": []}',
        '{"image": ""}',
        '{"image": "", "other": 1}',
        '{"image": "AAAA", "image": "AAAA"}',
        '{"image": NaN}',
        "[" * 100_000,
        "\N{SNOWMAN}",
    ],
)
def test_json_of_another_form_is_a_malformed_request(live: LiveService, document: str) -> None:
    response = live.request("POST", PREDICT, document.encode(), {"Content-Type": "application/json"})
    assert_problem(response, 400, "malformed-request")


def test_json_built_to_cost_more_than_it_holds_is_refused_before_it_is_parsed(live: LiveService) -> None:
    document = b'{"images":[' + b"0," * 2_000_000 + b"0]}"
    response = live.request("POST", PREDICT, document, {"Content-Type": "application/json"})
    assert_problem(response, 400, "malformed-request")
    assert "too many images" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"--b\r\n", "multipart/form-data"),
        (b"no parts here", "multipart/form-data; boundary=b"),
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\r\n--b--\r\n',
         "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\nx\r\n--b--\r\n',
         "multipart/form-data; boundary=b"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
    ],
)  # fmt: skip
def test_multipart_without_a_usable_file_is_a_malformed_request(
    live: LiveService, body: bytes, content_type: str
) -> None:
    assert_problem(
        live.request("POST", PREDICT, body, {"Content-Type": content_type}), 400, "malformed-request"
    )


def test_bad_images_get_the_status_that_says_what_is_wrong(live: LiveService, make_image: ImageMaker) -> None:
    assert_problem(live.request("POST", PREDICT, b"GIF89a" + bytes(64)), 415, "unsupported-image")
    assert_problem(live.request("POST", PREDICT, make_image()[:-40]), 422, "undecodable-image")
    assert_problem(live.request("POST", PREDICT, png_header(100_000, 100_000)), 413, "image-too-large")
    assert_problem(live.request("POST", PREDICT, b""), 400, "malformed-request")


def test_a_compressed_body_is_refused(live: LiveService, make_image: ImageMaker) -> None:
    response = live.request("POST", PREDICT, make_image(), {"Content-Encoding": "gzip"})
    assert_problem(response, 415, "unsupported-encoding")


def test_a_body_over_the_limit_is_refused_from_its_content_length(live: LiveService) -> None:
    connection = live.connection()
    connection.putrequest("POST", PREDICT)
    connection.putheader("Content-Length", str(live.service.settings.max_body_bytes + 1))
    connection.endheaders()  # and not one byte of the body
    response = connection.getresponse()
    assert response.status == 413
    assert response.getheader("connection") == "close"
    connection.close()


def test_a_chunked_body_over_the_limit_is_refused_while_it_streams(live: LiveService) -> None:
    limit = live.service.settings.max_body_bytes
    chunks = (bytes(65_536) for _ in range(limit // 65_536 + 1))
    assert_problem(live.request("POST", PREDICT, chunks), 413, "body-too-large")


def test_an_unknown_model_path_or_method_is_a_problem_document(live: LiveService) -> None:
    assert_problem(live.request("POST", "/v1/models/nothing/predict", b"x"), 404, "unknown-model")
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", PREDICT, 405)):
        response = live.request(method, path)
        assert response.status == status
        assert response.headers["content-type"] == "application/problem+json"


def test_a_plain_request_id_is_echoed_and_a_hostile_one_replaced(live: LiveService) -> None:
    kept = live.request("GET", "/healthz", headers={"X-Request-Id": "order-66.b"})
    hostile = {"X-Request-Id": 'a"b{}'}
    new = {live.request("GET", "/healthz", headers=hostile).headers["x-request-id"] for _ in range(2)}
    assert kept.headers["x-request-id"] == "order-66.b"
    assert len(new) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in new)


@pytest.mark.parametrize("charset", ["undefined", "punycode", "no-such-charset", "utf-16"])
def test_an_odd_charset_in_a_multipart_header_is_no_fault_of_ours(
    live: LiveService, make_image: ImageMaker, charset: str
) -> None:
    body, headers = multipart(("file", make_image()))
    odd = {"Content-Type": f"{headers['Content-Type']}; charset={charset}"}
    assert live.request("POST", PREDICT, body, odd).status == 200


def test_an_empty_file_among_several_has_its_own_error(live: LiveService, make_image: ImageMaker) -> None:
    image = make_image()
    encoded = base64.b64encode(image).decode()
    as_json = json.dumps({"images": [encoded, ""]}), {"Content-Type": "application/json"}
    for body, headers in (multipart(("file", image), ("file", b"")), as_json):
        good, empty = live.request("POST", PREDICT, body, headers).json()["predictions"]
        assert good["label"]
        assert empty["error"]["status"] == 415


def test_a_form_cut_off_before_its_end_is_refused_whole(live: LiveService, make_image: ImageMaker) -> None:
    body, headers = multipart(("file", make_image()), ("file", make_image()))
    for end in (b"", b"-"):
        cut = body.removesuffix(b"--\r\n") + end
        assert_problem(live.request("POST", PREDICT, cut, headers), 400, "malformed-request")


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "1.5", "600001", "9" * 5000, ""])
def test_a_budget_that_is_not_a_number_of_milliseconds_is_a_malformed_request(
    live: LiveService, make_image: ImageMaker, timeout: str
) -> None:
    response = live.request("POST", PREDICT, make_image(), {"X-Timeout-Ms": timeout})
    assert_problem(response, 400, "malformed-request")


def test_a_generous_budget_changes_nothing(live: LiveService, make_image: ImageMaker) -> None:
    plain = live.request("POST", PREDICT, make_image())
    assert live.request("POST", PREDICT, make_image(), {"X-Timeout-Ms": "600000"}).json() == plain.json()


def test_probes_may_use_head(live: LiveService) -> None:
    for path in ("/healthz", "/readyz"):
        assert live.request("HEAD", path).status == 200


class Took(NamedTuple):
    """Of one answer's `Server-Timing`, and of its caller's wait, in milliseconds; `batch` is a size."""

    decode: float
    queue: float
    infer: float
    batch: float
    total: float


TIMING = re.compile(r'decode;dur=([\d.]+), queue;dur=([\d.]+), infer;dur=([\d.]+), batch;desc="(\d+)"')


def test_an_answer_says_what_it_took(make_image: ImageMaker) -> None:
    """One image runs, held, while two wait for it."""

    def timed() -> Took:
        began = time.monotonic()
        found = TIMING.fullmatch(held.request("POST", PREDICT, make_image()).headers["server-timing"])
        assert found is not None
        decode, queue, infer, batch = map(float, found.groups())
        return Took(decode, queue, infer, batch, 1000 * (time.monotonic() - began))

    engine = HeldEngine()
    with (
        serve([predictor_on(engine)]) as held,
        ThreadPoolExecutor(3) as pool,
    ):
        engine.hold()
        first = pool.submit(timed)
        held.wait_for_metric(1, "rotulo_batches_closed_total", model="cifar10", reason="device_free")
        others = [pool.submit(timed) for _ in range(2)]
        held.wait_for_metric(2, "rotulo_waiting", model="cifar10")
        began = time.monotonic()
        for _ in range(10):
            held.request("GET", "/healthz")
        least = 1000 * (time.monotonic() - began)
        engine.release.set()
        ran, *waited = (caller.result() for caller in (first, *others))
    for decode, queue, infer, _, total in (ran, *waited):
        assert 0 < decode + queue + infer < total
    assert ran.infer > least
    assert [caller.queue > least for caller in waited] == [True, True]
    assert [caller.batch for caller in (ran, *waited)] == [1, 2, 2]


def test_the_models_describe_themselves(live: LiveService, predictor: Predictor) -> None:
    described = live.request("GET", "/v1/models/cifar10").json()
    assert live.request("GET", "/v1/models").json() == {"models": [described]}
    assert tuple(described["classes"]) == CLASSES
    assert described["engine"] == predictor.engine.name
    assert described["weights_sha256"] == predictor.manifest.weights.sha256


def test_the_openapi_document_describes_the_native_routes(live: LiveService) -> None:
    paths = live.request("GET", "/openapi.json").json()["paths"]
    assert {"/v1/models", "/v1/models/{model}", "/v1/models/{model}/predict", "/healthz"} <= set(paths)
