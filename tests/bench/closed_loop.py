"""A closed loop: every connection sends its next request when the answer to the last one is there.

By wrk where it is installed, since it costs the server least; else over asyncio's streams.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from loadtest.bodies import Body
from loadtest.messages import encoded

WRK = shutil.which("wrk")
GENERATOR = (
    "wrk, one thread" if WRK else "asyncio streams (wrk is not installed, and takes less of the processor)"
)

_SCRIPT = """
local requests, turn = {}, 0
function init(args)
  for i = 1, #args, 2 do
    local file = io.open(args[i + 1], "rb")
    requests[#requests + 1] = wrk.format("POST", nil, {["Content-Type"] = args[i]}, file:read("*a"))
    file:close()
  end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("\\ndone %d %d %d %f %f %f\\n", summary.requests, errors.status, lost,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back in `seconds`: `answered` with a 200, `failed` with another status or not at all."""

    answered: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float


def run(url: str, bodies: Sequence[Body], connections: int, seconds: int) -> Answers:
    """POST the bodies in rotation over keep-alive connections."""
    if WRK:
        return _wrk(url, bodies, connections, seconds)
    return asyncio.run(by_streams(url, bodies, connections, seconds))


def _wrk(url: str, bodies: Sequence[Body], connections: int, seconds: int) -> Answers:
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch, "bench.lua")
        script.write_text(_SCRIPT)
        arguments = list(itertools.chain.from_iterable(_on_disk(bodies, Path(scratch))))
        command = [
            str(WRK),
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "-s",
            str(script),
            url,
            "--",
            *arguments,
        ]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"^done (\d+) (\d+) (\d+) (\S+) (\S+) (\S+)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk said something else: {output}")
    requests, refused, lost = (int(number) for number in found.groups()[:3])
    took, p50_ms, p99_ms = (float(number) for number in found.groups()[3:])
    return Answers(requests - refused, refused + lost, took, p50_ms, p99_ms)


def _on_disk(bodies: Sequence[Body], folder: Path) -> Iterator[tuple[str, str]]:
    """(content type, file) of each."""
    for number, body in enumerate(bodies):
        path = folder / f"{number}.body"
        path.write_bytes(body.data)
        yield body.content_type, str(path)


async def by_streams(url: str, bodies: Sequence[Body], connections: int, seconds: int) -> Answers:
    """Without wrk, which adds to its percentiles what it believes that callers would have seen meanwhile."""
    where = urlsplit(url)
    host, port = str(where.hostname), where.port
    turns = itertools.cycle([encoded(where.netloc, where.path, body, {}) for body in bodies])
    latencies: list[float] = []
    failed = 0
    started = time.perf_counter()

    async def caller() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection(host, port)
        while (sent := time.perf_counter()) < started + seconds:
            writer.write(next(turns))
            status = await _status(reader)  # first: `failed += await ...` reads `failed` before it waits
            failed += status != 200
            latencies.append(time.perf_counter() - sent)
        writer.close()

    await asyncio.gather(*(caller() for _ in range(connections)))
    p50, p99 = np.percentile(latencies, [50, 99]) * 1000
    return Answers(len(latencies) - failed, failed, time.perf_counter() - started, float(p50), float(p99))


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one response whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    await reader.readexactly(int(length[1]) if length else 0)
    return int(head.split(b" ", 2)[1])
