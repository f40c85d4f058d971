"""Concurrent requests become batches, on both routes, and each gets its own answer."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from batching.schedule import DeviceSchedule
from models.images import prepare
from tests.conftest import ImageMaker
from tests.live import TOKEN, LiveService, Response, multipart, serve
from tests.service.fakes import FaultyEngine, HeldEngine, predictor_on

NATIVE = "/v1/models/cifar10/predict"


@pytest.fixture
def engine() -> HeldEngine:
    return HeldEngine()


@pytest.fixture
def held(engine: HeldEngine) -> Iterator[LiveService]:
    """A service whose engine can be held; its target is long enough never to matter."""
    with serve([predictor_on(engine)]) as running:
        yield running
        engine.release.set()


def wait_until_waiting(held: LiveService, count: int) -> None:
    held.wait_for_metric(count, "rotulo_waiting", model="cifar10")


@pytest.mark.parametrize("route", ["native", "flask"])
def test_64_requests_that_arrive_while_the_engine_is_busy_run_in_two_full_batches(
    held: LiveService, engine: HeldEngine, make_image: ImageMaker, route: str
) -> None:
    def ask(seed: int) -> Response:
        if route == "native":
            return held.request("POST", NATIVE, make_image(seed))
        return held.request("POST", "/predict", *multipart(("file", make_image(seed))))

    engine.hold()
    with ThreadPoolExecutor(65) as pool:
        first = pool.submit(ask, 0)
        held.wait_for_metric(1, "rotulo_batches_closed_total", model="cifar10", reason="device_free")
        others = [pool.submit(ask, seed) for seed in range(1, 65)]
        wait_until_waiting(held, 64)
        engine.release.set()
        assert {future.result().status for future in [first, *others]} == {200}
    assert engine.sizes == [1, 32, 32]
    assert held.metric("rotulo_batches_closed_total", model="cifar10", reason="full") == 2


def test_a_caller_who_hangs_up_is_taken_out_of_the_line(
    held: LiveService, engine: HeldEngine, make_image: ImageMaker
) -> None:
    image = make_image()
    body, headers = multipart(("file", image))
    engine.hold()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(held.request, "POST", NATIVE, image)
        held.wait_for_metric(1, "rotulo_batches_closed_total", model="cifar10", reason="device_free")
        leaving = [held.connection() for _ in range(2)]
        leaving[0].request("POST", NATIVE, image)
        leaving[1].request("POST", "/predict", body, headers)
        wait_until_waiting(held, 2)
        for connection in leaving:
            connection.close()
        wait_until_waiting(held, 0)
        engine.release.set()
        assert running.result().status == 200
    assert held.metric("rotulo_abandoned_total", model="cifar10", stage="left") == 2
    assert engine.sizes == [1]


def test_a_full_line_refuses_at_once_and_says_when_to_come_back(
    engine: HeldEngine, make_image: ImageMaker
) -> None:
    with serve([predictor_on(engine)], max_waiting=4, max_images=4) as held:
        engine.hold()
        began = time.monotonic()
        with ThreadPoolExecutor(5) as pool:
            first = pool.submit(held.request, "POST", NATIVE, make_image())
            held.wait_for_metric(1, "rotulo_batches_closed_total", model="cifar10", reason="device_free")
            others = [pool.submit(held.request, "POST", NATIVE, make_image()) for _ in range(4)]
            wait_until_waiting(held, 4)
            refused = held.request("POST", NATIVE, make_image())
            refused_flask = held.request("POST", "/predict", *multipart(("file", make_image())))
            most_ms = 1000 * (time.monotonic() - began) + 1
            engine.release.set()
            assert {future.result().status for future in [first, *others]} == {200}
    assert refused.status == refused_flask.status == 503
    # The batch that runs is late; it is expected to need as long again as it is late.
    assert 0 < refused.json()["retry_after_ms"] <= most_ms
    assert int(refused.headers["retry-after"]) == max(1, math.ceil(refused.json()["retry_after_ms"] / 1000))
    assert list(refused_flask.json()) == ["error"]


@pytest.mark.parametrize("path", [NATIVE, "/predict"])
def test_who_is_in_line_when_the_drain_runs_out_of_time_gets_a_503_and_the_service_ends(
    engine: HeldEngine, make_image: ImageMaker, path: str
) -> None:
    body, headers = multipart(("file", make_image()))
    with (
        serve([predictor_on(engine)], drain_timeout_seconds=0.1) as draining,
        ThreadPoolExecutor(2) as pool,
    ):
        engine.hold()
        running = pool.submit(draining.request, "POST", path, body, headers)
        draining.wait_for_metric(1, "rotulo_batches_closed_total", model="cifar10", reason="device_free")
        in_line = pool.submit(draining.request, "POST", path, body, headers)
        wait_until_waiting(draining, 1)
        draining.request("POST", "/shutdown", headers={"Authorization": f"Bearer {TOKEN}"})
        draining.stop()  # returns while the engine is still held
        responses = [running.result(), in_line.result()]
        engine.release.set()
    for response in responses:
        assert response.status == 503
        assert int(response.headers["retry-after"]) >= 1
        assert response.headers["connection"] == "close"
        assert b"the service stopped before the answer was ready" in response.body
        assert path != NATIVE or response.json()["type"] == "urn:rotulo:problem:draining"
    assert engine.sizes == [1]


def test_an_engine_that_fails_answers_500_without_a_trace_and_the_next_request_is_served(
    make_image: ImageMaker,
) -> None:
    def fail(_: object) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        raise RuntimeError("secret 0x7f00")

    engine = FaultyEngine()
    with serve([predictor_on(engine)]) as running:
        engine.fault = fail
        native = running.request("POST", NATIVE, make_image())
        flask = running.request("POST", "/predict", *multipart(("file", make_image())))
        engine.fault = None
        assert running.request("POST", NATIVE, make_image()).status == 200
    assert native.status == flask.status == 500
    assert b"secret" not in native.body + flask.body
    assert native.json()["request_id"] == native.headers["x-request-id"]


def test_an_engine_without_memory_answers_503_and_the_next_request_is_served(make_image: ImageMaker) -> None:
    def exhaust(_: object) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        raise MemoryError

    engine = FaultyEngine()
    with serve([predictor_on(engine)]) as running:
        engine.fault = exhaust
        native = running.request("POST", NATIVE, make_image())
        flask = running.request("POST", "/predict", *multipart(("file", make_image())))
        engine.fault = None
        assert running.request("POST", NATIVE, make_image()).status == 200
        assert running.metric("rotulo_failed_total", model="cifar10", kind="OutOfMemory") == 2
    assert native.status == flask.status == 503
    assert native.json()["type"] == "urn:rotulo:problem:overloaded"
    assert int(native.headers["retry-after"]) >= 1


def test_logits_that_are_not_finite_are_our_fault_and_valid_json(make_image: ImageMaker) -> None:
    engine = FaultyEngine()
    with serve([predictor_on(engine)]) as running:
        engine.fault = lambda logits: logits * np.float32("nan")
        assert running.request("POST", NATIVE, make_image()).json()["status"] == 500
        engine.fault = lambda logits: logits[:-1]
        assert running.request("POST", NATIVE, make_image()).status == 500


def test_a_caller_whose_budget_runs_out_gets_504_and_no_one_else_does(
    held: LiveService, engine: HeldEngine, make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.hold()
    # However late the held batch is, or the line would know that the budget is too short, and refuse at once.
    monkeypatch.setattr(DeviceSchedule, "_device_seconds", lambda *_: 0.001)
    with ThreadPoolExecutor(2) as pool:
        patient = pool.submit(held.request, "POST", NATIVE, make_image())
        held.wait_for_metric(1, "rotulo_batches_closed_total", model="cifar10", reason="device_free")
        hasty = pool.submit(held.request, "POST", NATIVE, make_image(), {"X-Timeout-Ms": "200"})
        assert hasty.result().status == 504
        engine.release.set()
        assert patient.result().status == 200
    assert engine.sizes == [1]


def test_a_fault_of_ours_is_a_500_even_among_several_images(make_image: ImageMaker) -> None:
    engine = FaultyEngine()
    with serve([predictor_on(engine)]) as running:
        engine.fault = lambda logits: logits * np.float32("nan")
        several = multipart(("file", make_image(1)), ("file", make_image(2)))
        assert running.request("POST", NATIVE, *several).status == 500
        assert running.request("POST", "/predict", *several).status == 500


async def _ask_and_maybe_leave(port: int, image: bytes, leaves: bool) -> bytes | None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {NATIVE} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {len(image)}\r\n\r\n"
    writer.write(head.encode() + image)
    try:
        if not leaves:
            return (await reader.read()).partition(b"\r\n\r\n")[2]
        await writer.drain()
        return None
    finally:
        writer.close()


async def test_answers_are_never_swapped_while_callers_come_and_go(make_image: ImageMaker) -> None:
    """10,000 distinct images, 64 at a time, a third of whose callers hang up."""
    with serve([predictor_on(FaultyEngine())]) as running:
        rng = random.Random(1)
        gate = asyncio.Semaphore(64)
        served = running.service.model("cifar10").predictor

        async def one(seed: int, leaves: bool) -> bool:
            image = make_image(seed, (8, 8))
            async with gate:
                answer = await _ask_and_maybe_leave(running.port, image, leaves)
            (expected,) = served.predict([prepare(image, served.manifest.preprocessing)])
            confidence = str(round(expected.confidence, 6)).encode()  # type: ignore[union-attr]
            return answer is None or b'"confidence":' + confidence in answer

        assert all(await asyncio.gather(*(one(seed, rng.random() < 1 / 3) for seed in range(10_000))))
        await asyncio.to_thread(wait_until_waiting, running, 0)
        assert running.service.intake.bytes_held == 0


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(held: LiveService) -> None:
    for path in (NATIVE, "/predict"):
        with socket.create_connection(("127.0.0.1", held.port)) as connection:
            connection.sendall(
                f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\nhalf".encode()
            )
        held.wait_for_metric(1, "rotulo_http_requests_total", method="POST", route=_route(path), status="499")
    assert held.service.intake.bytes_held == 0


def _route(path: str) -> str:
    return path.replace("cifar10", "{model}")
