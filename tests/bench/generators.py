"""`python -m tests.bench.generators`: does the open-loop sender tell the truth? Two tables in Markdown.

The same load by two open-loop senders that share no code. Then a server that is stopped for a second, as seen
by the open loop and by a closed one.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest import bodies, loads, traffic
from loadtest.images import load_images
from loadtest.loads import Load
from loadtest.measuring import address, sent
from loadtest.messages import Message
from loadtest.request_log import RequestLog
from loadtest.schedules import Arrivals, Phase
from loadtest.serving import Served, serving
from loadtest.traffic import Target
from tests.bench import closed_loop, threaded_sender

MODEL = "cifar10"
CONNECTIONS = 4  # of the closed loop
STALL_SECONDS = 1.0


def main(arguments: Sequence[str]) -> None:
    """Starts its own server."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.generators", description=__doc__)
    parser.add_argument("--rate", type=float, default=150, help="requests/s; well below capacity")
    parser.add_argument("--seconds", type=int, default=30, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3, help="of the comparison, in turn")
    options = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as scratch,
        serving(Path(scratch, "service.log"), ["--latency-target-ms", "30000"]) as served,
    ):
        bench = Bench(served, options.rate, options.seconds)
        bench.open_loop(seconds=2)  # to warm up
        for line in (*bench.agreement(options.repeats), *bench.stalls()):
            print(line, flush=True)


@dataclass(frozen=True)
class Bench:
    """One server, one load."""

    served: Served
    rate: float
    seconds: int

    @property
    def messages(self) -> list[Message]:
        return traffic.native(Target(*address(self.served.url), MODEL, load_images()))

    def agreement(self, repeats: int) -> Iterator[str]:
        """Both senders in turn, on the same schedule."""
        yield f"\n| {self.rate:g}/s for {self.seconds} s | p50 ms | p99 ms |\n|---|---:|---:|"
        for _ in range(repeats):
            yield _row("open loop, `loadtest`", self.open_loop(self.seconds))
            yield _row("open loop, threads and blocking sockets", self.threads())

    def stalls(self) -> Iterator[str]:
        """SIGSTOP for a second in the middle."""
        yield f"\n| stopped for {STALL_SECONDS:g} s of {self.seconds} s | p50 ms | p99 ms | max ms |"
        yield "|---|---:|---:|---:|"
        with self.stall():
            response = self.open_loop(self.seconds)
        yield _row("open loop", response, most=True)
        with self.stall():
            answers = self.closed_loop()
        yield (f"| closed loop, {CONNECTIONS} connections | {answers.p50_ms:.1f} | {answers.p99_ms:.1f} | |")

    def open_loop(self, seconds: float) -> list[float]:
        """Response times, in seconds."""
        measured: RequestLog = sent(self.served.url, self.load(seconds))
        return (np.array(measured.ended) - np.array(measured.scheduled)).tolist()  # type: ignore[no-any-return]

    def threads(self) -> list[float]:
        """The very same requests by the other sender."""
        load = self.load(self.seconds)
        schedule = list(load.schedule)
        requests = [load.pick(index).data for index in range(len(schedule))]
        return threaded_sender.send(*address(self.served.url), schedule, requests)

    def load(self, seconds: float) -> Load:
        """The same each time."""
        phases = [Phase("steady", self.rate, seconds)]
        return loads.of_phases(self.messages, phases, Arrivals.POISSON)

    def closed_loop(self) -> closed_loop.Answers:
        """As fast as it is answered."""
        url = f"{self.served.url}/v1/models/{MODEL}/predict"
        sent_bodies = [bodies.raw(image) for image in load_images()]
        return asyncio.run(closed_loop.by_streams(url, sent_bodies, CONNECTIONS, self.seconds))

    def stall(self) -> Stall:
        """In the middle of what follows."""
        return Stall(self.served, self.seconds / 2)


class Stall:
    """Stops the server's process for a second, some time after this is entered."""

    def __init__(self, served: Served, after: float) -> None:
        self._served = served
        self._timers = [
            threading.Timer(after, self._signal, [signal.SIGSTOP]),
            threading.Timer(after + STALL_SECONDS, self._signal, [signal.SIGCONT]),
        ]

    def __enter__(self) -> None:
        for timer in self._timers:
            timer.start()

    def __exit__(self, *_: object) -> None:
        for timer in self._timers:
            timer.join()

    def _signal(self, number: signal.Signals) -> None:
        if self._served.process:
            self._served.process.send_signal(number)


def _row(title: str, response: Sequence[float], *, most: bool = False) -> str:
    p50, p99, longest = np.percentile(response, [50, 99, 100]) * 1000
    return f"| {title} | {p50:.1f} | {p99:.1f} |{f' {longest:.1f} |' if most else ''}"


if __name__ == "__main__":
    main(sys.argv[1:])
