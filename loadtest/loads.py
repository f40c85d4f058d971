"""A load: which request leaves when, drawn before it begins. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest import schedules, traffic
from loadtest.messages import Message
from loadtest.schedules import Arrivals, Phase


@dataclass(frozen=True, slots=True)
class Load:
    """``pick(n)`` leaves at ``schedule[n]``, ascending seconds from the start, within ``seconds``."""

    schedule: Sequence[float]
    pick: Callable[[int], Message]
    seconds: float


def of_phases(
    messages: Sequence[Message], phases: Sequence[Phase], arrivals: Arrivals, *, seed: int = 0
) -> Load:
    """The phases one after the other, each request drawn from the messages."""
    schedule = schedules.of_phases(phases, arrivals, seed=seed).tolist()
    pick = traffic.chooser(messages, len(schedule), seed=seed)
    return Load(schedule, pick, sum(phase.seconds for phase in phases))


def merged(loads: Sequence[Load]) -> Load:
    """All at once."""
    streams = [[(due, load.pick(index)) for index, due in enumerate(load.schedule)] for load in loads]
    both = list(heapq.merge(*streams, key=lambda pair: pair[0]))
    seconds = max(load.seconds for load in loads)
    return Load([due for due, _ in both], lambda index: both[index][1], seconds)
