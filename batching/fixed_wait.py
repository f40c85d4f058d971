"""What most servers do, for comparison in the simulation: batches after a fixed wait, and an endless line."""

from collections import deque
from collections.abc import Iterable
from math import inf

from batching.simulate import BatchSeconds, Forecast, run


class FixedWaitReplica:
    """Closes a batch when it is full or when its first request has waited long enough; refuses nobody."""

    def __init__(
        self, max_batch_size: int, wait_seconds: float, batch_seconds: BatchSeconds, forecast: Forecast
    ) -> None:
        self.wake_at = inf
        self._max_batch_size = max_batch_size
        self._wait_seconds = wait_seconds
        self._batch_seconds = batch_seconds
        self._forecast = forecast
        self._line: deque[float] = deque()
        self._batch: list[float] = []

    def offer(self, now: float) -> None:
        self._line.append(now)
        if not self._batch:
            self._start(now)

    def wake(self, now: float) -> None:
        self._forecast.latencies.extend([now - arrived for arrived in self._batch])
        self._batch = []
        self._start(now)

    def load(self) -> int:
        return len(self._line) + len(self._batch)

    def _start(self, now: float) -> None:
        if not self._line:
            self.wake_at = inf
        elif len(self._line) >= self._max_batch_size or now >= self._line[0] + self._wait_seconds:
            size = min(len(self._line), self._max_batch_size)
            self._batch = [self._line.popleft() for _ in range(size)]
            self._forecast.batch_sizes.append(size)
            self.wake_at = now + self._batch_seconds(size)
        else:
            self.wake_at = self._line[0] + self._wait_seconds


def simulate_fixed_wait(
    arrivals: Iterable[float],
    *,
    target_seconds: float,
    batch_seconds: BatchSeconds,
    wait_seconds: float = 0.010,
    max_batch_size: int = 32,
) -> Forecast:
    """As `simulate`, for one server with a fixed wait."""
    forecast = Forecast(target_seconds)
    server = FixedWaitReplica(max_batch_size, wait_seconds, batch_seconds, forecast)
    return run(arrivals, [server], forecast)
