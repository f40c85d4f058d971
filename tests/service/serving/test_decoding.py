"""Images in line for a thread: bounded in number and in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from batching import Batcher, BatchPolicy, Device, LatencyModel, QueueFull
from models.images import SMALL_PIXELS, Encoded, Pixels
from models.predictor import Prediction, Predictor
from service.budget import Budget
from service.errors import Overloaded
from service.serving.decoding import Decoder
from service.serving.served import Classified, Decoded, ServedModel
from service.tracing import Trace
from tests.batching.fakes import Recorder
from tests.conftest import ImageMaker
from tests.live import multipart, serve
from tests.service.fakes import HeldEngine, PixelEngine, predictor_on

FOREVER = float("inf")
SIDE = int(SMALL_PIXELS**0.5) + 1


class SlowToDecode(Predictor):
    """Decodes nothing until it is released."""

    def __init__(self, engine: PixelEngine) -> None:
        fast = predictor_on(engine)
        super().__init__(fast.manifest, fast.engine)
        self.released = threading.Event()
        self.decoded = 0

    def decode(self, image: Encoded) -> Pixels:
        self.decoded += 1
        if not self.released.wait(60):
            raise TimeoutError("nobody released the decoder")
        return super().decode(image)


@pytest.fixture
def held() -> Iterator[HeldEngine]:
    engine = HeldEngine()
    yield engine
    engine.release.set()


@pytest.fixture
def slow(held: HeldEngine) -> Iterator[SlowToDecode]:
    predictor = SlowToDecode(held)
    yield predictor
    predictor.released.set()


@pytest.fixture
def image(slow: SlowToDecode, make_image: ImageMaker) -> Encoded:
    """One that is decoded in a thread."""
    return slow.inspect(make_image(0, (SIDE, SIDE)))


@pytest.fixture
def counted() -> Recorder:
    return Recorder()


@pytest.fixture
def decoder(slow: SlowToDecode, counted: Recorder) -> Iterator[Decoder]:
    """With one thread."""
    decoder = Decoder(1, 8, counted)
    yield decoder
    slow.released.set()
    decoder.close()


async def test_an_image_still_in_line_at_its_deadline_is_not_decoded(
    slow: SlowToDecode, image: Encoded, decoder: Decoder, counted: Recorder
) -> None:
    first = asyncio.ensure_future(decoder.decode(slow, image, FOREVER))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await decoder.decode(slow, image, asyncio.get_running_loop().time())
    assert counted.stages == ["expired"]
    slow.released.set()
    assert (await first).shape == (8, 8, 3)
    assert slow.decoded == 1
    assert counted.stages == ["expired"]


async def test_who_leaves_the_line_for_decoding_or_a_thread_is_counted(
    slow: SlowToDecode, image: Encoded, decoder: Decoder, counted: Recorder
) -> None:
    running = asyncio.ensure_future(decoder.decode(slow, image, FOREVER))
    while not slow.decoded:
        await asyncio.sleep(0)
    waiting = asyncio.ensure_future(decoder.decode(slow, image, FOREVER))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert counted.stages == ["left"]
    running.cancel()
    await asyncio.wait([running])
    assert counted.stages == ["left", "left_running"]


def test_an_image_that_outlives_the_loop_is_no_error(
    slow: SlowToDecode, image: Encoded, caplog: pytest.LogCaptureFixture
) -> None:
    """Its caller has left, and the service stops."""
    others = set(threading.enumerate())
    decoder = Decoder(threads=1, max_waiting=8)

    async def leave_at_once() -> None:
        left = asyncio.ensure_future(decoder.decode(slow, image, FOREVER))
        while not slow.decoded:
            await asyncio.sleep(0)
        left.cancel()

    asyncio.run(leave_at_once())
    slow.released.set()
    decoder.close()
    for thread in set(threading.enumerate()) - others:
        thread.join()
    assert not caplog.records


async def test_an_image_that_no_thread_could_be_started_for_keeps_no_place(
    slow: SlowToDecode, image: Encoded, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    with pytest.raises(RuntimeError):
        await decoder.decode(slow, image, FOREVER)
    assert decoder.in_progress == 0


async def test_the_line_for_a_thread_is_bounded(slow: SlowToDecode, image: Encoded) -> None:
    decoder = Decoder(threads=1, max_waiting=2)
    waiting = [asyncio.ensure_future(decoder.decode(slow, image, FOREVER)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await decoder.decode(slow, image, FOREVER)
    slow.released.set()
    assert len(await asyncio.gather(*waiting)) == 3
    decoder.close()


async def test_who_could_not_be_ready_in_time_is_refused_before_the_line(
    slow: SlowToDecode, image: Encoded, decoder: Decoder, counted: Recorder
) -> None:
    decoder._turn_seconds = 10.0  # as the last ones took
    loop = asyncio.get_running_loop()
    first = asyncio.ensure_future(decoder.decode(slow, image, loop.time() + 5))  # a thread is free
    await asyncio.sleep(0)
    assert decoder.wait_seconds() == 10.0
    asked = loop.time()
    with pytest.raises(Overloaded) as refusal:
        await decoder.decode(slow, image, asked + 5)
    took = loop.time() - asked
    assert refusal.value.retry_after_seconds == pytest.approx(5 + took / 2, abs=took / 2 + 1e-6)
    assert counted.refusals == ["decoding"]
    slow.released.set()
    await first
    assert decoder.wait_seconds() == 0


async def test_what_a_slow_spell_taught_fades_while_there_is_no_line(
    slow: SlowToDecode, image: Encoded, decoder: Decoder
) -> None:
    decoder._turn_seconds = 10.0
    slow.released.set()
    loop = asyncio.get_running_loop()
    for _ in range(60):  # each alone: nobody may stand in a line that is believed to move so slowly
        await decoder.decode(slow, image, FOREVER)
    slow.released.clear()
    first = asyncio.ensure_future(decoder.decode(slow, image, FOREVER))
    await asyncio.sleep(0)
    decoder.admit("cifar10", loop.time() + 5)
    slow.released.set()
    await first


@pytest.mark.parametrize("path", ["/v1/models/cifar10/predict", "/predict"])
def test_a_caller_behind_slow_images_gets_its_504(
    slow: SlowToDecode, make_image: ImageMaker, path: str
) -> None:
    body, headers = multipart(("file", make_image(0, (SIDE, SIDE))))
    with serve([slow], threads=1) as live:
        response = live.request("POST", path, body, {**headers, "X-Timeout-Ms": "500"})
        assert response.status == 504
        assert live.metric("rotulo_abandoned_total", model="cifar10", stage="expired_running") == 1
        slow.released.set()
        assert live.request("POST", path, body, headers).status == 200


@pytest.fixture
def model(slow: SlowToDecode) -> Iterator[ServedModel]:
    """A hundred seconds an image, with 1,050 for an answer."""
    device, decoder = Device("test"), Decoder(1, 100)
    batcher: Batcher[Pixels, Prediction] = Batcher(
        slow.predict,
        BatchPolicy(latency_target_seconds=1050),
        device,
        name="cifar10",
        latency=LatencyModel([(size, 100.0 * size) for size in (1, 2, 4, 8, 16, 32)]),
    )
    yield ServedModel(slow, decoder, batcher, Trace())
    slow.released.set()
    device.close()
    decoder.close()


async def one_runs(model: ServedModel, held: HeldEngine) -> asyncio.Future[Classified]:
    """The device is busy with an image that was not decoded by anyone."""
    held.hold()
    pixels = Decoded(np.zeros((8, 8, 3), np.uint8), 0.0, 8, 8)
    running = asyncio.ensure_future(model.answer(pixels, budget_now()))
    while not held.sizes:
        await asyncio.sleep(0)
    return running


def budget_now(timeout_seconds: float | None = None) -> Budget:
    return Budget(asyncio.get_running_loop().time(), timeout_seconds)


async def decoding(
    model: ServedModel, data: bytes, budget: Budget, count: int
) -> list[asyncio.Future[Classified]]:
    """So many of this image are in the decoder."""
    begun: list[asyncio.Future[Classified]] = [
        asyncio.ensure_future(model.classify(data, budget)) for _ in range(count)
    ]
    await asyncio.sleep(0)
    return begun


async def test_no_more_images_are_decoded_than_the_device_can_answer_in_time(
    model: ServedModel, slow: SlowToDecode, held: HeldEngine, make_image: ImageMaker
) -> None:
    """Those that are being decoded are ahead of who comes now, though not in the batcher's line yet."""
    data, running, budget = make_image(0, (SIDE, SIDE)), await one_runs(model, held), budget_now()
    begun = await decoding(model, data, budget, 8)
    model.admit(budget)
    begun += await decoding(model, data, budget, 1)
    with pytest.raises(QueueFull):
        model.admit(budget)
    with pytest.raises(QueueFull):
        await model.classify(data, budget)
    assert slow.decoded == 1
    model.admit(budget_now(timeout_seconds=350))  # before all of them, who have more time
    slow.released.set()
    held.release.set()
    assert len(await asyncio.gather(running, *begun)) == 10


async def test_whoever_leaves_the_decoder_is_ahead_of_nobody(
    model: ServedModel, held: HeldEngine, make_image: ImageMaker
) -> None:
    running, budget = await one_runs(model, held), budget_now()
    begun = await decoding(model, make_image(0, (SIDE, SIDE)), budget, 9)
    with pytest.raises(QueueFull):
        model.admit(budget)
    for each in begun:
        each.cancel()
    await asyncio.sleep(0)
    model.admit(budget)
    held.release.set()
    await running
