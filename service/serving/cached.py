"""A version that remembers its answers, and runs identical images in flight once: the shell of `cache.py`.

The key is the SHA-256 of the bytes as they were sent, not of the pixels they decode to: a hit costs no
decoding, which for a photograph is more than the network's own time, and there is mostly less to hash. Files
that differ and decode to the same pixels are too rare to pay for that.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from batching import Answered, Batcher, BatchFailed, DeadlineExceeded, QueueFull
from batching.waiting import Ticket
from models.images import Pixels
from models.predictor import Prediction, Predictor
from service.budget import Budget
from service.errors import Overloaded
from service.metrics import Metrics
from service.serving.cache import AnswerCache, Fault, Flight
from service.serving.decoding import Decoder
from service.serving.served import Classified, Decoded, ServedModel
from service.tracing import Trace

Work = Callable[[Budget], Awaitable[Classified]]


class _Caller(Ticket):
    """A request inside `CachedModel`; its future's result is an answer or the exception to raise."""

    __slots__ = ("budget", "future")

    def __init__(
        self, budget: Budget, deadline: float, future: asyncio.Future[Classified | Exception]
    ) -> None:
        super().__init__(budget.arrived, deadline)
        self.budget = budget
        self.future = future

    def tell(self, outcome: Classified | Exception) -> None:
        if not self.future.done():
            self.future.set_result(outcome)


class CachedModel(ServedModel):
    """A ServedModel whose answers are kept for as long as it is: another version, or the same one loaded
    anew, begins with none. Errors are never kept.
    """

    def __init__(
        self,
        predictor: Predictor,
        decoder: Decoder,
        batcher: Batcher[Pixels, Prediction],
        trace: Trace,
        *,
        max_entries: int,
        metrics: Metrics,
    ) -> None:
        super().__init__(predictor, decoder, batcher, trace)
        self._metrics = metrics
        self._cache: AnswerCache[_Caller, Classified] = AnswerCache(max_entries)
        self._tasks: dict[Flight[_Caller], asyncio.Task[None]] = {}
        self._given_up: set[Flight[_Caller]] = set()

    @property
    def answers_kept(self) -> int:
        return len(self._cache)

    async def classify(self, data: bytes, budget: Budget) -> Classified:
        return await self._ask(_key(b"image", data), budget, partial(super().classify, data))

    async def answer(self, decoded: Decoded, budget: Budget) -> Classified:
        key = _key(b"pixels", decoded.pixels.tobytes())
        classified = await self._ask(key, budget, partial(super().answer, decoded))
        # What was found may be of another image, which decodes to the same pixels.
        return replace(classified, decode_seconds=decoded.seconds, width=decoded.width, height=decoded.height)

    def give_up(self) -> None:
        self._given_up.update(self._tasks)
        super().give_up()

    def cache_headers(self, results: Sequence[Classified | Exception]) -> dict[str, str]:
        """`X-Cache`: the outcome for one image; of several, how many had each."""
        outcomes = Counter(str(result.cache) for result in results if isinstance(result, Classified))
        counts = ", ".join(f"{outcome}={count}" for outcome, count in sorted(outcomes.items()))
        return {"X-Cache": next(iter(outcomes)) if len(results) == 1 else counts} if outcomes else {}

    async def _ask(self, key: bytes, budget: Budget, work: Work) -> Classified:
        classified = await self._found(key, budget, work)
        # A flight tells the trace of the request that began it, and of no other.
        self._trace.classified(self.predictor.manifest)
        return classified

    async def _found(self, key: bytes, budget: Budget, work: Work) -> Classified:
        kept = self._cache.look_up(key)
        if kept is not None:
            self._metrics.cache_looked_up(self.batcher.name, "hit")
            return kept
        caller = _Caller(budget, self.deadline(budget), asyncio.get_running_loop().create_future())
        flight = self._cache.board(key, caller)
        if flight.leader is caller:
            self._metrics.cache_looked_up(self.batcher.name, "miss")
            self._start(flight, work)
            return await self._outcome(flight, caller)
        self._metrics.cache_looked_up(self.batcher.name, "coalesced")
        return replace(await self._in_time(flight, caller), cache="coalesced")

    def _start(self, flight: Flight[_Caller], work: Work) -> None:
        task = self._tasks[flight] = asyncio.create_task(self._fly(flight, work))
        task.add_done_callback(lambda _: self._ended(flight))

    def _ended(self, flight: Flight[_Caller]) -> None:
        """However it did: where the service stops, its task is cancelled while some still wait."""
        for caller in self._cache.fail(flight, Fault.EVERYBODY):
            caller.future.cancel()
        del self._tasks[flight]
        self._given_up.discard(flight)

    async def _in_time(self, flight: Flight[_Caller], caller: _Caller) -> Classified:
        """The outcome of a flight that runs on somebody else's budget."""
        timeout = caller.budget.timeout_seconds
        try:
            async with asyncio.timeout_at(None if timeout is None else caller.budget.arrived + timeout):
                return await self._outcome(flight, caller)
        except TimeoutError:
            waited = asyncio.get_running_loop().time() - caller.budget.arrived
            raise DeadlineExceeded(self.batcher.name, waited) from None

    async def _outcome(self, flight: Flight[_Caller], caller: _Caller) -> Classified:
        try:
            outcome = await caller.future
        finally:
            if self._cache.leave(flight, caller):
                self._tasks[flight].cancel()
        if isinstance(outcome, Classified):
            return outcome
        try:
            raise outcome
        finally:
            del outcome  # or it would refer to itself through its traceback

    async def _fly(self, flight: Flight[_Caller], work: Work) -> None:
        """In a task of its own, so that no caller's leaving ends it but the last one's."""
        while flight.line:
            await self._attempt(flight, work)

    async def _attempt(self, flight: Flight[_Caller], work: Work) -> None:
        try:
            classified = await work(flight.leader.budget)
        except Exception as error:
            fault = Fault.EVERYBODY if flight in self._given_up else _fault(error)
            for caller in self._cache.fail(flight, fault):
                caller.tell(_copy(error))
            error.__traceback__ = None  # whose frames lead back to it
            await asyncio.sleep(0)  # many who are refused in turn must not hold the loop
        else:
            prediction = _alone(classified.prediction)
            hit = Answered(prediction, 0.0, 0.0, 0)
            kept = replace(classified, answered=hit, decode_seconds=0.0, cache="hit")
            answer = replace(
                classified, answered=classified.answered._replace(value=prediction), cache="miss"
            )
            for caller in self._cache.land(flight, kept):
                caller.tell(answer)


def _key(kind: bytes, data: bytes) -> bytes:
    """`kind` keeps apart an image and a tensor of pixels that have the same bytes."""
    return kind + hashlib.sha256(data).digest()


def _fault(error: Exception) -> Fault:
    if isinstance(error, DeadlineExceeded | QueueFull | Overloaded):
        return Fault.LEADER
    return Fault.BATCH if isinstance(error, BatchFailed) else Fault.EVERYBODY


def _copy(error: Exception) -> Exception:
    """One for each caller, whatever its constructor asks for: a shared one would grow its traceback.

    Without the traceback so far: its frames lead to the callers, and so to what they are told.
    """
    copied = type(error).__new__(type(error), *error.args)
    copied.__dict__.update(error.__dict__)
    copied.__cause__ = error.__cause__
    return copied


def _alone(prediction: Prediction) -> Prediction:
    """The same, without the rest of its batch, of whose array its probabilities are a row."""
    probabilities = prediction.probabilities.copy()
    probabilities.flags.writeable = False
    return replace(prediction, probabilities=probabilities)
