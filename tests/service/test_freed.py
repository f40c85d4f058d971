"""What an error held goes with its answer, without a collection of garbage: bodies, images, the model."""

from __future__ import annotations

import gc
import json
import struct
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from models.errors import BadArtifact
from models.predictor import Predictor
from service.errors import forget_frames
from service.serving.store import Store
from tests.conftest import ImageMaker, spec
from tests.live import TOKEN, LiveService, multipart, serve
from tests.service.fakes import HeldEngine, predictor_on

Asked = tuple[str, bytes, dict[str, str]]
STATUSES = {"unsupported": 415, "undecodable": 422, "late": 504}
ROUTES = {
    "/v1/models/cifar10/predict": "/v1/models/{model}/predict",
    "/v2/models/cifar10/infer": "/v2/models/{model}/infer",
    "/predict": "/predict",
}


@pytest.fixture(autouse=True)
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Shelf(Store):
    """Versions 1 and 2, each on an engine of its own; with `fails`, they must not be served."""

    def __init__(self) -> None:
        self.engines: list[weakref.ref[HeldEngine]] = []
        self.fails = False

    def versions(self, _: str) -> tuple[str, ...]:
        return ("1", "2")

    def load(self, _name: str, version: str | None = None) -> Predictor:
        engine = HeldEngine()
        self.engines.append(weakref.ref(engine))
        if self.fails:
            raise BadArtifact("golden.png: another answer")
        return predictor_on(engine, spec(version=version or "2"))


def natively(*images: bytes) -> Asked:
    if len(images) == 1:
        return "/v1/models/cifar10/predict", images[0], {}
    return "/v1/models/cifar10/predict", *multipart(*(("file", image) for image in images))


def by_flask(*images: bytes) -> Asked:
    return "/predict", *multipart(*(("file", image) for image in images))


def by_v2(*images: bytes) -> Asked:
    data = b"".join(len(image).to_bytes(4, "little") + image for image in images)
    parameters = {"binary_data_size": len(data)}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(images)], "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    return "/v2/models/cifar10/infer", head + data, {"Inference-Header-Content-Length": str(len(head))}


def broken(whole: bytes) -> bytes:
    """A PNG whose header is good, and whose pixels end halfway."""
    at = whole.index(b"IDAT") + 4
    end = at + int.from_bytes(whole[at - 8 : at - 4])
    half = (at + end) // 2
    pixels = whole[at:half] + bytes(end - half)
    return whole[:at] + pixels + struct.pack(">I", zlib.crc32(b"IDAT" + pixels)) + whole[end + 4 :]


def activate(live: LiveService, version: str) -> int:
    body = json.dumps({"version": version})
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return live.request("POST", "/admin/models/cifar10/activate", body, headers).status


def assert_freed(live: LiveService, engine: weakref.ref[HeldEngine]) -> None:
    for _ in range(50):
        if engine() is None:
            return
        live.request("GET", "/healthz")
    raise AssertionError("the engine is still in memory")


def leave(live: LiveService, asked: Asked) -> None:
    """Hang up once the engine is at it."""
    path, body, headers = asked
    with closing(live.connection()) as leaving:
        leaving.request("POST", path, body, headers)
        live.wait_for_metric(1, "rotulo_batches_closed_total", model="cifar10", reason="device_free")
    route = ROUTES[path]
    live.wait_for_metric(1, "rotulo_http_requests_total", method="POST", route=route, status="499")


@pytest.mark.parametrize("cache_entries", [0, 10])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("asked", [natively, by_flask, by_v2])
@pytest.mark.parametrize("how", ["unsupported", "undecodable", "late", "left"])
def test_a_version_that_answered_an_error_goes_with_its_last_request(
    make_image: ImageMaker, how: str, asked: Callable[..., Asked], images: int, cache_entries: int
) -> None:
    shelf = Shelf()
    with serve([predictor_on(HeldEngine())], shelf, cache_entries=cache_entries) as live:
        assert activate(live, "2") == 200
        (engine,) = shelf.engines
        sent = {"unsupported": b"GIF89a", "undecodable": broken(make_image(0, (300, 300)))}
        path, body, headers = asked(*[sent.get(how, make_image())] * images)
        held = engine()
        assert held is not None
        if how == "left":
            held.hold()
            leave(live, (path, body, headers))
        else:
            if how == "late":
                held.hold()
                headers = {**headers, "X-Timeout-Ms": "60"}
            # Of several images a bad one has its error in its place, but on the route of the protocol.
            in_its_place = images > 1 and asked is not by_v2 and how != "late"
            expected = 200 if in_its_place else STATUSES[how]
            assert live.request("POST", path, body, headers).status == expected
        held.release.set()
        del held
        assert activate(live, "1") == 200
        assert_freed(live, engine)


def test_a_version_that_must_not_be_served_is_freed() -> None:
    shelf = Shelf()
    shelf.fails = True
    with serve([predictor_on(HeldEngine())], shelf) as live:
        assert activate(live, "2") == 422
        assert_freed(live, shelf.engines[0])


def test_an_error_lets_go_of_the_frames_of_all_that_it_came_from() -> None:
    try:
        try:
            raise ValueError("the cause")
        except ValueError as cause:
            raise ExceptionGroup("several", [KeyError("one of them"), cause]) from cause
    except ExceptionGroup as error:
        error.exceptions[0].__context__ = error  # a circle
        answered = error
    forget_frames(answered)
    for each in (answered, answered.__cause__, *answered.exceptions):
        assert each is not None
        assert each.__traceback__ is None
