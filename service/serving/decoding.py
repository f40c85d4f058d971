"""Where images are decoded: on the loop where that is cheaper than a thread hop, else in a bounded pool."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from models.images import Encoded, Pixels
from models.predictor import Predictor
from service.errors import Overloaded


class Decoder:
    """Decodes for all models; at most `threads` images at a time, at most `max_waiting` more in line."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._limit = threads + max_waiting
        self._in_progress = 0

    @property
    def in_progress(self) -> int:
        """Images in the threads or in line for one."""
        return self._in_progress

    async def decode(self, predictor: Predictor, data: bytes, deadline: float) -> Pixels:
        """Encoded image -> uint8 (size, size, 3).

        `deadline`, on the loop's clock: past it, an image that waits for a thread is taken out of the line.
        Raises ImageError, Overloaded or TimeoutError.
        """
        image = predictor.inspect(data)
        if image.small:
            return predictor.decode(image)
        async with asyncio.timeout_at(deadline):
            return await self._in_pool(predictor, image)

    async def _in_pool(self, predictor: Predictor, image: Encoded) -> Pixels:
        if self._in_progress >= self._limit:
            raise Overloaded("too many images are being decoded")
        self._in_progress += 1
        future = self._pool.submit(predictor.decode, image)
        loop = asyncio.get_running_loop()
        # Counted until the thread is done with it, even when the caller has left.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._in_progress -= 1

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
