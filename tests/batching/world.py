"""A device and its lanes under a clock that the test moves: the shell without the shell."""

from collections.abc import Callable, Iterator
from math import inf
from random import Random

from batching.lane import ClosedBatch, Lane, Refusal
from batching.latency import LatencyModel
from batching.policy import BatchPolicy
from batching.schedule import DeviceSchedule
from batching.waiting import Ticket

BatchSeconds = Callable[[int], float]


def affine(fixed: float, each: float) -> BatchSeconds:
    return lambda size: fixed + each * size


def learnt(seconds: BatchSeconds) -> LatencyModel:
    """A model that has measured exactly this."""
    return LatencyModel([(size, seconds(size)) for size in (1, 2, 4, 8, 16, 32) for _ in range(3)])


def poisson(rate: float, seconds: float, *, seed: int = 0) -> Iterator[float]:
    """Independent arrivals, ``rate`` a second, ascending."""
    rng = Random(seed)
    now = rng.expovariate(rate)
    while now < seconds:
        yield now
        now += rng.expovariate(rate)


class Model:
    """A lane, how long its batches really take, and what became of its tickets."""

    def __init__(
        self,
        policy: BatchPolicy,
        seconds: BatchSeconds,
        latency: LatencyModel | None = None,
        *,
        pipelined_from: float = inf,
    ) -> None:
        self.seconds = seconds
        self.lane: Lane[Ticket] = Lane(policy, latency or learnt(seconds), pipelined_from=pipelined_from)
        self.refusals: list[Refusal] = []
        self.batches: list[ClosedBatch[Ticket]] = []
        self.served: list[tuple[Ticket, float]] = []
        self.expired: list[Ticket] = []
        self.dropped: list[Ticket] = []

    def on_time(self) -> int:
        return sum(when <= ticket.deadline for ticket, when in self.served)


class World:
    """Runs what the schedule says; `log` holds the lanes whose turn it was."""

    def __init__(self, *models: Model) -> None:
        self.now = 0.0
        self.models = models
        self.log: list[Model] = []
        self.schedule: DeviceSchedule[Ticket] = DeviceSchedule()
        for model in models:
            self.schedule.add(model.lane)
        self.running: tuple[Model, list[Ticket]] | None = None
        self.following: tuple[Model, list[Ticket]] | None = None
        self.done_at = inf

    def arrive(self, model: Model, timeout_seconds: float = inf) -> Ticket | None:
        deadline = model.lane.policy.deadline(self.now, timeout_seconds)
        if refusal := self.schedule.refusal(model.lane, deadline, now=self.now):
            model.refusals.append(refusal)
            return None
        ticket = Ticket(self.now, deadline)
        model.lane.line.offer(ticket)
        return ticket

    def dispatch(self) -> None:
        """What a device does that is free, or soon will be."""
        while turn := self.schedule.close_next(self.now):
            started = self._started(*turn)
            if self.running is None:
                self._run(started)
            else:
                self.following = started

    def _run(self, batch: tuple[Model, list[Ticket]] | None) -> None:
        self.running = batch
        self.done_at = self.now + batch[0].seconds(len(batch[1])) if batch else inf

    def _started(self, lane: Lane[Ticket], closed: ClosedBatch[Ticket]) -> tuple[Model, list[Ticket]] | None:
        model = next(model for model in self.models if model.lane is lane)
        model.expired += closed.expired
        model.dropped += closed.dropped
        if not closed.tickets:
            return None
        self.log.append(model)
        model.batches.append(closed)
        self.schedule.start(lane, len(closed.tickets), self.now)
        return model, closed.tickets

    def advance(self, until: float) -> None:
        """Let time pass, batches finish and others follow."""
        while self.running and self.done_at <= until:
            self.now = self.done_at
            self.finish()
            self.dispatch()
        self.now = until

    def finish(self) -> None:
        if self.running is None:
            return
        model, tickets = self.running
        self.schedule.finish(self.now)
        model.served += [(ticket, self.now) for ticket in tickets]
        following, self.following = self.following, None
        self._run(following)

    def expire(self) -> None:
        """What the shell's timer does."""
        for model in self.models:
            model.expired += model.lane.line.expire(self.now)

    def play(self, arrivals: list[tuple[float, Model, float]]) -> None:
        """(when, model, timeout): ascending; then run until everybody is gone."""
        for when, model, timeout_seconds in arrivals:
            self.advance(when)
            self.expire()
            self.arrive(model, timeout_seconds)
            self.dispatch()
        while self.running:
            self.advance(self.done_at)
