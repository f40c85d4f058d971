"""The cache's asyncio shell: whose clock it is, whose exception, and what is left when everybody has gone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from batching import Answered, Batcher, BatchPolicy, DeadlineExceeded, Device
from models.images import Pixels, prepare
from models.predictor import Prediction, Predictor
from service.budget import Budget
from service.errors import Overloaded
from service.metrics import Metrics
from service.serving.cached import CachedModel
from service.serving.decoding import Decoder
from service.serving.served import Classified, Decoded
from service.targets import LatencyTargets
from service.tracing import Trace
from tests.conftest import ImageMaker
from tests.service.fakes import PixelEngine, predictor_on

KEY = b"key"
PREDICTION = Prediction(0, 0.5, False, np.zeros((4, 2), np.float32)[0])
ANSWER = Classified(Answered(PREDICTION, 0.1, 0.2, 3), 0.3, width=8, height=9)


@pytest.fixture
def cached() -> Iterator[CachedModel]:
    predictor, policy = predictor_on(PixelEngine()), BatchPolicy(latency_target_seconds=300)
    device, decoder = Device("test"), Decoder(1, 10)
    batcher: Batcher[Pixels, Prediction] = Batcher(predictor.predict, policy, device, name="cifar10")
    yield CachedModel(
        predictor,
        decoder,
        batcher,
        Trace(),
        max_entries=3,
        metrics=Metrics(LatencyTargets.parse("1000"), caches=True),
    )
    device.close()
    decoder.close()


class Work:
    """What is done for an image: begins, and ends as it is told to."""

    def __init__(self) -> None:
        self.budgets: list[Budget] = []
        self.outcome: asyncio.Future[Classified] = asyncio.get_running_loop().create_future()

    async def __call__(self, budget: Budget) -> Classified:
        self.budgets.append(budget)
        return await asyncio.shield(self.outcome)


def budget(timeout_seconds: float | None = None, waited_seconds: float = 0.0) -> Budget:
    return Budget(asyncio.get_running_loop().time() - waited_seconds, timeout_seconds)


def _right(predictor: Predictor, image: bytes) -> NDArray[np.float32]:
    (prediction,) = predictor.predict([prepare(image, predictor.manifest.preprocessing)])
    assert isinstance(prediction, Prediction)
    return prediction.probabilities


async def begun(cached: CachedModel, work: Work, *budgets: Budget) -> list[asyncio.Task[Classified]]:
    """All of them wait for one flight, which has begun."""
    tasks = [asyncio.create_task(cached._ask(KEY, each, work)) for each in budgets]
    while not work.budgets:
        await asyncio.sleep(0)
    return tasks


async def test_a_follower_gives_up_in_its_own_time_and_the_work_goes_on(cached: CachedModel) -> None:
    work = Work()
    # The leader set no timeout, so it waits for as long as it takes, though its target is over.
    leader, follower = await begun(cached, work, budget(waited_seconds=400), budget(0.02))
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(follower, 60)
    work.outcome.set_result(ANSWER)
    assert (await leader).cache == "miss"
    assert len(work.budgets) == 1


async def test_a_follower_with_time_left_is_not_refused_with_a_leader_who_has_none(
    cached: CachedModel,
) -> None:
    class Refused(Work):
        async def __call__(self, budget: Budget) -> Classified:
            if budget.timeout_seconds is None:
                return ANSWER
            return await super().__call__(budget)

    work = Refused()
    leader, follower = await begun(cached, work, budget(0.5), budget())
    work.outcome.set_exception(Overloaded("too many images are being decoded"))
    with pytest.raises(Overloaded):
        await leader
    assert (await follower).cache == "coalesced"


async def test_what_is_kept_is_the_answer_alone_and_cannot_be_written_to(cached: CachedModel) -> None:
    work = Work()
    tasks = await begun(cached, work, budget(), budget())
    work.outcome.set_result(ANSWER)
    answers = [*await asyncio.gather(*tasks), await cached._ask(KEY, budget(), work)]
    assert [answer.cache for answer in answers] == ["miss", "coalesced", "hit"]
    for answer in answers:
        probabilities = answer.prediction.probabilities
        assert (probabilities == ANSWER.prediction.probabilities).all()
        assert probabilities.base is None
        with pytest.raises(ValueError, match="read-only"):
            probabilities[0] = 1
    timings = [answer.answered[1:] for answer in answers]
    assert timings == [(0.1, 0.2, 3), (0.1, 0.2, 3), (0.0, 0.0, 0)]
    assert [answer.decode_seconds for answer in answers] == [0.3, 0.3, 0.0]
    assert {(answer.width, answer.height) for answer in answers} == {(8, 9)}


async def test_images_of_the_same_pixels_share_an_answer_and_keep_their_own_sizes(
    cached: CachedModel,
) -> None:
    size = cached.predictor.manifest.preprocessing.size
    pixels = np.zeros((size, size, 3), np.uint8)
    small, large = Decoded(pixels, 0.1, 20, 30), Decoded(pixels.copy(), 0.2, 40, 60)
    answers = [await cached.answer(decoded, budget()) for decoded in (small, large)]
    assert [answer.cache for answer in answers] == ["miss", "hit"]
    assert [(answer.width, answer.height) for answer in answers] == [(20, 30), (40, 60)]
    assert [answer.decode_seconds for answer in answers] == [0.1, 0.2]


async def test_every_caller_has_an_exception_of_its_own(cached: CachedModel) -> None:
    work = Work()
    tasks = await begun(cached, work, *[budget() for _ in range(3)])
    work.outcome.set_exception(Overloaded("too many images are being decoded"))
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(error) for error in errors} == {Overloaded}
    assert {str(error) for error in errors} == {"too many images are being decoded"}
    assert len({id(error) for error in errors}) == 3


async def test_where_the_service_stops_nobody_waits_for_a_flight_that_was_cancelled(
    cached: CachedModel,
) -> None:
    work = Work()
    tasks = await begun(cached, work, budget(), budget())
    work.outcome.cancel()
    _, stranded = await asyncio.wait(tasks, timeout=60)
    assert not stranded
    assert all(task.cancelled() for task in tasks)
    assert not cached._tasks


async def test_many_who_are_refused_in_turn_do_not_hold_the_loop(cached: CachedModel) -> None:
    order: list[str] = []

    async def refused(_: Budget) -> Classified:
        order.append("refused")
        raise DeadlineExceeded("cifar10", 0.0)

    async def other() -> None:
        while "refused" not in order:
            await asyncio.sleep(0)
        order.append("other")

    asks = [cached._ask(KEY, budget(), refused) for _ in range(100)]
    errors = await asyncio.gather(*asks, other(), return_exceptions=True)
    assert sum(isinstance(error, DeadlineExceeded) for error in errors) == 100
    assert order.index("other") < 10


async def test_callers_who_come_and_go_are_answered_as_without_a_cache_and_leave_nothing(
    cached: CachedModel, make_image: ImageMaker
) -> None:
    images = [make_image(seed, (8, 8)) for seed in range(8)]
    predictor = cached.predictor
    expected = [_right(predictor, image) for image in images]
    rng = random.Random(1)

    async def one(number: int) -> bool:
        chosen = rng.randrange(len(images))
        asked = asyncio.create_task(cached.classify(images[chosen], budget(rng.choice([None, 60, 0.001]))))
        for _ in range(rng.randrange(40)):
            await asyncio.sleep(0)
        if number % 3 == 0:
            asked.cancel()
        (outcome,) = await asyncio.gather(asked, return_exceptions=True)
        if isinstance(outcome, Classified):
            assert (outcome.prediction.probabilities == expected[chosen]).all()
        return isinstance(outcome, Classified)

    answered = 0
    for _ in range(20):
        answered += sum(await asyncio.gather(*(one(number) for number in range(50))))
    assert answered > 200
    assert cached.answers_kept == 3
    await cached.close()
    assert not cached._tasks
    assert not cached._cache._flights
    assert cached.batcher.waiting == 0
