"""The stand-in batches as it says, and serves as the service does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf
from typing import Any

import pytest

from batching import BatchPolicy, Device, Observer
from models.predictor import Predictor
from service import wiring
from tests.bench.fixed_wait import FixedWaitBatcher
from tests.conftest import ImageMaker
from tests.live import serve


async def sizes_of(callers: int) -> list[int]:
    """Of the batches that so many callers, who come at once, are answered in."""

    def run_batch(items: Sequence[Any]) -> list[Any]:
        return [item * 10 for item in items]

    device = Device()
    batcher = FixedWaitBatcher(
        run_batch, BatchPolicy(1.0), device, name="m", observer=Observer(), pipelined_from=inf
    )
    try:
        answers = await asyncio.gather(*(batcher.submit(item) for item in range(callers)))
        await batcher.drain()
    finally:
        device.close()
    assert [answer.value for answer in answers] == [item * 10 for item in range(callers)]
    return [answer.batch_size for answer in answers]


async def test_who_comes_within_the_wait_shares_a_batch() -> None:
    assert await sizes_of(3) == [3, 3, 3]


async def test_a_full_batch_goes_and_the_rest_has_one_of_its_own() -> None:
    assert await sizes_of(33) == [32] * 32 + [1]


def test_the_service_answers_with_it(
    monkeypatch: pytest.MonkeyPatch, predictor: Predictor, make_image: ImageMaker
) -> None:
    monkeypatch.setattr(wiring, "Batcher", FixedWaitBatcher)
    with serve([predictor]) as live:
        path = "/v1/models/cifar10/predict"
        response = live.request("POST", path, make_image(), {"Content-Type": "image/png"})
    assert response.status == 200
    assert response.json()["label"] in predictor.manifest.classes
