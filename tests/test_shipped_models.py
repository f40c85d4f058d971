"""The shipped CIFAR-10 model on the real test images, as a caller gets it."""

from __future__ import annotations

import http.client
import io
import os
import random
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models import catalog, loader
from models.engines.choice import Wish
from models.images import prepare
from models.predictor import Prediction, Predictor
from tests.conftest import TOLERANCE
from tests.live import LiveService, Response, multipart, send, serve

CIFAR10_JPEGS = os.environ.get("CIFAR10_JPEGS", "")
CONNECTIONS = 64
IMAGES = 1000

pytestmark = pytest.mark.skipif(
    not CIFAR10_JPEGS, reason="CIFAR10_JPEGS does not name a folder or zip of CIFAR-10 as JPEG files"
)


@pytest.fixture(scope="module")
def images() -> list[tuple[str, bytes]]:
    """(class, JPEG) of 1,000 test images, drawn with a fixed seed."""
    path = Path(CIFAR10_JPEGS)
    root = zipfile.Path(io.BytesIO(path.read_bytes())) if path.suffix == ".zip" else path
    files = sorted(
        (folder.name, file.name) for folder in (root / "test").iterdir() for file in folder.iterdir()
    )
    chosen = random.Random(0).sample(files, IMAGES)
    return [(label, (root / "test" / label / name).read_bytes()) for label, name in chosen]


@pytest.fixture(scope="module", params=["auto", "torch"])
def shipped(request: pytest.FixtureRequest) -> Predictor:
    """On the engine that `make serve` chooses here, and on the one that knows the stored weights in fp32."""
    return loader.load(
        catalog.locate(catalog.SHIPPED_MODELS, "cifar10"), Wish(engine=request.param), threads=2
    )


@pytest.fixture(scope="module")
def running(shipped: Predictor) -> Iterator[LiveService]:
    with serve([shipped]) as live:
        yield live


def ask_all(running: LiveService, images: list[tuple[str, bytes]], route: str) -> list[Response]:
    """Every image once, over 64 keep-alive connections."""
    own = threading.local()
    opened: list[http.client.HTTPConnection] = []

    def ask(data: bytes) -> Response:
        if not hasattr(own, "connection"):
            own.connection = running.connection()
            opened.append(own.connection)
        if route == "native":
            return send(own.connection, "POST", "/v1/models/cifar10/predict", data)
        return send(own.connection, "POST", "/predict", *multipart(("file", data)))

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        responses = list(pool.map(ask, [data for _, data in images]))
    for connection in opened:
        connection.close()
    return responses


def mean_batch_size(running: LiveService, before: tuple[float, float]) -> float:
    images, batches = batch_counts(running)
    return (images - before[0]) / (batches - before[1])


def batch_counts(running: LiveService) -> tuple[float, float]:
    return (
        running.metric("rotulo_batch_size_sum", model="cifar10"),
        running.metric("rotulo_batch_size_count", model="cifar10"),
    )


@pytest.mark.parametrize("route", ["native", "flask"])
def test_what_is_served_is_what_was_evaluated_and_the_batches_are_large(
    running: LiveService, shipped: Predictor, images: list[tuple[str, bytes]], route: str
) -> None:
    before = batch_counts(running)
    responses = ask_all(running, images, route)
    assert mean_batch_size(running, before) >= 16
    tolerance = TOLERANCE + 1e-6  # answers are rounded to six digits
    right = 0
    for (label, data), response in zip(images, responses, strict=True):
        (offline,) = shipped.predict([prepare(data, shipped.manifest.preprocessing)])
        assert isinstance(offline, Prediction)
        answer = response.json() if route == "native" else response.json()["predictions"][0]
        index = answer["index"] if route == "native" else answer["category_index"]
        assert offline.confidence - offline.probabilities[index] <= 2 * tolerance  # equal, or a tie
        assert answer["confidence"] == pytest.approx(offline.confidence, abs=tolerance)
        right += shipped.manifest.classes[index] == label
    assert right / IMAGES >= 0.8
