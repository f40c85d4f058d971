"""One version of a model, without HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest

from batching import Batcher, BatchPolicy, DeadlineExceeded, Device, LatencyModel
from models.images import SMALL_PIXELS, Pixels
from models.predictor import Prediction
from service.budget import Budget
from service.errors import Overloaded
from service.serving.decoding import Decoder
from service.serving.served import Classified, ServedModel
from service.tracing import Trace
from tests.conftest import SAMPLES, ImageMaker
from tests.markdown import ROOT
from tests.service.fakes import PixelEngine, predictor_on


class Refusing(ServedModel):
    """Refuses one image, and waits for ever with any other."""

    left = 0

    async def classify(self, data: bytes, budget: Budget) -> Classified:  # noqa: ARG002
        if data == b"refused":
            raise Overloaded("too many images are being decoded")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.left += 1
        raise AssertionError


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    predictor, policy = predictor_on(PixelEngine()), BatchPolicy(latency_target_seconds=300)
    device, decoder = Device("test"), Decoder(1, 10)
    batcher: Batcher[Pixels, Prediction] = Batcher(predictor.predict, policy, device, name="cifar10")
    yield Refusing(predictor, decoder, batcher, Trace())
    device.close()
    decoder.close()


async def test_when_one_of_several_images_is_refused_no_more_is_done_for_the_others(
    refusing: Refusing,
) -> None:
    budget = Budget(asyncio.get_running_loop().time(), None)
    with pytest.raises(Overloaded):
        await refusing.classify_all([b"one", b"refused", b"another"], budget)
    assert refusing.left == 2


SERVE_ON_OPENVINO = """
import asyncio, sys
from service.app import create_app
from service.budget import Budget
from service.serving.store import Store
from service.settings import Settings
from service.wiring import Service

async def main():
    settings = Settings(engine="openvino", threads=1, max_batch_size=1, latency_target_ms="600000")
    service = Service(settings, Store(settings).load_all())
    create_app(service)
    await service.warm_up()
    for name in service.models:
        with service.slot(name).use() as model, open(sys.argv[1], "rb") as image:
            await model.classify(image.read(), Budget(asyncio.get_running_loop().time(), None))
    await service.close()

asyncio.run(main())
print([name for name in sys.modules if name.startswith("torch")])
"""


def test_serving_on_openvino_never_imports_torch() -> None:
    """Which is gigabytes on disk, and an extra."""
    command = [sys.executable, "-c", SERVE_ON_OPENVINO, str(SAMPLES / "cat.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


async def test_a_large_image_is_not_decoded_for_a_line_that_cannot_take_it(
    make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, device, decoder = predictor_on(PixelEngine()), Device("test"), Decoder(1, 10)
    batcher: Batcher[Pixels, Prediction] = Batcher(
        predictor.predict, BatchPolicy(latency_target_seconds=1), device, name="cifar10"
    )
    model = ServedModel(predictor, decoder, batcher, Trace())
    monkeypatch.setattr(predictor, "decode", lambda _: pytest.fail("decoded in vain"))
    side = int(SMALL_PIXELS**0.5) + 1
    with pytest.raises(DeadlineExceeded):
        await model.classify(make_image(0, (side, side)), Budget(asyncio.get_running_loop().time() - 2, None))
    device.close()
    decoder.close()


async def test_a_large_image_is_answered_where_a_batch_is_expected_to_take_longer_than_the_target(
    make_image: ImageMaker,
) -> None:
    """And by this the model learns that batches are not as slow as they were once."""
    predictor, policy = predictor_on(PixelEngine()), BatchPolicy(latency_target_seconds=300)
    device, decoder = Device("test"), Decoder(1, 10)
    batcher: Batcher[Pixels, Prediction] = Batcher(
        predictor.predict, policy, device, name="cifar10", latency=LatencyModel([(1, 1000.0)])
    )
    model = ServedModel(predictor, decoder, batcher, Trace())
    side = int(SMALL_PIXELS**0.5) + 1
    for seed in range(2):  # the second is admitted as what will wait for a thread
        budget = Budget(asyncio.get_running_loop().time(), None)
        before = batcher.latency.typical(1)
        assert before > 300
        await model.classify(make_image(seed, (side, side)), budget)
        assert batcher.latency.typical(1) < before
    device.close()
    decoder.close()
