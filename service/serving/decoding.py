"""Where images are decoded: on the loop where that is cheaper than a thread hop, else in a bounded pool."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from batching import Observer
from models.images import Encoded, Pixels
from models.predictor import Predictor
from service.errors import Overloaded

FORGETTING = 0.05  # weight of the newest decode in what is expected of those to come


class Decoder:
    """Decodes for all models; at most `threads` images at a time, at most `max_waiting` more in line.

    Without a look at the line, images would wait for a thread until their time is over, and all that was
    done for them would be in vain: so whoever could not be ready in time is refused before.
    """

    def __init__(self, threads: int, max_waiting: int, observer: Observer | None = None) -> None:
        """`observer` hears of those turned away, for the reason `decoding`, and of those given up."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._threads = threads
        self._limit = threads + max_waiting
        self._observer = observer or Observer()
        self._in_progress = 0
        self._turn_seconds = 0.0  # from one image done to the next while there is a line, whatever else runs
        self._turn_began: float | None = None

    @property
    def in_progress(self) -> int:
        """Images in the threads or in line for one."""
        return self._in_progress

    def wait_seconds(self) -> float:
        """Until an image that comes now would be decoded; 0 where a thread is free."""
        return max(0, self._in_progress - self._threads + 1) * self._turn_seconds

    def admit(self, model: str, deadline: float) -> None:
        """Refuse now what would not be decoded by `deadline`, on the loop's clock; raises Overloaded."""
        left_seconds = deadline - asyncio.get_running_loop().time()
        late_seconds = self.wait_seconds() - left_seconds
        if self._in_progress >= self._limit or (left_seconds > 0 and late_seconds > 0):
            self._observer.refused(model, "decoding")
            raise Overloaded("too many images are being decoded", late_seconds if late_seconds > 0 else None)

    async def decode(self, predictor: Predictor, image: Encoded, deadline: float) -> Pixels:
        """Encoded image -> uint8 (size, size, 3).

        Past the deadline, an image that waits for a thread is taken out of the line. Raises ImageError,
        TimeoutError, and what `admit` raises.
        """
        if image.small:
            return predictor.decode(image)
        model = predictor.manifest.name
        self.admit(model, deadline)
        async with asyncio.timeout_at(deadline) as time_left:
            decoded = self._in_pool(predictor, image)
            try:
                return await asyncio.wrap_future(decoded)
            except asyncio.CancelledError:
                stage = "expired" if time_left.expired() else "left"
                # A thread that has begun goes on, in vain.
                self._observer.abandoned(model, stage if decoded.cancelled() else f"{stage}_running")
                raise
            finally:
                # They hold on to the error of a broken image, and that, by this frame, to the image.
                del decoded, time_left

    def _in_pool(self, predictor: Predictor, image: Encoded) -> Future[Pixels]:
        future = self._pool.submit(predictor.decode, image)  # which fails where no thread can be started
        self._in_progress += 1
        loop = asyncio.get_running_loop()

        def done(image: Future[Pixels]) -> None:
            with suppress(RuntimeError):  # the loop has ended, and nobody counts any more
                loop.call_soon_threadsafe(self._done, time.monotonic(), image.cancelled())

        future.add_done_callback(done)  # counted until the thread is done, even when the caller has left
        return future

    def _done(self, now: float, cancelled: bool) -> None:
        self._in_progress -= 1
        if cancelled:
            return
        if self._turn_began is None:
            # No line to measure: what is believed fades, or one slow spell would refuse every line for good.
            self._turn_seconds *= 1 - FORGETTING
        else:
            seconds = now - self._turn_began
            weight = FORGETTING if self._turn_seconds else 1.0
            self._turn_seconds += (seconds - self._turn_seconds) * weight
        self._turn_began = now if self._in_progress >= self._threads else None

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
