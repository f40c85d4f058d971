"""Row 57: good and hostile traffic for half an hour; the memory's slope, and what the good ones waited."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import psutil

from tests.torture import mutations
from tests.torture.client import Connection, Lost, counted, head, post
from tests.torture.health import GOLDEN, most_p99_ms
from tests.torture.subject import NATIVE, Subject

MAX_SLOPE_MB_PER_MINUTE = 1.0
WARM_UP_SHARE = 0.2  # of the time: pools, caches and the allocator fill up
SAMPLE_SECONDS = 1.0
GOOD_SHARE = 0.7
QUIET_SECONDS = 20.0
LOAD = 0.5  # of what the service holds
CAPACITY_SECONDS, CAPACITY_CONNECTIONS = 10.0, 64


@dataclass
class Seen:
    """What came back. `good_ms`: latencies of the good ones; `rss`: (minutes, MB)."""

    statuses: Counter[str] = field(default_factory=Counter)
    good_ms: list[float] = field(default_factory=list)
    rss: list[tuple[float, float]] = field(default_factory=list)

    def p99_ms(self) -> float:
        return sorted(self.good_ms)[int(0.99 * len(self.good_ms))]


def slope(samples: list[tuple[float, float]]) -> float:
    """MB per minute, by least squares, of (minutes, MB)."""
    minutes, megabytes = np.array(samples).T
    return float(np.polyfit(minutes, megabytes, 1)[0])


def half_of_capacity(subject: Subject) -> float:
    """Requests a second: of good ones, over connections that each ask again once they are answered."""
    until = time.monotonic() + CAPACITY_SECONDS
    asked = itertools.takewhile(lambda _: time.monotonic() < until, itertools.repeat(_good()[1]))
    seen = asyncio.run(counted(subject.port, asked, CAPACITY_CONNECTIONS))
    return LOAD * seen["200"] / CAPACITY_SECONDS


def soak(subject: Subject, minutes: float, rate: float | None, seed: int = 0) -> str:
    """`rate` None: half of what the service holds.

    Raises AssertionError where memory grows, a good request fails, or the good ones wait.
    """
    rate = rate or half_of_capacity(subject)
    quiet = asyncio.run(_traffic(subject, QUIET_SECONDS, rate * GOOD_SHARE, itertools.repeat(_good())))
    mixed = asyncio.run(_traffic(subject, 60 * minutes, rate, _mixed(seed)))
    growth = slope(mixed.rss[int(WARM_UP_SHARE * len(mixed.rss)) :])
    what = (
        f"{rate:.0f}/s: {mutations.in_words(mixed.statuses)}; RSS {growth:+.2f} MB/min, "
        f"p99 of the good {quiet.p99_ms():.0f} ms quiet, {mixed.p99_ms():.0f} ms mixed"
    )
    assert growth < MAX_SLOPE_MB_PER_MINUTE, what
    assert all(status.startswith(("good 200", "4", "200", "left")) for status in mixed.statuses), what
    assert mixed.p99_ms() < most_p99_ms(quiet.p99_ms()), what
    return what


Request = tuple[str, bytes]


def _good() -> Request:
    return "good", post(NATIVE, GOLDEN)


def _mixed(seed: int) -> Iterator[Request]:
    rng = random.Random(seed)
    damaged = mutations.requests(1 << 40, seed)
    while True:
        share = rng.random()
        if share < GOOD_SHARE:
            yield _good()
        elif share < 0.95:
            yield "hostile", next(damaged)
        else:  # hangs up in the middle of its body
            yield "left", head(NATIVE, "Content-Length: 100000") + bytes(rng.randrange(50_000))


async def _traffic(subject: Subject, seconds: float, rate: float, requests: Iterator[Request]) -> Seen:
    """One request every 1/rate seconds, whatever becomes of those before it."""
    seen, begun = Seen(), time.monotonic()
    # In turn, so that none rests until the service closes it: what is sent then is lost, and rightly.
    idle = deque(Connection(subject.port) for _ in range(64))
    tasks: set[asyncio.Task[None]] = set()
    sampling = asyncio.create_task(_sample(subject, seen, begun))
    for number in itertools.count():
        due = begun + number / rate
        if due > begun + seconds:
            break
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        connection = idle.popleft() if idle else Connection(subject.port)
        task = asyncio.create_task(_one(connection, next(requests), due, seen, idle))
        task.add_done_callback(tasks.discard)
        tasks.add(task)
    await asyncio.gather(*tasks)
    sampling.cancel()
    for connection in idle:
        connection.close()
    return seen


async def _one(
    connection: Connection, request: Request, due: float, seen: Seen, idle: deque[Connection]
) -> None:
    kind, data = request
    try:
        status, _ = await connection.ask(data, 0.05 if kind == "left" else 60.0)
    except (Lost, OSError):
        seen.statuses["left" if kind == "left" else "lost"] += 1
        return
    finally:
        idle.append(connection)
    seen.statuses[f"{kind} {status}" if kind == "good" else str(status)] += 1
    if kind == "good":
        seen.good_ms.append((time.monotonic() - due) * 1000)


async def _sample(subject: Subject, seen: Seen, begun: float) -> None:
    process = psutil.Process(subject.process.pid)
    while True:
        seen.rss.append(((time.monotonic() - begun) / 60, process.memory_info().rss / 1e6))
        await asyncio.sleep(SAMPLE_SECONDS)
