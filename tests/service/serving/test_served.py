"""One version of a model, without HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from batching import Batcher, BatchPolicy, Device
from models.images import Pixels
from models.predictor import Prediction
from service.budget import Budget
from service.errors import Overloaded
from service.serving.decoding import Decoder
from service.serving.served import Classified, ServedModel
from service.tracing import Trace
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
    yield Refusing(predictor, policy, decoder, batcher, Trace())
    device.close()
    decoder.close()


async def test_when_one_of_several_images_is_refused_no_more_is_done_for_the_others(
    refusing: Refusing,
) -> None:
    budget = Budget(asyncio.get_running_loop().time(), None)
    with pytest.raises(Overloaded):
        await refusing.classify_all([b"one", b"refused", b"another"], budget)
    assert refusing.left == 2
