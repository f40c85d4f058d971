"""One version of a model, ready to answer: its Predictor and its Batcher."""

from __future__ import annotations

import asyncio
import math
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from batching import Answered, Batcher, DeadlineExceeded
from models.errors import BadArtifact, ImageError
from models.images import Pixels
from models.predictor import Prediction, Predictor
from service.budget import Budget
from service.errors import forget_frames
from service.serving.decoding import Decoder
from service.tracing import Trace

CacheOutcome = Literal["hit", "coalesced", "miss"]

_Result = TypeVar("_Result")


class Decoded(NamedTuple):
    """An image that is ready for the line. Width and height are those of the image as it was sent."""

    pixels: Pixels  # uint8 (size, size, 3)
    seconds: float  # that decoding took
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Classified:
    """One image's answer, with what its way here took. Width and height are those of the image as sent."""

    answered: Answered[Prediction]
    decode_seconds: float
    width: int
    height: int
    cache: CacheOutcome | None = None  # None where answers are not kept

    @property
    def prediction(self) -> Prediction:
        return self.answered.value


class ServedModel:
    """A version that answers: inspect, decode, wait in line, predict. Another replaces it whole."""

    def __init__(
        self,
        predictor: Predictor,
        decoder: Decoder,
        batcher: Batcher[Pixels, Prediction],
        trace: Trace,
    ) -> None:
        self.predictor = predictor
        self.batcher = batcher
        self._decoder = decoder
        self._trace = trace
        self._decodes_in_threads = False
        self._coming: list[float] = []  # ascending: deadlines of the images that are being decoded
        self._requests = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @property
    def version(self) -> str:
        return self.predictor.manifest.version

    @property
    def classes(self) -> tuple[str, ...]:
        return self.predictor.manifest.classes

    @property
    def answers_kept(self) -> int:
        """For the metrics."""
        return 0

    @contextmanager
    def in_use(self) -> Iterator[ServedModel]:
        """For the whole of one request: `close` waits for its end."""
        self._requests += 1
        self._unused.clear()
        try:
            yield self
        finally:
            self._requests -= 1
            if not self._requests:
                self._unused.set()

    async def close(self) -> None:
        """Once no request uses it any more, leave the device and free the memory."""
        await self._unused.wait()
        await self.batcher.drain()

    def give_up(self) -> None:
        """Answer every caller at once with DeadlineExceeded: the engine hangs."""
        self.batcher.give_up()

    def deadline(self, budget: Budget) -> float:
        """When an answer is due, on the loop's clock."""
        timeout = math.inf if budget.timeout_seconds is None else budget.timeout_seconds
        return self.batcher.policy.deadline(budget.arrived, timeout)

    async def warm_up(self) -> None:
        """Run, and time, batches of each size, so that nobody waits for allocations or kernels.

        Raises BadArtifact where one of them fails.
        """
        manifest = self.predictor.manifest
        size = manifest.preprocessing.size
        try:
            steps = self.predictor.engine.batch_sizes(self.batcher.policy.max_batch_size)
            await self.batcher.warm_up(np.zeros((size, size, 3), np.uint8), steps)
        except Exception as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise BadArtifact(
                f"{manifest.name}/{manifest.version}: fails as it warms up: {reason}"
            ) from error

    def admit(self, budget: Budget) -> None:
        """Refuse now, before its body is here, what the lines could not answer in time.

        Raises what `submit` would, and Overloaded. That an image will wait for a thread is guessed from the
        one before. What a batch is expected to take is left only for who finds a line: it must keep nobody
        from an idle device, which would never be seen to have become faster.
        """
        if self._decodes_in_threads:
            in_time_for_a_batch = self.deadline(budget) - self.batcher.latency.typical(1)
            self._decoder.admit(self.predictor.manifest.name, in_time_for_a_batch)
        self.admit_to_line(budget)

    def admit_to_line(self, budget: Budget, images: int = 1) -> None:
        """The same of the batcher alone, once the images are here: those that need a thread ask for it."""
        self.batcher.admit(
            images,
            coming=bisect_right(self._coming, self.deadline(budget)) if self._coming else 0,
            arrived=budget.arrived,
            timeout_seconds=budget.timeout_seconds,
        )

    async def classify(self, data: bytes, budget: Budget) -> Classified:
        """One encoded image. Raises ImageError before the line, and what `Batcher.submit` raises."""
        return await self._submit(await self.decode(data, budget), budget)

    async def classify_all(self, images: Sequence[bytes], budget: Budget) -> list[Classified | Exception]:
        """Several images, together; each has its own answer or its own error, in order.

        Only what is wrong with an image stands in its place. Everything else, such as a line that is full,
        is raised for all of them, and ends the work on the others: a caller should not find it inside a
        success.
        """
        self.admit_to_line(budget, len(images))
        return await all_or_none(self._answer_or_its_error(image, budget) for image in images)

    async def _answer_or_its_error(self, data: bytes, budget: Budget) -> Classified | Exception:
        try:
            return await self.classify(data, budget)
        except ImageError as error:
            forget_frames(error)
            return error

    def cache_headers(self, results: Sequence[Classified | Exception]) -> dict[str, str]:  # noqa: ARG002
        """What to say of the cache with these answers."""
        return {}

    async def decode(self, data: bytes, budget: Budget) -> Decoded:
        """One encoded image. Raises ImageError, Overloaded, and what `Batcher.admit` raises."""
        started = time.perf_counter()
        image = self.predictor.inspect(data)
        self._decodes_in_threads = not image.small
        if not image.small:
            self.admit_to_line(budget)  # again: to decode in vain would cost far more than to ask
        deadline = self.deadline(budget)
        insort(self._coming, deadline)
        try:
            pixels = await self._decoder.decode(self.predictor, image, deadline)
        except TimeoutError:
            waited = asyncio.get_running_loop().time() - budget.arrived
            raise DeadlineExceeded(self.predictor.manifest.name, waited) from None
        finally:
            del self._coming[bisect_left(self._coming, deadline)]
        seconds = time.perf_counter() - started
        self._trace.decoded(seconds)
        return Decoded(pixels, seconds, image.width, image.height)

    async def answer(self, decoded: Decoded, budget: Budget) -> Classified:
        """One image that is decoded already. Raises what `Batcher.submit` raises."""
        return await self._submit(decoded, budget)

    async def _submit(self, decoded: Decoded, budget: Budget) -> Classified:
        """What `classify` and `answer` share; a version that keeps answers has its own of both."""
        answered = await self.batcher.submit(
            decoded.pixels, arrived=budget.arrived, timeout_seconds=budget.timeout_seconds
        )
        self._trace.answered(self.predictor.manifest, answered)
        return Classified(answered, decoded.seconds, decoded.width, decoded.height)


async def all_or_none(parts: Iterable[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """The results in order; the first failure cancels the other parts and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in parts]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
