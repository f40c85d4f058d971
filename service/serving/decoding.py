"""Where images are decoded: on the loop where that is cheaper than a thread hop, else in a bounded pool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from models.images import Encoded, Pixels
from models.predictor import Predictor
from service.errors import Overloaded

FORGETTING = 0.05  # weight of the newest decode in what is expected of the next


class Decoder:
    """Decodes for all models; at most `threads` images at a time, at most `max_waiting` more in line.

    Without a look at the line, images would wait for a thread until their time is over, and all that was
    done for them would be in vain: so whoever could not be ready in time is refused before.
    """

    def __init__(
        self, threads: int, max_waiting: int, refused: Callable[[str, str], None] = lambda *_: None
    ) -> None:
        """`refused` is told the model and the reason, `decoding`, of each image that is turned away."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._threads = threads
        self._limit = threads + max_waiting
        self._refused = refused
        self._in_progress = 0
        self._seconds = 0.0  # of a decode, with what else the processors have to do

    @property
    def in_progress(self) -> int:
        """Images in the threads or in line for one."""
        return self._in_progress

    def wait_seconds(self) -> float:
        """How long an image that comes now will wait for a thread, and be in it; 0 where one is free."""
        ahead = self._in_progress - self._threads + 1
        return max(0, ahead) * self._seconds / self._threads

    async def decode(self, predictor: Predictor, data: bytes, deadline: float) -> Pixels:
        """Encoded image -> uint8 (size, size, 3).

        `deadline`, on the loop's clock, is when it must be decoded: past it, an image that waits for a thread
        is taken out of the line. Raises ImageError, TimeoutError, or Overloaded where the line is full or
        too long for that.
        """
        image = predictor.inspect(data)
        if image.small:
            return predictor.decode(image)
        self._admit(predictor.manifest.name, deadline)
        async with asyncio.timeout_at(deadline):
            return await self._in_pool(predictor, image)

    def _admit(self, model: str, deadline: float) -> None:
        left_seconds = deadline - asyncio.get_running_loop().time()
        late_seconds = self.wait_seconds() - left_seconds
        if self._in_progress >= self._limit or (left_seconds > 0 and late_seconds > 0):
            self._refused(model, "decoding")
            raise Overloaded("too many images are being decoded", late_seconds if late_seconds > 0 else None)

    async def _in_pool(self, predictor: Predictor, image: Encoded) -> Pixels:
        self._in_progress += 1
        future = self._pool.submit(_timed, predictor, image)
        loop = asyncio.get_running_loop()
        # Counted until the thread is done with it, even when the caller has left.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        pixels, seconds = await asyncio.wrap_future(future)
        self._seconds += (seconds - self._seconds) * (FORGETTING if self._seconds else 1.0)
        return pixels

    def _done(self) -> None:
        self._in_progress -= 1

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _timed(predictor: Predictor, image: Encoded) -> tuple[Pixels, float]:
    """In a thread: the pixels, and the seconds they took."""
    started = time.perf_counter()
    return predictor.decode(image), time.perf_counter() - started
