"""Rows 53 to 56: too few descriptors, no disk, no reader of the log, little memory, a port in use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil

from tests.torture import mutations
from tests.torture.client import connected, head, post, statuses
from tests.torture.faults import Group
from tests.torture.health import GOLDEN, SPARE_DESCRIPTORS
from tests.torture.subject import NATIVE, ROOT, SERVICE, Subject, started, wait_for

DESCRIPTORS, CONNECTIONS = 256, 400
DECODES_MB = 1500
# Each makes a line in a log where anything does.
NOISY = post(NATIVE, b"--b\nx", {"Content-Type": "multipart/form-data; boundary=b"})


def group(count: int) -> Group:
    """`count`: requests of a hostile mix. The subject that is given is not used."""
    faults = Group()
    sent = f"{DESCRIPTORS} descriptors and {CONNECTIONS} connections"
    faults.fault(53, sent, "the others are served, and all after that")(_descriptors)
    for name, output in LOGS.items():
        sent = f"log {name}, {count} requests that could make lines, SIGTERM"
        faults.fault(54, sent, "served; exit code 0")(partial(_with_log, output, count))
    faults.fault(55, f"{count} hostile requests with {DECODES_MB} MB to spare", "200, 4xx or 503; alive")(
        lambda _: _little_memory(count)
    )
    sent = "a port in use; zero, negative and unknown settings"
    faults.fault(56, sent, "exit code 2, one line that names it")(lambda _: _bad_settings())
    return faults


def _descriptors(_: Subject) -> str:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

    with started(in_child=few) as subject:
        room = DESCRIPTORS - psutil.Process(subject.process.pid).num_fds()
        with contextlib.ExitStack() as stack:
            clients = []
            for _index in range(CONNECTIONS):
                with contextlib.suppress(OSError):
                    client = stack.enter_context(connected(subject, timeout=1))
                    client.sendall(head("/healthz", method="GET"))
                    clients.append(client)
            answered = sum(_is_answered(client) for client in clients)
        what = f"room for {room}: {answered} of {CONNECTIONS} answered at once"
        assert room - SPARE_DESCRIPTORS <= answered < CONNECTIONS, what
        assert wait_for(lambda: _serves(subject), 30), subject.log[-500:]
        return f"{what}, then served again"


def _is_answered(client: socket.socket) -> bool:
    try:
        return client.recv(65536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _serves(subject: Subject) -> bool:
    with contextlib.suppress(OSError):
        return subject.classify(GOLDEN, timeout=5).status == 200
    return False


@contextlib.contextmanager
def _closed() -> Iterator[tuple[int, Callable[[], None]]]:
    """Nobody holds the other end: EPIPE."""
    ours, theirs = os.pipe()
    os.close(ours)
    yield theirs, lambda: None
    os.close(theirs)


@contextlib.contextmanager
def _blocked() -> Iterator[tuple[int, Callable[[], None]]]:
    """A pipe that is full and stays so."""
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(theirs, bytes(4096))
    flags = fcntl.fcntl(theirs, fcntl.F_GETFL)
    fcntl.fcntl(theirs, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
    yield theirs, lambda: None
    os.close(ours)
    os.close(theirs)


@contextlib.contextmanager
def _full() -> Iterator[tuple[int, Callable[[], None]]]:
    """A file that may not grow: what a full disk does to a log."""

    def no_growth() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    with tempfile.TemporaryFile() as file:
        yield file.fileno(), no_growth


LOGS = {"closed": _closed, "that nobody reads": _blocked, "on a full disk": _full}
Output = Callable[[], contextlib.AbstractContextManager[tuple[int, Callable[[], None]]]]


def _with_log(output: Output, count: int, _: Subject) -> str:
    """Both streams of the process go there, so the port is chosen here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with output() as (descriptor, in_child):
        process = subprocess.Popen(
            [*SERVICE, "--port", str(port)],
            cwd=ROOT,
            stdout=descriptor,
            stderr=descriptor,
            text=True,
            preexec_fn=in_child,
        )
        subject = Subject(process, port)
        try:
            assert wait_for(lambda: process.poll() is not None or _serves(subject), 120), "never served"
            assert process.poll() is None, f"exit code {process.poll()} at the start"
            for _index in range(count):
                got = statuses(subject, NOISY.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), timeout=10)
                assert got == [400], got
            status = subject.classify(GOLDEN).status
            code = subject.stop(timeout=60)
            assert (status, code) == (200, 0), f"{status}, exit code {code}"
            return f"{count} x 400, then 200, exit code 0"
        finally:
            process.kill()
            process.wait()


def _little_memory(count: int) -> str:
    """RLIMIT_AS is set once the service runs: what it maps at the start is not what it may waste later."""
    with started("--max-batch-size", "8") as subject:
        pid = subject.process.pid
        mapped = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        most = mapped + DECODES_MB * 2**20
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
        what = mutations.attack(subject, count, seed=55, allowed=("200", "4", "503", "504"))
        assert _serves(subject), f"{what}, and then nothing"
        return f"{what}, then served"


def _bad_settings() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wrong = {
            "--port": str(taken.getsockname()[1]),
            "--max-waiting": "0",
            "--max-batch-size": "-1",
            "--latency-target-ms": "nan",
            "--host": "no.such.host.invalid",
            "--max-bodies": "1",
        }
        for name, value in wrong.items():
            result = subprocess.run(
                [*SERVICE, name, value], cwd=ROOT, capture_output=True, text=True, timeout=180
            )
            lines = [line for line in result.stderr.splitlines() if not line.startswith("INFO")]
            assert result.returncode == 2, f"{name}: exit code {result.returncode}: {result.stderr}"
            assert len(lines) == 1, f"{name}: {lines}"
            assert name in lines[0], lines
    return f"{len(wrong)} x exit code 2 and one line"
