"""Rows 19 to 26, 41 and 42: slow, silent, greedy and fickle clients, by the thousand."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import random
import time
from collections import Counter
from contextlib import closing

import numpy as np
import psutil
from PIL import Image

from tests.live import multipart, responses, send, until_closed
from tests.torture.client import Connection, Lost, asynchronous, connected, head, many, post, statuses
from tests.torture.faults import Fault, Group
from tests.torture.health import GOLDEN, MAX_CONFIDENCE_CHANGE, most_p99_ms
from tests.torture.images import encoded
from tests.torture.mutations import in_words
from tests.torture.subject import FLASK, NATIVE, SAMPLES, Subject

CHUNKED = head(NATIVE, "Transfer-Encoding: chunked")
# The clocks of the subject, so that a thousand slow clients are gone within the minute.
FLAGS = ("--header-timeout-seconds", "5", "--body-timeout-seconds", "5", "--send-timeout-seconds", "5")
GONE_SECONDS = 30.0
MAX_GROWTH_MB = 1.0  # of bodies that are refused
PROBES = 200
HEALTH = head("/healthz", method="GET")


def group(count: int) -> Group:
    """`count`: clients of the slow kinds; ten times as many are idle."""
    faults = Group()

    @faults.fault(19, f"{count} bodies in chunks without end", "413 at the limit; RSS +< 1 MB")
    def _(subject: Subject) -> str:
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        return _repeatedly(subject, CHUNKED + chunk * 200, max(1, count // 10), {413})

    @faults.fault(19, "1,000,000 chunks of one byte", "an answer; RSS +< 1 MB")
    def _(subject: Subject) -> str:
        cpu = subject.cpu_seconds()
        body = b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n"
        what = _repeatedly(
            subject, CHUNKED.replace(b"Host", b"Connection: close\r\nHost") + body, 1, {408, 415}
        )
        return f"{what}, {subject.cpu_seconds() - cpu:.1f} s of CPU"

    @faults.fault(21, "Expect: 100-continue, and then nothing", "408")
    def _(subject: Subject) -> str:
        with connected(subject) as client:
            client.sendall(head(NATIVE, "Content-Length: 9", "Expect: 100-continue"))
            received = until_closed(client)
        _, _, rest = received.partition(b"100 Continue\r\n\r\n")
        got = [response.status for response in responses(rest)]
        assert got == [408], got
        return "100, then 408 after the body's 5 s"

    kinds = {
        "silent connections": b"",
        "half a head": b"POST / HTTP/1.1\r\nHost: te",
        "half a body": head(NATIVE, "Content-Length: 9") + b"abc",
    }
    for name, start in kinds.items():
        faults.append(_slow_clients(name, start, count))
    faults.append(_slow_readers(count))
    faults.append(idle(10 * count))

    @faults.fault(26, "500 requests back to back on one connection to a Flask route", "500 x 200")
    def _(subject: Subject) -> str:
        body, headers = multipart(("file", GOLDEN))
        with closing(http.client.HTTPConnection("127.0.0.1", subject.port, timeout=60)) as connection:
            seen = Counter(str(send(connection, "POST", FLASK, body, headers).status) for _ in range(500))
        assert seen == {"200": 500}, in_words(seen)
        return in_words(seen)

    faults.append(_own_answers(10 * count))
    return faults


def _repeatedly(subject: Subject, request: bytes, times: int, allowed: set[int]) -> str:
    process = psutil.Process(subject.process.pid)
    once = tuple(statuses(subject, request))  # takes room for one body, which the next ones use again
    rss = process.memory_info().rss
    seen = Counter([once, *(tuple(statuses(subject, request)) for _ in range(times))])
    growth = (process.memory_info().rss - rss) / 1e6
    what = f"{dict(seen)}, RSS {growth:+.1f} MB"
    assert all(len(got) == 1 and got[0] in allowed for got in seen), what
    assert growth < MAX_GROWTH_MB, what
    return what


def _slow_clients(name: str, start: bytes, count: int) -> Fault:
    async def attack(subject: Subject) -> str:
        quiet = await _p99_ms(subject)
        async with many(subject, count, start) as opened:
            during = await _p99_ms(subject)
            ended = await asyncio.wait_for(_answers(opened), GONE_SECONDS)
        what = f"{in_words(ended)}; probe p99 {quiet:.0f} -> {during:.0f} ms"
        assert set(ended) <= {"408"}, what
        assert during < most_p99_ms(quiet), what
        return what

    return Fault(22, f"{count} clients: {name}", "408 and closed; p99 of others < 2x", asynchronous(attack))


async def _answers(opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> Counter[str]:
    """Status of each, once it is closed."""
    ends = await asyncio.gather(*(reader.read() for reader, _ in opened), return_exceptions=True)
    return Counter(
        type(end).__name__ if isinstance(end, BaseException) else end[9:12].decode() or "closed"
        for end in ends
    )


async def _p99_ms(subject: Subject) -> float:
    """Of requests on connections of their own, while whatever is going on goes on."""
    seconds = []
    for _ in range(PROBES):
        started = time.perf_counter()
        response = await asyncio.to_thread(subject.request, "GET", "/healthz")
        seconds.append(time.perf_counter() - started)
        assert response.status == 200, response.status
    return sorted(seconds)[int(0.99 * PROBES)] * 1000


def _slow_readers(count: int) -> Fault:
    async def attack(subject: Subject) -> str:
        process = psutil.Process(subject.process.pid)
        before = process.num_fds() + 1  # that of the request beside them may linger
        async with many(subject, count // 10, head("/openapi.json", method="GET") * 400) as opened:
            for _, writer in opened:
                writer.transport.pause_reading()  # type: ignore[attr-defined]
            status = (await asyncio.to_thread(subject.classify, GOLDEN)).status
            deadline = time.monotonic() + GONE_SECONDS
            while process.num_fds() > before and time.monotonic() < deadline:
                await asyncio.sleep(0.2)
            left = process.num_fds() - before
        what = f"a real request {status}, then {max(0, left)} of their connections left"
        assert status == 200, what
        assert left <= 0, what
        return what

    return Fault(23, f"{count // 10} clients that never read", "cut off; others served", asynchronous(attack))


def idle(count: int) -> Fault:
    """Row 24."""

    async def attack(subject: Subject) -> str:
        process = psutil.Process(subject.process.pid)
        rss = process.memory_info().rss
        async with many(subject, count, HEALTH) as opened:
            for reader, _ in opened:
                await reader.readuntil(b"}")
            growth = (process.memory_info().rss - rss) / 1e6
            status = (await asyncio.to_thread(subject.classify, GOLDEN)).status
        what = f"RSS {growth:+.0f} MB with {count} idle connections, a real request {status}"
        assert status == 200, what
        assert growth < 100, what
        return what

    return Fault(24, f"{count:,} idle keep-alive connections", "RSS +< 100 MB, served", asynchronous(attack))


def _own_answers(count: int) -> Fault:
    """Every image is sent alone first; then all at once, with callers who leave."""

    async def attack(subject: Subject) -> str:
        images = [post(NATIVE, _distinct(index)) for index in range(count)]
        alone = await _ask_all(subject, images, 1, leaving=False)
        together = await _ask_all(subject, images, 64, leaving=True)
        wrong = sum(not _same(together[index], alone[index]) for index in together)
        what = f"{len(together):,} answers, {count - len(together):,} callers left, {wrong} wrong"
        assert not wrong, what
        assert len(set(alone.values())) > count // 2, "the images are not told apart"
        assert subject.request("GET", "/readyz").status == 200
        return what

    must = "each answer is that of its image alone"
    return Fault(41, f"{count:,} images, 64 at a time, a fifth leaves", must, asynchronous(attack))


def _same(one: tuple[str, float], other: tuple[str, float]) -> bool:
    """The company of a batch moves a confidence a little, and so may swap two labels that are close."""
    close = abs(one[1] - other[1]) <= MAX_CONFIDENCE_CHANGE
    return close and (one[0] == other[0] or one[1] < 0.5 + MAX_CONFIDENCE_CHANGE)


def _distinct(index: int) -> bytes:
    """A photograph, mixed with noise of its own."""
    photo = Image.open(SAMPLES / ("cat.jpg", "coffee.jpg", "rocket.jpg")[index % 3]).convert("RGB")
    noise = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return encoded(Image.blend(photo.resize((32, 32)), Image.fromarray(noise), 0.3), "PNG")


async def _ask_all(
    subject: Subject, requests: list[bytes], connections: int, leaving: bool
) -> dict[int, tuple[str, float]]:
    """Label and confidence by index, without those that left."""
    left, answers, rng = iter(enumerate(requests)), dict[int, tuple[str, float]](), random.Random(0)

    async def worker() -> None:
        connection = Connection(subject.port)
        for index, request in left:
            patience = rng.uniform(0.0005, 0.05) if leaving and rng.random() < 0.2 else 60.0
            with contextlib.suppress(Lost):
                status, body = await connection.ask(request, patience)
                assert status == 200, (status, body)
                answer = json.loads(body)
                answers[index] = answer["label"], answer["confidence"]
        connection.close()

    await asyncio.gather(*(worker() for _ in range(connections)))
    return answers
