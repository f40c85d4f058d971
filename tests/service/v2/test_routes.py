"""The Open Inference Protocol, asked by Triton's own client over a real socket, and by hand."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from models.images import prepare
from models.predictor import Predictor
from tests.conftest import CLASSES, SAMPLES, TOLERANCE, ImageMaker, png_header
from tests.live import TOKEN, LiveService, Response, serve
from tests.service.fakes import FaultyEngine, HeldEngine, predictor_on

INFER = "/v2/models/cifar10/infer"
OUTPUTS = ["label", "index", "confidence", "probabilities", "uncertain"]


@pytest.fixture(scope="module")
def client(live: LiveService) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{live.port}") as connected:
        yield connected


@pytest.fixture(scope="module")
def images(make_image: ImageMaker) -> list[bytes]:
    names = ["cat.jpg", "cat-32.png", "cat-face.webp"]
    return [(SAMPLES / name).read_bytes() for name in names] + [make_image(seed) for seed in range(3)]


def image_input(images: list[bytes], binary: bool = True) -> triton.InferInput:
    elements = images if binary else [base64.b64encode(image) for image in images]
    tensor = triton.InferInput("image", [len(images)], "BYTES")
    tensor.set_data_from_numpy(np.array(elements, np.object_), binary_data=binary)
    return tensor


def pixels_input(pixels: np.ndarray[Any, Any], binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput("pixels", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels, binary_data=binary)
    return tensor


def asked_for(names: list[str], binary: bool) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def texts(labels: np.ndarray[Any, Any]) -> list[str]:
    return [label.decode() if isinstance(label, bytes) else label for label in labels.tolist()]


def assert_native_answers(live: LiveService, images: list[bytes], result: triton.InferResult) -> None:
    """Every output is what the native route says of the same images."""
    path = f"/v1/models/cifar10/predict?top_k={len(CLASSES)}"
    native = [live.request("POST", path, image).json() for image in images]
    tolerance = TOLERANCE + 1e-6  # the native route rounds
    assert texts(result.as_numpy("label")) == [answer["label"] for answer in native]
    assert result.as_numpy("index").tolist() == [answer["index"] for answer in native]
    assert result.as_numpy("uncertain").tolist() == [answer["uncertain"] for answer in native]
    confidences = [answer["confidence"] for answer in native]
    assert result.as_numpy("confidence") == pytest.approx(confidences, abs=tolerance)
    for row, answer in zip(result.as_numpy("probabilities"), native, strict=True):
        assert {entry["index"]: entry["confidence"] for entry in answer["top"]} == pytest.approx(
            dict(enumerate(row.tolist())), abs=tolerance
        )


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_several_images_get_the_native_routes_answers(
    live: LiveService,
    client: triton.InferenceServerClient,
    images: list[bytes],
    binary_in: bool,
    binary_out: bool,
) -> None:
    wanted = asked_for(OUTPUTS, binary_out)
    result = client.infer("cifar10", [image_input(images, binary_in)], outputs=wanted)
    assert_native_answers(live, images, result)
    assert result.as_numpy("probabilities").dtype == np.float32
    assert result.as_numpy("index").dtype == np.int64


@pytest.mark.parametrize("binary", [True, False])
def test_pixels_at_the_networks_size_get_the_native_routes_answers(
    live: LiveService,
    client: triton.InferenceServerClient,
    predictor: Predictor,
    images: list[bytes],
    binary: bool,
) -> None:
    pixels = np.stack([prepare(image, predictor.manifest.preprocessing) for image in images])
    result = client.infer("cifar10", [pixels_input(pixels, binary)])
    assert_native_answers(live, images, result)


def test_pixels_in_json_may_be_nested(live: LiveService, predictor: Predictor, images: list[bytes]) -> None:
    pixels = np.stack([prepare(image, predictor.manifest.preprocessing) for image in images[:2]])
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [2, 32, 32, 3]}
    nested = ask(live, {"inputs": [{**tensor, "data": pixels.tolist()}]})
    flat = ask(live, {"inputs": [{**tensor, "data": pixels.ravel().tolist()}]})
    assert nested.status == 200
    assert nested.json() == flat.json()


def test_without_named_outputs_all_are_given_in_the_form_of_the_request(
    live: LiveService, images: list[bytes]
) -> None:
    document = one_image(images[0])
    plain = ask(live, document)
    assert [output["name"] for output in plain.json()["outputs"]] == OUTPUTS
    assert plain.headers["content-type"] == "application/json"
    binary = ask(live, {**document, "parameters": {"binary_data_output": True}})
    header = json.loads(binary.body[: int(binary.headers["inference-header-content-length"])])
    sizes = [output["parameters"]["binary_data_size"] for output in header["outputs"]]
    assert sizes[1:] == [8, 4, 4 * len(CLASSES), 1]
    assert binary.headers["content-type"] == "application/octet-stream"


def test_named_outputs_come_in_their_order_each_in_its_own_form(
    client: triton.InferenceServerClient, images: list[bytes]
) -> None:
    wanted = [*asked_for(["uncertain"], True), *asked_for(["label"], False), *asked_for(["index"], True)]
    result = client.infer("cifar10", [image_input(images)], outputs=wanted)
    described = result.get_response()["outputs"]
    assert [output["name"] for output in described] == ["uncertain", "label", "index"]
    assert ["data" in output for output in described] == [False, True, False]
    assert CLASSES.index(result.as_numpy("label")[1]) == result.as_numpy("index")[1]


def test_an_id_comes_back(client: triton.InferenceServerClient, images: list[bytes]) -> None:
    for request_id in ("order-66", "\N{SNOWMAN}"):
        result = client.infer("cifar10", [image_input(images[:1])], request_id=request_id)
        assert result.get_response()["id"] == request_id
    assert "id" not in client.infer("cifar10", [image_input(images[:1])]).get_response()


def test_an_id_that_is_no_valid_unicode_comes_back_too(live: LiveService, images: list[bytes]) -> None:
    assert ask(live, {**one_image(images[0]), "id": "\ud800"}).json()["id"] == "\ud800"


def test_the_server_and_its_model_are_live_ready_and_described(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("cifar10")
    assert client.is_model_ready("cifar10", "1")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    described = client.get_model_metadata("cifar10", "1")
    assert described == client.get_model_metadata("cifar10")
    assert described["versions"] == ["1"]
    assert {each["name"]: (each["datatype"], each["shape"]) for each in described["inputs"]} == {
        "image": ("BYTES", [-1]),
        "pixels": ("UINT8", [-1, 32, 32, 3]),
    }
    assert {each["name"]: (each["datatype"], each["shape"]) for each in described["outputs"]} == {
        "label": ("BYTES", [-1]),
        "index": ("INT64", [-1]),
        "confidence": ("FP32", [-1]),
        "probabilities": ("FP32", [-1, len(CLASSES)]),
        "uncertain": ("BOOL", [-1]),
    }


def test_an_unknown_model_or_version_is_not_ready_and_not_found(
    client: triton.InferenceServerClient, images: list[bytes]
) -> None:
    for name, version in (("nothing", ""), ("cifar10", "2"), ("nothing", "1")):
        assert not client.is_model_ready(name, version)
        with pytest.raises(InferenceServerException) as undescribed:
            client.get_model_metadata(name, version)
        with pytest.raises(InferenceServerException) as refused:
            client.infer(name, [image_input(images)], model_version=version)
        assert undescribed.value.status() == refused.value.status() == "404"


def test_while_the_service_stops_it_is_live_and_not_ready(predictor: Predictor) -> None:
    with serve([predictor], drain_grace_seconds=60.0) as stopping:
        stopping.request("POST", "/shutdown", headers={"Authorization": f"Bearer {TOKEN}"})
        assert stopping.request("GET", "/v2/health/live").json() == {"live": True}
        for path in ("/v2/health/ready", "/v2/models/cifar10/ready"):
            assert_error(stopping.request("GET", path), 503)


@pytest.mark.parametrize(
    ("bad", "status"),
    [(b"GIF89a" + bytes(64), 415), (b"\xff\xd8\xff", 422), (png_header(9400, 9400), 413), (b"", 400)],
)
def test_a_bad_image_fails_its_request_and_is_named(
    client: triton.InferenceServerClient, images: list[bytes], bad: bytes, status: int
) -> None:
    with pytest.raises(InferenceServerException) as refused:
        client.infer("cifar10", [image_input([images[0], bad, images[1]])])
    assert refused.value.status() == str(status)
    assert "image 1" in refused.value.message()


TENSOR: dict[str, Any] = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}
PIXELS: dict[str, Any] = {"name": "pixels", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": [0] * 3072}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "object"),
        ({}, "exactly one"),
        ({"inputs": []}, "exactly one"),
        ({"inputs": {}}, "exactly one"),
        ({"inputs": [TENSOR, TENSOR]}, "exactly one"),
        ({"inputs": [TENSOR], "id": 7}, "id"),
        ({"inputs": [TENSOR], "parameters": []}, "parameters"),
        ({"inputs": [TENSOR], "parameters": {"binary_data_output": 1}}, "binary_data_output"),
        ({"inputs": [TENSOR], "outputs": 0}, "outputs"),
        ({"inputs": [TENSOR], "outputs": [{"name": "logits"}]}, "label"),
        ({"inputs": [TENSOR], "outputs": [{"name": ["label"]}]}, "label"),
        ({"inputs": [TENSOR], "outputs": [{"name": "label"}] * 2}, "once"),
        ({"inputs": [TENSOR], "outputs": [{"name": "label", "parameters": {"classification": 3}}]}, "label"),
        ({"inputs": [{**TENSOR, "name": "picture"}]}, "'picture'"),
        ({"inputs": [{**TENSOR, "name": "\ud800"}]}, "no input"),
        ({"inputs": [{**TENSOR, "name": None}]}, "no input"),
        ({"inputs": [{**TENSOR, "datatype": "UINT8"}]}, "BYTES"),
        ({"inputs": [{**TENSOR, "shape": []}]}, "[-1]"),
        ({"inputs": [{**TENSOR, "shape": [1, 1]}]}, "[-1]"),
        ({"inputs": [{**TENSOR, "shape": [-1]}]}, "1 to 64"),
        ({"inputs": [{**TENSOR, "shape": [True]}]}, "[-1]"),
        ({"inputs": [{**TENSOR, "shape": [1.0]}]}, "[-1]"),
        ({"inputs": [{**TENSOR, "shape": 1}]}, "[-1]"),
        ({"inputs": [{**TENSOR, "shape": [0], "data": []}]}, "1 to 64"),
        ({"inputs": [{**TENSOR, "shape": [10**18]}]}, "1 to 64"),
        ({"inputs": [{**TENSOR, "shape": [2]}]}, "says 2"),
        ({"inputs": [{**TENSOR, "data": "AAAA"}]}, "data"),
        ({"inputs": [{**TENSOR, "data": [1]}]}, "base64"),
        ({"inputs": [{**TENSOR, "data": ["%%%%"]}]}, "base64"),
        ({"inputs": [{**TENSOR, "data": ["\N{SNOWMAN}"]}]}, "base64"),
        ({"inputs": [{**TENSOR, "parameters": {"shared_memory_region": "r"}, "data": None}]}, "data"),
        ({"inputs": [{**TENSOR, "parameters": {"binary_data_size": 4}}]}, "binary_data_size"),
        ({"inputs": [{**PIXELS, "datatype": "FP32"}]}, "UINT8"),
        ({"inputs": [{**PIXELS, "shape": [1, 64, 32, 3]}]}, "[-1, 32, 32, 3]"),
        ({"inputs": [{**PIXELS, "shape": [10**9, 32, 32, 3]}]}, "1 to 64"),
        ({"inputs": [{**PIXELS, "shape": [1, 3, 32, 32]}]}, "[-1, 32, 32, 3]"),
        ({"inputs": [{**PIXELS, "data": [0] * 3071}]}, "3071"),
        ({"inputs": [{**PIXELS, "data": [256] * 3072}]}, "0 to 255"),
        ({"inputs": [{**PIXELS, "data": [-1] * 3072}]}, "0 to 255"),
        ({"inputs": [{**PIXELS, "data": [10**30] * 3072}]}, "0 to 255"),
        ({"inputs": [{**PIXELS, "data": [1.5] * 3072}]}, "0 to 255"),
        ({"inputs": [{**PIXELS, "data": ["1"] * 3}]}, "0 to 255"),
        ({"inputs": [{**PIXELS, "data": [[0] * 3072]}]}, "nested"),
        ({"inputs": [{**PIXELS, "data": [[[[0] * 3] * 32] * 31 + [0]]}]}, "nested"),
    ],
)  # fmt: skip
def test_a_request_of_another_form_is_refused_with_what_is_wrong(
    live: LiveService, document: Any, said: str
) -> None:
    response = ask(live, document)
    assert_error(response, 400)
    assert said in response.json()["error"]


BAD_JSON = [
    *(b"", b"{", b"null", b"[" * 100_000, b"\xff", b'{"id": NaN}'),
    b'{"inputs": [], "inputs": []}',
    b'{"parameters": {"x": Infinity}, "inputs": []}',
]


@pytest.mark.parametrize("body", BAD_JSON)
def test_a_body_that_is_no_such_json_is_refused(live: LiveService, body: bytes) -> None:
    assert_error(live.request("POST", INFER, body), 400)


@pytest.mark.parametrize("thing", [b"[],", b"{},", b'"",', b"1,"])
def test_json_built_to_cost_more_than_it_holds_is_refused_before_it_is_parsed(
    live: LiveService, thing: bytes
) -> None:
    response = live.request("POST", INFER, b"[" + thing * 2_000_000 + b"0]")
    assert_error(response, 400)
    assert "binary" in response.json()["error"]


def element(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


@pytest.mark.parametrize(
    ("tail", "size"),
    [
        (b"", 0),
        (b"\x01\x00", 2),
        (element(b"abcd")[:-1], 7),
        (element(b"abcd") + b"x", 9),
        (b"\xff\xff\xff\xff", 4),
        (element(b"abcd"), 7),
        (element(b"abcd"), 10**18),
        (element(b"abcd"), -1),
        (element(b"abcd"), True),
        (element(b"abcd"), None),
    ],
)
def test_binary_data_that_is_not_what_it_says_is_refused(live: LiveService, tail: bytes, size: Any) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    assert_error(live.request("POST", INFER, head + tail, headers), 400)


@pytest.mark.parametrize("length", ["", "x", "-1", "1.5", "99999999", "9" * 5000, "\xb2"])
def test_a_header_length_that_cannot_be_is_refused(live: LiveService, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    assert_error(live.request("POST", INFER, json.dumps(one_image(b"x")), headers), 400)


def test_the_limits_of_every_route_hold_here_too(live: LiveService, images: list[bytes]) -> None:
    too_large = (bytes(65_536) for _ in range(live.service.settings.max_body_bytes // 65_536 + 1))
    assert_error(live.request("POST", INFER, too_large), 413)
    assert_error(ask(live, one_image(images[0]), {"Content-Encoding": "gzip"}), 415)
    assert_error(ask(live, one_image(images[0]), {"X-Timeout-Ms": "soon"}), 400)
    assert_error(live.request("GET", INFER), 405)
    assert_error(live.request("GET", "/v2/nothing"), 404)


def test_a_caller_who_hangs_up_is_taken_out_of_the_line(images: list[bytes]) -> None:
    engine = HeldEngine()
    with serve([predictor_on(engine)]) as held, ThreadPoolExecutor(1) as pool:
        engine.hold()
        running = pool.submit(ask, held, one_image(images[0]))
        held.wait_for_metric(1, "rotulo_batches_closed_total", model="cifar10", reason="device_free")
        leaving = held.connection()
        data = [base64.b64encode(image).decode() for image in images]
        tensor = {"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}
        leaving.request("POST", INFER, json.dumps({"inputs": [tensor]}))
        held.wait_for_metric(len(images), "rotulo_waiting", model="cifar10")
        leaving.close()
        held.wait_for_metric(0, "rotulo_waiting", model="cifar10")
        engine.release.set()
        assert running.result().status == 200
    assert engine.sizes == [1]


def test_a_full_line_refuses_at_once_and_says_when_to_come_back(images: list[bytes]) -> None:
    engine = HeldEngine()
    with (
        serve([predictor_on(engine)], max_waiting=1, max_images=1) as held,
        ThreadPoolExecutor(2) as pool,
    ):
        engine.hold()
        first = pool.submit(ask, held, one_image(images[0]))
        held.wait_for_metric(1, "rotulo_batches_closed_total", model="cifar10", reason="device_free")
        second = pool.submit(ask, held, one_image(images[0]))
        held.wait_for_metric(1, "rotulo_waiting", model="cifar10")
        refused = ask(held, one_image(images[0]))
        with contextlib.closing(held.connection()) as connection:
            connection.putrequest("POST", INFER)
            connection.putheader("Content-Length", "1000")
            connection.endheaders()  # and not one byte of the body: it is not waited for
            before_the_body = connection.getresponse().status
        engine.release.set()
        assert [first.result().status, second.result().status] == [200, 200]
    assert_error(refused, 503)
    assert before_the_body == 503
    assert int(refused.headers["retry-after"]) >= 1


def test_a_fault_of_ours_is_a_500_that_says_nothing(images: list[bytes]) -> None:
    engine = FaultyEngine()
    with serve([predictor_on(engine)]) as running:
        engine.fault = lambda logits: logits * np.float32("nan")
        response = ask(running, one_image(images[0]))
    assert_error(response, 500)
    assert response.json()["error"] == "Internal error"


def ask(live: LiveService, document: Any, headers: dict[str, str] | None = None) -> Response:
    return live.request("POST", INFER, json.dumps(document), headers)


def one_image(image: bytes) -> dict[str, Any]:
    return {"inputs": [{**TENSOR, "data": [base64.b64encode(image).decode()]}]}


def assert_error(response: Response, status: int) -> None:
    assert response.status == status
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]


def test_a_refusal_takes_no_thread(live: LiveService) -> None:
    def workers() -> set[int | None]:
        return {thread.ident for thread in threading.enumerate() if "AnyIO" in thread.name}

    before = workers()
    assert_error(live.request("POST", INFER, b"{"), 400)
    assert live.request("GET", "/nothing").status == 404
    assert workers() <= before
