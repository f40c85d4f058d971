"""`python -m tests.bench.fixed_wait`: the service as it is, but batches close after a fixed wait.

Same HTTP, decoding, engine and flags; only the queue is that of most batchers: a batch closes when it is
full or its first request has waited 10 ms, the line has no end, nobody is refused, and the next batch is
handed over when the one before has ended.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from batching import Answered, BatchPolicy, Device, LatencyModel, LatencyPoint, Observer
from service import wiring
from service.__main__ import main as serve

WAIT_SECONDS = 0.010
MAX_BATCH_SIZE = 32
_SIZES = [1 << power for power in range(MAX_BATCH_SIZE.bit_length())]
ENDLESS = ("--max-waiting", "1000000")

RunBatch = Callable[[Sequence[Any]], Sequence[Any]]
Waiting = tuple[Any, float, asyncio.Future[Any]]  # the item, since when, and its answer


class FixedWaitBatcher:
    """As much of `batching.Batcher` as the service uses."""

    def __init__(
        self,
        run_batch: RunBatch,
        policy: BatchPolicy,
        device: Device,
        *,
        name: str,
        observer: Observer,
        pipelined_from: float,  # noqa: ARG002  # it waits for the end of each
    ) -> None:
        self.policy = policy
        self.latency = LatencyModel()
        self._run_batch = run_batch
        self._device = device
        self._name = name
        self._observer = observer
        self._line: deque[Waiting] = deque()
        self._full = asyncio.Event()
        self._batches: asyncio.Task[None] | None = None  # while somebody waits

    def curve(self) -> list[LatencyPoint]:
        return self.latency.curve(_SIZES)

    @property
    def waiting(self) -> int:
        return len(self._line)

    def admit(self, count: int = 1, **_: Any) -> None:
        """Everybody."""

    async def submit(self, item: Any, **_: Any) -> Answered[Any]:
        """However late."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._line.append((item, loop.time(), answer))
        if len(self._line) >= MAX_BATCH_SIZE:
            self._full.set()
        if self._batches is None:
            self._batches = asyncio.create_task(self._run())
        outcome: Answered[Any] = await answer
        return outcome

    async def warm_up(self, item: Any, steps: Sequence[int]) -> None:
        """The curve is for `GET /v1/models`; no decision depends on it."""
        self.latency = LatencyModel(
            [
                (size, await self._device.measure(partial(self._run_batch, [item] * size)))
                for size in sorted({*steps, *_SIZES})
            ]
        )

    async def drain(self) -> None:
        """Until the line is empty."""
        if self._batches:
            await self._batches

    async def _run(self) -> None:
        while self._line:
            await self._until_due()
            size = min(len(self._line), MAX_BATCH_SIZE)
            batch = [self._line.popleft() for _ in range(size)]
            if len(self._line) < MAX_BATCH_SIZE:
                self._full.clear()
            await self._answer(batch)
        self._batches = None

    async def _until_due(self) -> None:
        since = self._line[0][1]
        left = since + WAIT_SECONDS - asyncio.get_running_loop().time()
        if left > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), left)

    async def _answer(self, batch: Sequence[Waiting]) -> None:
        now = asyncio.get_running_loop().time()
        waited = [now - since for _, since, _ in batch]
        self._observer.batch_formed(self._name, len(batch), "fixed wait", waited)
        outcomes: list[Any] = []
        items = [item for item, _, _ in batch]
        try:
            seconds = await self._device.measure(lambda: outcomes.extend(self._run_batch(items)))
        except Exception as error:
            outcomes, seconds = [error] * len(batch), 0.0
        self._observer.batch_done(self._name, len(batch), seconds, seconds)
        for (_, _, answer), outcome, queued in zip(batch, outcomes, waited, strict=True):
            if answer.done():  # its caller has left
                continue
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(Answered(outcome, queued, seconds, len(batch)))


def main(arguments: Sequence[str]) -> int:
    """As `python -m service`."""
    setattr(wiring, "Batcher", FixedWaitBatcher)  # noqa: B010 (no module should offer to be changed so)
    return serve([*arguments, *ENDLESS])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
