"""Kept answers over real HTTP: identical images run once, and no one notices but by the header."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import pytest

from models.engines.protocol import Logits
from models.images import Pixels
from service.serving.served import ServedModel
from tests.conftest import CLASSES, ImageMaker, spec
from tests.live import LiveService, Response, multipart, serve
from tests.service.fakes import HeldEngine, PixelEngine, predictor_on
from tests.service.serving.test_versions import Shelf, VersionEngine, activate, roll_back

NATIVE = "/v1/models/cifar10/predict"
INFER = "/v2/models/cifar10/infer"
LEFT = {"route": "/v1/models/{model}/predict", "method": "POST", "status": "499"}
COALESCED = {"model": "cifar10", "kind": "coalesced"}


class FaultyHeldEngine(HeldEngine):
    """Does `faults`, one to each batch, once it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[Exception] = []

    def logits(self, pixels: Pixels) -> Logits:
        logits = super().logits(pixels)
        if self.faults:
            raise self.faults.pop(0)
        return logits


@pytest.fixture
def engine() -> FaultyHeldEngine:
    return FaultyHeldEngine()


@pytest.fixture
def cached(engine: FaultyHeldEngine) -> Iterator[LiveService]:
    """A service that keeps answers, whose engine can be held."""
    with serve([predictor_on(engine)], cache_entries=100) as running:
        engine.sizes.clear()
        yield running
        engine.release.set()


def ask(live: LiveService, image: bytes, timeout_ms: int | None = None) -> Response:
    headers = {} if timeout_ms is None else {"X-Timeout-Ms": str(timeout_ms)}
    return live.request("POST", NATIVE, image, headers)


class Ask(Protocol):
    def __call__(
        self, image: bytes, timeout_ms: int | None = None, *, joins: bool = True
    ) -> Future[Response]: ...


@contextmanager
def at_once(live: LiveService) -> Iterator[Ask]:
    """Ask without waiting for the answer: each is known to be waiting before the next is sent."""
    joined = live.metric("rotulo_cache_hits_total", **COALESCED)

    def begin(image: bytes, timeout_ms: int | None = None, *, joins: bool = True) -> Future[Response]:
        nonlocal joined
        future = pool.submit(ask, live, image, timeout_ms)
        if joins:
            joined += 1
            live.wait_for_metric(joined, "rotulo_cache_hits_total", **COALESCED)
        return future

    with ThreadPoolExecutor(16) as pool:
        yield begin


def hold_with(live: LiveService, engine: HeldEngine, begin: Ask, image: bytes) -> Future[Response]:
    """The engine is busy with this image until it is released."""
    batches = sum(
        live.metric("rotulo_batches_closed_total", model="cifar10", reason=reason)
        for reason in ("device_free", "full")
    )
    engine.hold()
    first = begin(image, joins=False)
    live.wait_for_metric(batches + 1, "rotulo_batches_closed_total", model="cifar10", reason="device_free")
    return first


def leave(live: LiveService, image: bytes) -> http.client.HTTPConnection:
    """Ask, and be about to hang up."""
    connection = live.connection()
    connection.request("POST", NATIVE, image)
    return connection


def test_an_image_that_was_answered_is_answered_again_without_the_engine(
    cached: LiveService, engine: HeldEngine, make_image: ImageMaker
) -> None:
    first, second = ask(cached, make_image()), ask(cached, make_image())
    assert second.body == first.body
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit")
    assert "server-timing" in first.headers
    assert "server-timing" not in second.headers
    assert engine.sizes == [1]
    assert cached.metric("rotulo_cache_hits_total", model="cifar10", kind="hit") == 1
    assert cached.metric("rotulo_cache_misses_total", model="cifar10") == 1
    assert cached.metric("rotulo_cache_entries", model="cifar10") == 1


def test_identical_images_at_once_run_once_and_different_ones_do_not_mix(
    cached: LiveService, engine: HeldEngine, make_image: ImageMaker
) -> None:
    expected = {seed: ask(cached, make_image(seed, (8, 8), "PNG")).json() for seed in range(3)}
    with serve([predictor_on(engine)], cache_entries=100) as live:
        with at_once(live) as begin:
            answers = [(9, hold_with(live, engine, begin, make_image(9)))]
            for seed in range(3):
                answers.append((seed, begin(make_image(seed, (8, 8), "PNG"), joins=False)))
                live.wait_for_metric(seed + 1, "rotulo_waiting", model="cifar10")
                answers += [(seed, begin(make_image(seed, (8, 8), "PNG"))) for _ in range(4)]
            assert live.metric("rotulo_waiting", model="cifar10") == 3
            engine.release.set()
        for seed, future in answers[1:]:
            assert future.result().json() == expected[seed]
        assert engine.sizes == [1, 3]
        outcomes = [future.result().headers["x-cache"] for _, future in answers]
        assert (outcomes.count("miss"), outcomes.count("coalesced")) == (4, 12)


def v2_image(image: bytes) -> tuple[bytes, dict[str, str]]:
    element = len(image).to_bytes(4, "little") + image
    return _v2("image", "BYTES", [1], element)


def v2_pixels(pixels: bytes, size: int) -> tuple[bytes, dict[str, str]]:
    return _v2("pixels", "UINT8", [1, size, size, 3], pixels)


def _v2(name: str, datatype: str, shape: list[int], data: bytes) -> tuple[bytes, dict[str, str]]:
    parameters = {"binary_data_size": len(data)}
    tensor = {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + data, {"Inference-Header-Content-Length": str(len(head))}


def test_every_route_has_the_cache_and_says_so(
    cached: LiveService, engine: HeldEngine, make_image: ImageMaker
) -> None:
    image, other = make_image(1), make_image(2)
    assert ask(cached, image).headers["x-cache"] == "miss"
    flask = cached.request("POST", "/predict", *multipart(("file", image)))
    assert flask.headers["x-cache"] == "hit"
    several = multipart(("file", image), ("file", other), ("file", other), ("file", b"no image"))
    for path in (NATIVE, "/predict"):
        assert cached.request("POST", path, *several).headers["x-cache"] == (
            "coalesced=1, hit=1, miss=1" if path == NATIVE else "hit=3"
        )
    for outcome in ("miss", "hit"):
        assert cached.request("POST", INFER, *v2_image(image)).headers["x-cache"] == outcome
        assert cached.request("POST", INFER, *v2_pixels(bytes(192), 8)).headers["x-cache"] == outcome
    assert sum(engine.sizes) == 4


def test_callers_of_different_routes_wait_for_the_same_inference(
    cached: LiveService, engine: HeldEngine, make_image: ImageMaker
) -> None:
    body, headers = multipart(("file", make_image()))
    with at_once(cached) as begin, ThreadPoolExecutor(1) as pool:
        native = hold_with(cached, engine, begin, make_image())
        patient = {**headers, "X-Timeout-Ms": "600000"}  # later than the target, so it has a clock of its own
        flask = pool.submit(cached.request, "POST", "/predict", body, patient)
        cached.wait_for_metric(1, "rotulo_cache_hits_total", **COALESCED)
        engine.release.set()
        (prediction,) = flask.result().json()["predictions"]
    assert flask.result().headers["x-cache"] == "coalesced"
    assert prediction["category"] == native.result().json()["label"]
    assert engine.sizes == [1]


def test_the_old_bottle_route_has_it_too(make_image: ImageMaker) -> None:
    classes = ("open", "closed", *CLASSES[2:])
    bottles = predictor_on(PixelEngine(), spec("bottle").model_copy(update={"classes": classes}))
    with serve([bottles], cache_entries=1) as live:
        form = multipart(("image", make_image()))
        answers = [live.request("POST", "/classificar", *form) for _ in range(2)]
    assert [answer.headers["x-cache"] for answer in answers] == ["miss", "hit"]
    assert answers[0].body == answers[1].body


def test_an_image_is_not_answered_as_the_tensor_that_has_the_same_bytes(
    cached: LiveService, make_image: ImageMaker
) -> None:
    expected = ask(cached, make_image(0, (2, 2))).json()
    image = make_image(0, (2, 2)).ljust(8 * 8 * 3, b"\0")
    tensor = cached.request("POST", INFER, *v2_pixels(image, 8)).json()
    answer = ask(cached, image)
    assert answer.headers["x-cache"] == "miss"
    assert answer.json() == expected
    assert round(tensor["outputs"][2]["data"][0], 6) != expected["confidence"]


@pytest.mark.parametrize("who", ["the first", "a follower"])
def test_whoever_leaves_the_others_are_answered_by_the_same_inference(
    cached: LiveService, engine: HeldEngine, make_image: ImageMaker, who: str
) -> None:
    image = make_image()
    with at_once(cached) as begin:
        engine.hold()
        leaving = leave(cached, image) if who == "the first" else None
        first = begin(image, joins=leaving is not None)
        if leaving is None:
            cached.wait_for_metric(1, "rotulo_cache_misses_total", model="cifar10")
            leaving = leave(cached, image)
            cached.wait_for_metric(1, "rotulo_cache_hits_total", **COALESCED)
        leaving.close()
        cached.wait_for_metric(1, "rotulo_http_requests_total", **LEFT)
        engine.release.set()
        assert first.result().status == 200
    assert engine.sizes == [1]


def test_when_the_last_of_them_leaves_the_image_is_taken_out_of_the_line(
    cached: LiveService, engine: HeldEngine, make_image: ImageMaker
) -> None:
    with at_once(cached) as begin:
        busy = hold_with(cached, engine, begin, make_image(1))
        leaving = [leave(cached, make_image(2))]
        cached.wait_for_metric(1, "rotulo_waiting", model="cifar10")
        leaving.append(leave(cached, make_image(2)))
        cached.wait_for_metric(1, "rotulo_cache_hits_total", **COALESCED)
        leaving[0].close()
        cached.wait_for_metric(1, "rotulo_http_requests_total", **LEFT)
        assert cached.metric("rotulo_waiting", model="cifar10") == 1
        leaving[1].close()
        cached.wait_for_metric(0, "rotulo_waiting", model="cifar10")
        engine.release.set()
        assert busy.result().status == 200
    assert engine.sizes == [1]
    assert ask(cached, make_image(2)).headers["x-cache"] == "miss"


def test_a_budget_that_was_too_small_gets_its_own_504_and_a_follower_waits_on(
    cached: LiveService, engine: HeldEngine, make_image: ImageMaker
) -> None:
    with at_once(cached) as begin:
        busy = hold_with(cached, engine, begin, make_image(1))
        first = begin(make_image(2), 300, joins=False)
        cached.wait_for_metric(1, "rotulo_waiting", model="cifar10")
        follower = begin(make_image(2), 60_000)
        assert first.result().status == 504
        cached.wait_for_metric(1, "rotulo_waiting", model="cifar10")  # on the follower's own budget
        engine.release.set()
        assert (busy.result().status, follower.result().status) == (200, 200)
    assert follower.result().json() == ask(cached, make_image(2)).json()


def test_a_caller_in_more_of_a_hurry_than_the_flight_takes_one_of_its_own(
    cached: LiveService, engine: HeldEngine, make_image: ImageMaker
) -> None:
    with at_once(cached) as begin:
        busy = hold_with(cached, engine, begin, make_image(1))
        patient = begin(make_image(2), joins=False)
        cached.wait_for_metric(1, "rotulo_waiting", model="cifar10")
        hasty = begin(make_image(2), 60_000, joins=False)
        cached.wait_for_metric(2, "rotulo_waiting", model="cifar10")
        engine.release.set()
        assert busy.result().status == 200
    assert patient.result().json() == hasty.result().json()


@pytest.mark.parametrize(("fault", "status"), [(RuntimeError("secret"), 500), (MemoryError(), 503)])
def test_a_batch_that_fails_fails_its_first_caller_and_is_tried_once_more_for_the_others(
    cached: LiveService, engine: FaultyHeldEngine, make_image: ImageMaker, fault: Exception, status: int
) -> None:
    # A batch without memory is run again by the batcher itself.
    engine.faults = [fault] * (2 if isinstance(fault, MemoryError) else 1)
    with at_once(cached) as begin:
        first = hold_with(cached, engine, begin, make_image())
        others = [begin(make_image()) for _ in range(3)]
        engine.release.set()
        assert first.result().status == status
        assert {other.result().status for other in others} == {200}
    assert ask(cached, make_image()).headers["x-cache"] == "hit"


def test_an_error_is_never_kept_and_each_caller_has_its_own(
    cached: LiveService, engine: FaultyHeldEngine, make_image: ImageMaker
) -> None:
    engine.faults = [RuntimeError("secret"), RuntimeError("secret")]
    with at_once(cached) as begin:
        first = hold_with(cached, engine, begin, make_image())
        others = [begin(make_image()) for _ in range(3)]
        engine.release.set()
        answers = [future.result() for future in (first, *others)]
    assert [answer.status for answer in answers] == [500] * 4
    assert len({answer.json()["request_id"] for answer in answers}) == 4
    assert cached.metric("rotulo_cache_entries", model="cifar10") == 0
    assert ask(cached, make_image()).headers["x-cache"] == "miss"
    for _ in range(2):
        assert ask(cached, b"\x89PNG\r\n\x1a\n").status == 422
    assert cached.metric("rotulo_cache_entries", model="cifar10") == 1


def test_no_more_answers_are_kept_than_was_asked_for(make_image: ImageMaker) -> None:
    with serve([predictor_on(PixelEngine())], cache_entries=2) as live:
        for seed in range(3):
            ask(live, make_image(seed))
        assert live.metric("rotulo_cache_entries", model="cifar10") == 2
        outcomes = [ask(live, make_image(seed)).headers["x-cache"] for seed in (1, 2, 0)]
    assert outcomes == ["hit", "hit", "miss"]


def test_a_version_answers_only_from_what_it_worked_out_itself(make_image: ImageMaker) -> None:
    shelf, image = Shelf(), make_image()

    def seen(live: LiveService) -> list[tuple[str, int]]:
        answers = [ask(live, image) for _ in range(2)]
        return [(answer.headers["x-cache"], answer.json()["index"]) for answer in answers]

    with serve([shelf.load("cifar10", "1")], shelf, cache_entries=10) as live:
        assert seen(live) == [("miss", 1), ("hit", 1)]
        activate(live, "2")
        assert seen(live) == [("miss", 2), ("hit", 2)]
        roll_back(live)
        assert seen(live) == [("miss", 1), ("hit", 1)]
        shelf.loads["1"] = lambda: predictor_on(VersionEngine(3))  # the same number, other weights
        activate(live, "1")
        assert seen(live) == [("miss", 3), ("hit", 3)]


def test_a_switch_while_they_wait_mixes_no_versions(engine: FaultyHeldEngine, make_image: ImageMaker) -> None:
    shelf, image = Shelf(), make_image()
    with serve([predictor_on(engine)], shelf, cache_entries=10) as live:
        before = ask(live, make_image(1)).json()
        with at_once(live) as begin, ThreadPoolExecutor(1) as pool:
            old = [hold_with(live, engine, begin, image), begin(image)]
            switch = pool.submit(activate, live, "2")  # its warm-up waits for the engine
            engine.release.set()
            assert switch.result().status == 200
            new = ask(live, image)
            assert [future.result().json()["version"] for future in old] == ["1", "1"]
        assert before["version"] == "1"
        assert (new.headers["x-cache"], new.json()["version"], new.json()["index"]) == ("miss", "2", 2)


def test_an_engine_that_hangs_answers_all_of_them_at_once(
    engine: FaultyHeldEngine, make_image: ImageMaker
) -> None:
    settings = {"hang_seconds": 1.0, "hang_exit_seconds": 3600}
    with serve([predictor_on(engine)], cache_entries=10, **settings) as live:
        with at_once(live) as begin:
            waiting = [hold_with(live, engine, begin, make_image(1))]
            waiting += [begin(make_image(1)) for _ in range(5)]
            assert {future.result().status for future in waiting} == {504}
            engine.release.set()
        assert live.metric("rotulo_cache_misses_total", model="cifar10") == 1
        assert live.metric("rotulo_abandoned_total", model="cifar10", stage="expired_running") == 1
        assert live.metric("rotulo_abandoned_total", model="cifar10", stage="dropped") == 0


def test_without_it_there_is_no_header_no_metric_and_the_plain_model(make_image: ImageMaker) -> None:
    with serve([predictor_on(PixelEngine())]) as live:
        answers = [ask(live, make_image()) for _ in range(2)]
        answers.append(live.request("POST", "/predict", *multipart(("file", make_image()))))
        answers.append(live.request("POST", INFER, *v2_image(make_image())))
        metrics = live.request("GET", "/metrics").body
        assert type(live.service.model("cifar10")) is ServedModel
    assert not any("x-cache" in answer.headers for answer in answers)
    assert b"cache" not in metrics
