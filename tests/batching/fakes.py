"""Batch functions and observers that a test controls."""

# ruff: noqa: ARG002

import asyncio
from collections.abc import Sequence
from threading import Condition

from batching import Observer


def double(items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


class HeldModel:
    """Doubles numbers, each batch when it is let go, in the order they came; raises what it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.failure: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._begun = asyncio.Semaphore(0)
        self._gate = Condition()
        self._let_go = 0

    def __call__(self, items: Sequence[int]) -> list[int]:
        with self._gate:
            self.batches.append(list(items))
            number = len(self.batches)
            self._loop.call_soon_threadsafe(self._begun.release)
            if not self._gate.wait_for(lambda: self._let_go >= number, timeout=60):
                raise TimeoutError("the test never let this batch go")
        if self.failure is not None:
            raise self.failure
        return double(items)

    async def begun(self) -> None:
        """Wait until the next batch is in the engine thread."""
        await self._begun.acquire()

    def let_go(self, batches: int = 1) -> None:
        with self._gate:
            self._let_go += batches
            self._gate.notify_all()


class Recorder(Observer):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.formed: list[tuple[int, str]] = []
        self.done: list[int] = []
        self.refusals: list[str] = []
        self.stages: list[str] = []
        self.failures: list[str] = []

    def batch_formed(self, name: str, size: int, reason: str, queue_seconds: Sequence[float]) -> None:
        assert len(queue_seconds) == size
        self.formed.append((size, reason))

    def batch_done(self, name: str, size: int, predicted_seconds: float, actual_seconds: float) -> None:
        self.done.append(size)

    def refused(self, name: str, reason: str) -> None:
        self.refusals.append(reason)

    def abandoned(self, name: str, stage: str) -> None:
        self.stages.append(stage)

    def failed(self, name: str, kind: str) -> None:
        self.failures.append(kind)
