"""What the queue itself costs: `python -m tests.batching.bench`. Processor time; wants a quiet machine."""

import asyncio
import time
from contextlib import suppress
from random import Random

from batching import Batcher, BatchPolicy, Device, QueueFull
from batching.simulate import simulate
from batching.waiting import Ticket, WaitingLine
from tests.batching.world import affine, learnt, poisson

SECONDS = affine(0.0005, 0.0016)
CAPACITY = 32 / SECONDS(32)


async def submit_and_answer(batch: int = 32, rounds: int = 2000) -> float:
    """Microseconds of loop time per answered request: two batches of callers in a closed loop.

    The batch function does nothing. A caller is a task that lives for many requests, as a connection's does.
    """
    device = Device("bench")
    policy = BatchPolicy(latency_target_seconds=60.0, max_batch_size=batch)
    batcher = Batcher[int, int](list, policy, device, name="bench")

    async def caller() -> None:
        for _ in range(rounds):
            await batcher.submit(1)

    started = time.thread_time()
    await asyncio.gather(*[caller() for _ in range(2 * batch)])
    spent = time.thread_time() - started
    device.close()
    return spent / (rounds * 2 * batch) * 1e6


async def refusal(calls: int = 50_000) -> float:
    """Microseconds of loop time to refuse a request to a busy model."""
    device = Device("bench")
    batcher = Batcher[int, int](list, BatchPolicy(0.01), device, name="bench", latency=learnt(SECONDS))
    running = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    started = time.thread_time()
    for _ in range(calls):
        with suppress(QueueFull):
            batcher.admit(32)
    spent = time.thread_time() - started
    await running
    device.close()
    return spent / calls * 1e6


def line(waiting: int, operations: int = 20_000) -> float:
    """Microseconds for one request to join a line of this length, one to leave it, and one to be taken."""
    rng, line = Random(1), WaitingLine[Ticket]()
    tickets = [Ticket(0.0, rng.random()) for _ in range(waiting + 2 * operations)]
    for ticket in tickets[2 * operations :]:
        line.offer(ticket)
    started = time.process_time()
    for index in range(0, 2 * operations, 2):
        line.offer(tickets[index])
        line.offer(tickets[index + 1])
        line.cancel(tickets[index])
        line.take(1)
    return (time.process_time() - started) / operations * 1e6


def simulation(times_capacity: float, requests: int = 1_000_000) -> float:
    """Seconds to simulate a million requests."""
    rate = times_capacity * CAPACITY
    started = time.process_time()
    simulate(poisson(rate, requests / rate), BatchPolicy(0.1), learnt(SECONDS))
    return time.process_time() - started


def main() -> None:
    print(f"submit and answer, batch 32: {asyncio.run(submit_and_answer()):6.1f} us of loop time")
    print(f"refusal:                     {asyncio.run(refusal()):6.1f} us of loop time")
    for waiting in (100, 1_000, 10_000, 100_000):
        print(f"join, leave and take with {waiting:7,} waiting: {line(waiting):5.1f} us")
    for load in (0.5, 0.9, 1.2, 5.0):
        print(f"a million requests at {load} times capacity: {simulation(load):5.1f} s")


if __name__ == "__main__":
    main()
