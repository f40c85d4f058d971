"""What would this load do? The very policy that serves, under a simulated clock."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappop, heappush
from math import exp, inf, log
from random import Random

from batching.lane import Lane
from batching.latency import LatencyModel
from batching.policy import BatchPolicy
from batching.schedule import DeviceSchedule
from batching.waiting import Ticket

BatchSeconds = Callable[[int], float]


class Routing(StrEnum):
    """How requests are spread over replicas."""

    RANDOM = "random"  # what a load balancer without knowledge does
    LEAST_LOADED = "least_loaded"  # to whoever has fewest waiting and running


@dataclass(slots=True)
class Forecast:
    """What came of the load. ``latencies`` are those of the answers given, in seconds, in order of
    completion."""

    target_seconds: float
    offered: int = 0
    refused: int = 0
    expired: int = 0
    dropped: int = 0
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    batch_sizes: "array[int]" = field(default_factory=lambda: array("l"))

    @property
    def answered(self) -> int:
        return len(self.latencies)

    @property
    def on_time(self) -> int:
        """Answers within the target."""
        return sum(latency <= self.target_seconds for latency in self.latencies)


@dataclass(frozen=True, slots=True)
class Costs:
    """What requests take besides the line and the batches; seconds.

    outside: of each answer: transfer, decoding, HTTP. The simulated server knows, and keeps it free.
    refusal: of the device, for each request turned away: the event loop shares the processor with it. A batch
        takes at most twice as long for them: the loop has one processor, the device at least another.
    decode: of the batch that runs, for each request that is decoded meanwhile: all threads of the engine wait
        for the one whose processor it takes. What was learnt of batches has that in it, on average, so they
        are drawn that much shorter: at most by half.
    """

    outside: float = 0.0
    refusal: float = 0.0
    decode: float = 0.0


class Replica:
    """One server: `DeviceSchedule` driven as `Device` and `Batcher` drive it.

    No batch is handed over ahead, which saves a gap that the simulated device does not have.
    """

    def __init__(
        self,
        policy: BatchPolicy,
        latency: LatencyModel,
        batch_seconds: BatchSeconds,
        costs: Costs,
        forecast: Forecast,
    ) -> None:
        self.wake_at = inf  # when it next has something to do by itself
        self._forecast = forecast
        self._costs = costs
        self._batch_seconds = batch_seconds
        self._policy = policy
        self._lane: Lane[Ticket] = Lane(policy, deepcopy(latency))
        self._schedule: DeviceSchedule[Ticket] = DeviceSchedule()
        self._schedule.add(self._lane)
        self._batch: list[Ticket] = []
        self._done_by = inf  # the running batch, however much is taken from it
        self._batches_seconds = 0.0  # of all batches
        self._decoded = 0  # while they ran

    def offer(self, now: float) -> None:
        """A request arrives."""
        line, forecast = self._lane.line, self._forecast
        forecast.expired += len(line.expire(now))
        deadline = self._policy.deadline(now) - self._costs.outside
        if self._schedule.refusal(self._lane, deadline, now=now):
            forecast.refused += 1
            self._take(self._costs.refusal)
            return
        line.offer(Ticket(now, deadline))
        if self._schedule.running is None:
            self._start(now)
        else:
            self._take(self._decode_seconds())
            self._decoded += 1

    def wake(self, now: float) -> None:
        """The clock has reached ``wake_at``."""
        self._schedule.finish(now)
        out = now + self._costs.outside
        self._forecast.latencies.extend([out - ticket.offered for ticket in self._batch])
        self._batch = []
        self.wake_at = self._done_by = inf
        self._start(now)

    def load(self) -> int:
        """Requests waiting and running."""
        return len(self._lane.line) + len(self._batch)

    def _take(self, seconds: float) -> None:
        """From the device, while a batch runs."""
        self.wake_at = min(self.wake_at + seconds, self._done_by)

    def _start(self, now: float) -> None:
        while not self._batch and (turn := self._schedule.close_next(now)):
            _, closed = turn
            self._forecast.expired += len(closed.expired)
            self._forecast.dropped += len(closed.dropped)
            self._batch = closed.tickets
        if self._batch:
            size = len(self._batch)
            seconds = self._batch_seconds(size)
            undisturbed = seconds * (1 - self._decodes_share())
            self._batches_seconds += seconds
            self._schedule.start(self._lane, size, now)
            self._forecast.batch_sizes.append(size)
            self.wake_at = now + undisturbed
            self._done_by = now + 2 * seconds

    def _decode_seconds(self) -> float:
        """Of the running batch, for one image."""
        if not self._decoded:
            return self._costs.decode
        return min(self._costs.decode, 0.5 * self._batches_seconds / self._decoded)

    def _decodes_share(self) -> float:
        """How much of the batches' time decoding has taken so far."""
        return self._decoded * self._decode_seconds() / self._batches_seconds if self._decoded else 0.0


def simulate(
    arrivals: Iterable[float],
    policy: BatchPolicy,
    latency: LatencyModel,
    *,
    batch_seconds: BatchSeconds | None = None,
    costs: Costs = Costs(),
    replicas: int = 1,
    routing: Routing = Routing.RANDOM,
    seed: int = 0,
) -> Forecast:
    """Serve requests arriving at these ascending times (seconds) and say what came of them.

    ``latency`` is what each replica knows at the start; it goes on learning. ``batch_seconds`` is how long
    batches really take; by default drawn from ``latency``, see `drawn_from`. The same arguments give the same
    forecast.
    """
    truth = batch_seconds or drawn_from(latency, seed)
    forecast = Forecast(policy.latency_target_seconds)
    servers = [Replica(policy, latency, truth, costs, forecast) for _ in range(replicas)]
    _run(arrivals, servers, forecast, _router(routing, servers, seed))
    return forecast


def _run(
    arrivals: Iterable[float], servers: Sequence[Replica], forecast: Forecast, route: Callable[[], int]
) -> None:
    """The simulated clock: offer each arrival to a server, wake servers in between and until all is done."""
    wakes: list[tuple[float, int]] = []

    def wake_until(now: float) -> None:
        while wakes and wakes[0][0] <= now:
            at, index = heappop(wakes)
            server = servers[index]
            if server.wake_at == at:  # or else it has changed its mind since
                server.wake(at)
                if server.wake_at < inf:
                    heappush(wakes, (server.wake_at, index))

    for now in arrivals:
        wake_until(now)
        forecast.offered += 1
        index = route()
        server = servers[index]
        planned = server.wake_at
        server.offer(now)
        if server.wake_at != planned:
            heappush(wakes, (server.wake_at, index))
    wake_until(inf)


def _router(routing: Routing, servers: Sequence[Replica], seed: int) -> Callable[[], int]:
    if len(servers) == 1:
        return lambda: 0
    if routing is Routing.LEAST_LOADED:
        return lambda: min(range(len(servers)), key=lambda index: servers[index].load())
    rng = Random(seed)  # noqa: S311
    return lambda: rng.randrange(len(servers))


def drawn_from(latency: LatencyModel, seed: int = 0) -> BatchSeconds:
    """Log-normal batch times with the learnt typical value as median and the learnt p99."""
    rng = Random(seed)  # noqa: S311

    def batch_seconds(size: int) -> float:
        typical = latency.typical(size)
        sigma = log(latency.p99(size) / typical) / 2.326
        return typical * exp(sigma * rng.gauss(0.0, 1.0))

    return batch_seconds
