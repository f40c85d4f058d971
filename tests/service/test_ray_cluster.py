"""Rótulo on a Ray cluster of two nodes: the answers of the service itself, and what a node's death costs."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from service.serving.store import Store
from service.settings import Settings
from tests.conftest import SAMPLES
from tests.live import TOKEN, LiveService, Response, multipart, send, serve
from tests.ray_cluster import WITHOUT_RAY, RayCluster, has_ray, ray_cluster

pytestmark = [pytest.mark.skipif(not has_ray(), reason=WITHOUT_RAY), pytest.mark.timeout(1200)]

PREDICT = "/v1/models/cifar10/predict"
SETTINGS: dict[str, Any] = {
    "threads": 1,
    "max_batch_size": 4,
    "max_waiting": 8,
    "max_images": 8,
    "latency_target_ms": 300_000,
}
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}
REQUEST_ID = {"X-Request-Id": "one-for-both"}
IMAGE = (SAMPLES / "cat.jpg").read_bytes()
SMALL = (SAMPLES / "cat-32.png").read_bytes()
BROKEN = IMAGE[:400]
CALLERS = 4


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    log = tmp_path_factory.mktemp("ray") / "cluster.log"
    with ray_cluster(log, {**SETTINGS, "admin_token": TOKEN}) as running:
        yield running


@pytest.fixture(scope="module")
def alone() -> Iterator[LiveService]:
    """The service itself, with the same models and settings."""
    with serve(Store(Settings(**SETTINGS)).load_all(), None, **SETTINGS) as running:
        yield running


def ask(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> Response:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=300)) as connection:
        return send(connection, method, path, body, {**REQUEST_ID, **(headers or {})})


def first_refused(port: int, path: str) -> Response:
    """Many callers, each with as many images as fit into a line, until one of them is not answered."""
    form = multipart(*[("file", SMALL)] * SETTINGS["max_waiting"])
    with ThreadPoolExecutor(4 * CALLERS) as pool:
        for _ in range(100):
            answers = [pool.submit(ask, port, "POST", path, *form) for _ in range(4 * CALLERS)]
            if refused := [answer.result() for answer in answers if answer.result().status != 200]:
                return refused[0]
    raise AssertionError("nobody was refused")


def image_input(*images: bytes) -> bytes:
    """A request of the Open Inference Protocol."""
    data = [base64.b64encode(image).decode() for image in images]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(images)], "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", f"{PREDICT}?top_k=10", IMAGE, {}, 200),
        ("POST", PREDICT, *multipart(("a", IMAGE), ("b", BROKEN), ("c", SMALL)), 200),
        ("GET", "/v2", None, {}, 200),
        ("POST", "/v2/models/cifar10/infer", image_input(IMAGE, SMALL), {}, 200),
        ("GET", "/v2/models/cifar10", None, {}, 200),
        ("POST", "/predict", *multipart(("file", IMAGE), ("file", SMALL)), 200),
        ("GET", "/healthz", None, {}, 200),
        ("GET", "/readyz", None, {}, 200),
        ("GET", "/openapi.json", None, {}, 200),
        ("POST", PREDICT, BROKEN, {}, 422),
        ("POST", PREDICT, b"no image", {}, 415),
        ("POST", PREDICT, IMAGE, {"X-Timeout-Ms": "soon"}, 400),
        ("POST", "/v1/models/nobody/predict", IMAGE, {}, 404),
        ("GET", "/nowhere", None, {}, 404),
        ("POST", "/v2/models/cifar10/infer", b"{}", {}, 400),
        ("POST", "/predict", *multipart(("file", BROKEN)), 422),
        ("POST", "/predict", *multipart(("other", IMAGE)), 400),
        ("GET", "/predict", None, {}, 405),
        ("POST", "/classificar", *multipart(("image", IMAGE)), 200),
        ("POST", "/classificar", *multipart(("image", BROKEN)), 422),
        ("POST", "/shutdown", None, {}, 401),
        ("POST", "/admin/models/cifar10/activate", None, {}, 401),
    ],
)
def test_a_replica_answers_as_the_service_itself(
    cluster: RayCluster,
    alone: LiveService,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    status: int,
) -> None:
    expected = ask(alone.port, method, path, body, headers)
    answer = ask(cluster.port, method, path, body, headers)
    assert answer.status == expected.status == status
    assert answer.headers["content-type"] == expected.headers["content-type"]
    assert answer.headers["x-request-id"] == REQUEST_ID["X-Request-Id"]
    assert answer.json() == expected.json()


def test_what_the_line_cannot_take_is_refused_by_the_replica_and_says_when_to_come_back(
    cluster: RayCluster,
) -> None:
    for path in (PREDICT, "/predict"):
        refused = first_refused(cluster.port, path)
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["x-replica"]  # not from Ray's proxy
    assert refused.json() == {"error": "Too much work at once"}


@pytest.mark.parametrize(
    "path", ["/shutdown", "/admin/models/cifar10/activate", "/admin/models/cifar10/rollback"]
)
def test_what_one_replica_of_several_must_not_do_is_refused(cluster: RayCluster, path: str) -> None:
    refused = ask(cluster.port, "POST", path, None, AUTHORISED)
    assert refused.status == 409
    assert "one replica of several" in refused.body.decode()
    assert ask(cluster.port, "GET", "/readyz").status == 200


def test_without_a_request_id_the_answer_has_the_one_that_the_replica_was_told(cluster: RayCluster) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=300)) as connection:
        refused = send(connection, "POST", PREDICT, BROKEN)
    assert refused.json()["request_id"] == refused.headers["x-request-id"]


def replicas(port: int, requests: int = 40) -> set[str]:
    """Who answers."""
    with ThreadPoolExecutor(CALLERS) as pool:
        answers = pool.map(lambda _: ask(port, "POST", PREDICT, SMALL), range(requests))
        return {answer.headers["x-replica"] for answer in answers if answer.status == 200}


def test_a_node_that_dies_costs_what_it_held_and_another_takes_its_place(cluster: RayCluster) -> None:
    expected = ask(cluster.port, "POST", PREDICT, SMALL).json()
    before = replicas(cluster.port)
    assert len(before) == 2
    over, answers = threading.Event(), []

    def caller() -> None:
        while not over.is_set():
            answers.append(ask(cluster.port, "POST", PREDICT, SMALL))

    with ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(caller) for _ in range(CALLERS)]
        cluster.kill_node()
        while len(answers) < 20 * CALLERS or answers[-1].status != 200:
            assert len(answers) < 2000
        over.set()
        for each in callers:
            each.result()
    lost = [answer for answer in answers if answer.status != 200]
    assert all(answer.status in (500, 503) for answer in lost)
    assert len(lost) < len(answers) / 2
    assert all(answer.json() == expected for answer in answers if answer.status == 200)
    (survivor,) = replicas(cluster.port)
    assert survivor in before

    cluster.add_node()
    for _ in range(200):
        if len(replicas(cluster.port)) == 2:
            break
    assert len(replicas(cluster.port) - before) == 1
