"""What the parent does for its workers, with some that are no processes. `test_workers.py` has real ones."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any, cast

from service.settings import Settings
from service.workers.assignment import Assignment
from service.workers.children import Child
from service.workers.supervisor import Supervisor


class FakeChild:
    """Ready, and asked what it has counted; it answers when it may."""

    def __init__(self) -> None:
        self.number, self.ready, self.link = 1, True, self
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def ask(self, what: str, timeout_seconds: float) -> list[Any]:  # noqa: ARG002
        self.asked += 1
        await self.may_answer.wait()
        return [["a", "", "counter", [["a_total", {}, float(self.asked)]]]]


async def test_a_worker_that_a_drain_killed_in_its_start_does_not_count_as_ready_when_its_word_comes(
    models_dir: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = Supervisor(Settings(models_dir=models_dir, workers=2), [], listener, print)
    assignment = Assignment(1, 2, [], 8000, None, supervisor._activations.versions)
    child = supervisor._children[1] = Child(assignment, supervisor._answer)
    supervisor.drain()
    await supervisor._answer(child, "listening", "listening")
    assert not child.ready


async def test_scrapes_at_the_same_time_ask_the_workers_once_and_the_next_one_asks_again(
    models_dir: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = Supervisor(Settings(models_dir=models_dir, workers=2), [], listener, print)
    child = FakeChild()
    supervisor._children[1] = cast(Child, child)
    scrapes = [
        asyncio.create_task(supervisor._answer(cast(Child, child), "metrics", None)) for _ in range(100)
    ]
    while not child.asked:
        await asyncio.sleep(0)
    child.may_answer.set()
    assert all("a_total 1.0" in text for text in await asyncio.gather(*scrapes))
    assert child.asked == 1
    assert "a_total 2.0" in await supervisor._answer(cast(Child, child), "metrics", None)
