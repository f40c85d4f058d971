"""A second open-loop sender, to check the first against: threads and blocking sockets, no code in common."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Sequence

THREADS = 64  # more than are ever busy at once, or the schedule is not kept


def send(host: str, port: int, schedule: Sequence[float], requests: Sequence[bytes]) -> list[float]:
    """Seconds from each scheduled time to the end of its answer, which must be a 200."""
    turn = itertools.count()
    response = [0.0] * len(schedule)
    started = time.perf_counter() + 0.5

    def caller() -> None:
        with socket.create_connection((host, port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (index := next(turn)) < len(schedule):
                time.sleep(max(0.0, started + schedule[index] - time.perf_counter()))
                connection.sendall(requests[index % len(requests)])
                _read_answer(connection)
                response[index] = time.perf_counter() - started - schedule[index]

    threads = [threading.Thread(target=caller) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return response


def _read_answer(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.partition(b"\r\n")[0].decode())
    length = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += _some(connection)


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("closed without an answer")
    return data
