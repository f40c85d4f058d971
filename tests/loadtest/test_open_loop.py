"""The sender keeps its schedule, and its clock starts when the schedule says."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest

from loadtest import bodies, messages
from loadtest.answers import Outcome, native_answer
from loadtest.images import EncodedImage
from loadtest.messages import Message
from loadtest.open_loop import OpenLoop, SenderLimits, send
from loadtest.request_log import RequestLog
from tests.loadtest.fakes import FakeServer, Received, Reply, answers, fake_server, holding_until

IMAGE = bodies.raw(EncodedImage("cat.png", b"\x89PNG" + bytes(2000)))
PATH = "/v1/models/cifar10/predict"
FEW = SenderLimits(warm_connections=2)


def message(leave_after_seconds: float = math.inf, upload_seconds: float = 0.0) -> Message:
    return messages.post(
        "native",
        "test",
        PATH,
        IMAGE,
        native_answer,
        leave_after_seconds=leave_after_seconds,
        upload_seconds=upload_seconds,
    )


def load(
    server: FakeServer, times: list[float], sent: Message | None = None, limits: SenderLimits = FEW
) -> RequestLog:
    parts = urlsplit(server.url)
    chosen = sent or message()
    return send(str(parts.hostname), int(parts.port or 0), times, lambda _: chosen, limits)


def test_every_request_arrives_whole_and_its_answer_is_checked() -> None:
    with fake_server() as server:
        measured = load(server, [0.0, 0.001, 0.002])
    assert list(measured.outcomes) == [Outcome.ANSWERED] * 3
    assert [each.body for each in server.received] == [IMAGE.data] * 3
    assert {each.path for each in server.received} == {PATH}


def test_requests_leave_whatever_became_of_those_before() -> None:
    with fake_server(holding_until(20)) as server:
        measured = load(server, [index / 1000 for index in range(20)])
    assert list(measured.outcomes) == [Outcome.ANSWERED] * 20
    assert min(measured.ended) > max(measured.scheduled)


def test_without_a_free_connection_the_wait_counts_as_response_time_and_not_as_service_time() -> None:
    with fake_server() as server:
        limits = SenderLimits(max_connections=1, warm_connections=1)
        measured = load(server, [0.0] * 5, limits=limits)
    sent, ended = list(measured.sent), list(measured.ended)
    assert all(before <= after for before, after in zip(ended, sent[1:], strict=False))
    assert list(measured.scheduled) == [0.0] * 5


def test_a_server_that_was_paused_shows_in_every_request_scheduled_meanwhile() -> None:
    """150 requests at 100 a second to a process that is stopped while the second fifty are due."""
    with tiny_server() as (process, port):

        def pick(index: int) -> Message:  # is called when the request before has left
            if index in {50, 100}:
                process.send_signal(signal.SIGSTOP if index == 50 else signal.SIGCONT)
            return chosen

        chosen = message()
        measured = send("127.0.0.1", port, [index / 100 for index in range(150)], pick, FEW)
    rows = zip(measured.scheduled, measured.ended, strict=True)
    assert [ended for scheduled, ended in rows if 0.5 <= scheduled < 0.98 and ended < 0.99] == []
    response = np.array(measured.ended) - np.array(measured.scheduled)
    assert np.count_nonzero(response > 0.2) >= 28
    assert set(measured.outcomes) == {Outcome.ANSWERED}


@contextlib.contextmanager
def tiny_server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "tests.loadtest.tiny_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, int(process.stdout.readline() if process.stdout else 0)
        finally:
            process.kill()


def test_a_refusal_an_error_and_a_broken_answer_are_told_apart() -> None:
    replies = iter(
        [
            Reply(503, headers={"Retry-After": "1"}),
            Reply(500),
            Reply(document="no json"),
            Reply(document=answers(Received(PATH, {}, b"")).document),
        ]
    )
    with fake_server(lambda _: next(replies)) as server:
        measured = load(server, [0.0] * 4, limits=SenderLimits(max_connections=1, warm_connections=1))
    assert list(measured.outcomes) == [Outcome.REFUSED, Outcome.ERROR, Outcome.ERROR, Outcome.ANSWERED]
    assert measured.faults == {"status 500": 1, "the answer is not JSON": 1}


def test_a_connection_that_the_server_closes_is_replaced() -> None:
    def closes(request: Received) -> Reply:
        return Reply(document=answers(request).document, headers={"Connection": "close"})

    with fake_server(closes) as server:
        limits = SenderLimits(max_connections=1, warm_connections=1)
        measured = load(server, [0.0] * 4, limits=limits)
    assert list(measured.outcomes) == [Outcome.ANSWERED] * 4


def test_the_servers_own_timing_is_kept() -> None:
    def timed(request: Received) -> Reply:
        return Reply(document=answers(request).document, headers={"Server-Timing": "queue;dur=1.5"})

    with fake_server(timed) as server:
        assert load(server, [0.0]).timings == [b"queue;dur=1.5"]


def test_a_caller_who_leaves_hangs_up_and_is_no_error() -> None:
    gone = threading.Event()

    def never_answers(_: Received) -> Reply:
        gone.wait(20)
        return Reply(500)

    with fake_server(never_answers) as server:
        measured = load(server, [0.0], message(leave_after_seconds=0.01))
        gone.set()
    assert list(measured.outcomes) == [Outcome.LEFT]


def test_a_server_that_never_answers_is_an_error_in_the_end() -> None:
    gone = threading.Event()

    def never_answers(_: Received) -> Reply:
        gone.wait(20)
        return Reply(500)

    with fake_server(never_answers) as server:
        measured = load(server, [0.0], limits=SenderLimits(answer_timeout_seconds=0.01))
        gone.set()
    assert measured.faults == {"no answer in time": 1}


def test_a_slow_upload_arrives_whole() -> None:
    with fake_server() as server:
        measured = load(server, [0.0], message(upload_seconds=0.05))
    assert list(measured.outcomes) == [Outcome.ANSWERED]
    assert server.received[0].body == IMAGE.data


def test_nobody_to_talk_to_is_said_at_once() -> None:
    with fake_server() as server:
        pass
    with pytest.raises(OSError, match="Connect call failed"):
        load(server, [0.0])


@contextlib.contextmanager
def refusing_early(connections: list[bytes]) -> Iterator[int]:
    """A server that reads a head, refuses, keeps the connection, and notes what comes after; its port."""

    def serve(client: socket.socket, number: int) -> None:
        with client:
            read = b""
            while b"\r\n\r\n" not in read and (data := client.recv(65536)):
                read += data
            client.sendall(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while data := client.recv(65536):
                    read += data
            connections[number] = read

    def accept() -> None:
        with contextlib.suppress(OSError), ThreadPoolExecutor() as pool:
            while True:
                client, _ = listener.accept()
                connections.append(b"")
                pool.submit(serve, client, len(connections) - 1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_after_half_an_upload_that_was_refused_nothing_else_is_sent_there() -> None:
    connections: list[bytes] = []
    slow = message(upload_seconds=0.5)
    with refusing_early(connections) as port:
        measured = send("127.0.0.1", port, [0.0, 0.2], lambda _: slow, SenderLimits(warm_connections=1))
    assert list(measured.outcomes) == [Outcome.REFUSED] * 2
    assert [read.count(b"POST ") for read in connections] == [1, 1]


async def test_a_connection_that_nobody_waits_for_any_more_may_fail() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    sender = OpenLoop("127.0.0.1", port, lambda _: message(), FEW)
    sender._loop = asyncio.get_running_loop()
    await sender._connection()
    assert sender._open == 0
    with pytest.raises(OSError, match="Connect call failed"):
        await sender._warm()


@contextlib.contextmanager
def taking_and_never_answering() -> Iterator[tuple[int, Callable[[], None]]]:
    """Its port, and what ends it: everybody it has taken is hung up on, and nobody else is taken."""
    taken: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()

        def end() -> None:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            listener.close()
            for client in taken:
                client.close()

        yield int(listener.getsockname()[1]), end


async def test_of_a_server_that_dies_every_request_ends_even_those_beyond_its_connections() -> None:
    with taking_and_never_answering() as (port, end):

        def pick(index: int) -> Message:  # is called when the request before has left
            if index == 9:
                end()
            return message()

        sender = OpenLoop("127.0.0.1", port, pick, SenderLimits(max_connections=2, warm_connections=2))
        async with asyncio.timeout(20):
            measured = await sender.run([0.0] * 10)
    assert Counter(measured.outcomes) == {Outcome.ERROR: 2, Outcome.UNREACHED: 8}
