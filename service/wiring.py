"""The parts, put together: one Predictor and one Batcher per model, one device for all of them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from batching import Answered, Batcher, BatchPolicy, Device, LatencyPoint
from batching.errors import DeadlineExceeded
from models import catalog, loader
from models.engines.choice import Wish
from models.errors import BadArtifact, ImageError, UnknownModel
from models.images import Pixels
from models.predictor import Prediction, Predictor
from service.access import access_of
from service.auth import AdminToken
from service.budget import Budget
from service.decoding import Decoder
from service.drain import Drain
from service.limits import Intake
from service.metrics import Metrics
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Classified:
    """One image's answer, with what its way here took."""

    answered: Answered[Prediction]
    decode_seconds: float

    @property
    def prediction(self) -> Prediction:
        return self.answered.value


class ServedModel:
    """A model that answers: inspect, decode, wait in line, predict."""

    def __init__(
        self,
        predictor: Predictor,
        policy: BatchPolicy,
        decoder: Decoder,
        batcher: Batcher[Pixels, Prediction],
    ) -> None:
        self.predictor = predictor
        self.policy = policy
        self.batcher = batcher
        self._decoder = decoder

    @property
    def classes(self) -> tuple[str, ...]:
        return self.predictor.manifest.classes

    def latency_curve(self) -> list[LatencyPoint]:
        """Learnt seconds for batches of 1, 2, 4, ... and of the largest size."""
        largest = self.policy.max_batch_size
        sizes = {min(1 << power, largest) for power in range(largest.bit_length() + 1)}
        return self.batcher.latency.curve(sorted(sizes))

    async def warm_up(self) -> None:
        """Run, and time, batches of each size before the first request."""
        size = self.predictor.manifest.preprocessing.size
        await self.batcher.warm_up(np.zeros((size, size, 3), np.uint8))

    def admit(self, budget: Budget, images: int = 1) -> None:
        """Refuse now, before any work, what the line could not answer in time; raises what `submit` would."""
        self.batcher.admit(images, arrived=budget.arrived, timeout_seconds=budget.timeout_seconds)

    async def classify(self, data: bytes, budget: Budget) -> Classified:
        """One encoded image. Raises ImageError before the line, and what `Batcher.submit` raises."""
        self.admit(budget)
        started = time.perf_counter()
        pixels = await self.decode(data, budget)
        decode_seconds = time.perf_counter() - started
        answered = await self.batcher.submit(
            pixels, arrived=budget.arrived, timeout_seconds=budget.timeout_seconds
        )
        return Classified(answered, decode_seconds)

    async def classify_all(self, images: Sequence[bytes], budget: Budget) -> list[Classified | Exception]:
        """Several images, together; each has its own answer or its own error, in order.

        Only what is wrong with an image stands in its place. Everything else, such as a line that is full,
        is raised for all of them: a caller should not find it inside a success.
        """
        self.admit(budget, len(images))
        results = await asyncio.gather(
            *(self.classify(image, budget) for image in images), return_exceptions=True
        )
        return [_answer_or_their_error(result) for result in results]

    async def decode(self, data: bytes, budget: Budget) -> Pixels:
        """One encoded image -> uint8 (size, size, 3); raises ImageError, Overloaded or DeadlineExceeded."""
        timeout = math.inf if budget.timeout_seconds is None else budget.timeout_seconds
        deadline = self.policy.deadline(budget.arrived, timeout)
        try:
            return await self._decoder.decode(self.predictor, data, deadline)
        except TimeoutError:
            waited = asyncio.get_running_loop().time() - budget.arrived
            raise DeadlineExceeded(self.predictor.manifest.name, waited) from None

    async def answer(self, pixels: Pixels, budget: Budget) -> Prediction:
        """One image that is decoded already: uint8 (size, size, 3). Raises what `Batcher.submit` raises."""
        answered = await self.batcher.submit(
            pixels, arrived=budget.arrived, timeout_seconds=budget.timeout_seconds
        )
        return answered.value


class Service:
    """What the routes work with."""

    def __init__(self, settings: Settings, predictors: Sequence[Predictor]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.intake = Intake(settings.max_body_bytes, settings.max_bytes_held, settings.body_timeout_seconds)
        self.admin_token = AdminToken(
            settings.admin_token.get_secret_value() if settings.admin_token else None
        )
        self.access = access_of(settings)
        self.drain = Drain(settings.drain_grace_seconds)
        self._device = Device(settings.device)
        self._decoder = Decoder(settings.threads, settings.max_waiting)
        self.models: Mapping[str, ServedModel] = {
            predictor.manifest.name: self._serve(predictor) for predictor in predictors
        }

    def _serve(self, predictor: Predictor) -> ServedModel:
        name = predictor.manifest.name
        policy = BatchPolicy(
            latency_target_seconds=self.settings.latency_target_ms / 1000,
            max_batch_size=self.settings.max_batch_size,
            max_waiting=self.settings.max_waiting,
        )
        batcher: Batcher[Pixels, Prediction] = Batcher(
            predictor.predict, policy, self._device, name=name, observer=self.metrics
        )
        self.metrics.watch(name, lambda: batcher.waiting)
        return ServedModel(predictor, policy, self._decoder, batcher)

    def model(self, name: str) -> ServedModel:
        """Raises UnknownModel."""
        try:
            return self.models[name]
        except KeyError:
            raise UnknownModel(f"no model is named {name!r}") from None

    def not_ready(self) -> str | None:
        """Why requests should go elsewhere, or None."""
        return "draining" if self.drain.begun else None

    def begin_drain(self) -> None:
        """Start to stop; see `service.drain`."""
        self.drain.begin(time.monotonic())

    async def warm_up(self) -> None:
        """Run every model once at each batch size, so that nobody waits for allocations or kernels."""
        for model in self.models.values():
            await model.warm_up()

    async def close(self) -> None:
        """Answer what was accepted, then end every thread."""
        await asyncio.gather(*(model.batcher.drain() for model in self.models.values()))
        self._device.close()
        self._decoder.close()


def load_predictors(settings: Settings) -> list[Predictor]:
    """The newest version of every model in the models directory, on the engine chosen for it.

    Raises BadArtifact where there is none, or one that must not be served.
    """
    found = catalog.find(settings.models_dir)
    if not found:
        raise BadArtifact(f"{settings.models_dir}: no models here")
    wish = Wish(settings.device, settings.engine, settings.precision, settings.max_accuracy_loss_points / 100)
    return [
        loader.load(catalog.locate(settings.models_dir, name), wish, settings.threads, settings.max_pixels)
        for name in found
    ]


def _answer_or_their_error(result: Classified | BaseException) -> Classified | Exception:
    if isinstance(result, Classified | ImageError):
        return result
    raise result
