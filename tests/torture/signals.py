"""Rows 34, 49 and 50: how it ends, under load, with processes of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections import Counter
from collections.abc import Sequence

from tests.torture import counting
from tests.torture.client import Connection, Lost, connected, head, post
from tests.torture.faults import Group
from tests.torture.health import GOLDEN
from tests.torture.mutations import in_words
from tests.torture.subject import NATIVE, TOKEN, Subject, started

REQUEST = post(NATIVE, GOLDEN)
GRACE, TIMEOUT = 1.0, 5.0
FLAGS = (
    "--drain-grace-seconds",
    f"{GRACE}",
    "--drain-timeout-seconds",
    f"{TIMEOUT}",
    "--latency-target-ms",
    "60000",
)
# What is no answer: nobody listened; the connection ended before its first answer, or after one.
REFUSED, RESET, LOST = "refused", "reset", "accepted and lost"
WITHIN_SECONDS = GRACE + TIMEOUT + 30.0  # the end of the interpreter, on a busy machine
BUSY_BEFORE_SECONDS = 1.0


def group(rounds: int, clients: int) -> Group:
    """Each fault starts services of its own; the subject that is given is not used."""
    faults = Group()
    names = {signal.SIGTERM: rounds, signal.SIGINT: 1, signal.SIGHUP: 1}
    for number, times in names.items():

        @faults.fault(
            49,
            f"{number.name} under {clients} busy clients, {times} times",
            "every accepted request answered, exit code 0",
        )
        def _(_: Subject, number: signal.Signals = number, times: int = times) -> str:
            return _under_load(times, clients, number)

    @faults.fault(34, f"/shutdown under {clients} busy clients, and again", "202, all answered, exit code 0")
    def _(_: Subject) -> str:
        return _under_load(1, clients, None)

    @faults.fault(49, "SIGTERM twice", "exits at once, exit code 0")
    def _(_: Subject) -> str:
        with started("--drain-grace-seconds", "60") as subject:
            subject.process.send_signal(signal.SIGTERM)
            assert _not_ready(subject)
            begun = time.monotonic()
            code = subject.stop(signal.SIGTERM, 30)
            what = f"exit code {code} after {time.monotonic() - begun:.1f} s"
            assert code == 0, what
            return what

    @faults.fault(50, "SIGTERM with half a body, a slow reader, silent connections", "exits in time, 0")
    def _(_: Subject) -> str:
        with started(*FLAGS) as subject, contextlib.ExitStack() as stack:
            for start in (head(NATIVE, "Content-Length: 9") + b"a", b"GET / HT", b"", _unread()):
                client = stack.enter_context(connected(subject))
                with contextlib.suppress(TimeoutError):
                    client.settimeout(2)
                    client.sendall(start)
            begun = time.monotonic()
            code = subject.stop(signal.SIGTERM, WITHIN_SECONDS)
            what = f"exit code {code} after {time.monotonic() - begun:.1f} s"
            assert code == 0, what
            return what

    return faults


def _unread() -> bytes:
    return head("/openapi.json", method="GET") * 300


def _not_ready(subject: Subject) -> bool:
    return any(subject.request("GET", "/readyz").status == 503 for _ in range(100))


def _under_load(rounds: int, clients: int, number: signal.Signals | None) -> str:
    total: Counter[str] = Counter()
    for _ in range(rounds):
        total += stopped_under_load(clients, number)
    return f"{in_words(total)}; {_answered(total):,} heads read, as many answered"


def stopped_under_load(
    clients: int, number: signal.Signals | None, command: Sequence[str] = counting.SERVICE
) -> Counter[str]:
    """One service, asked without pause until nobody listens; `number` None asks for /shutdown.

    What became of the requests; raises AssertionError where one is lost that the service had begun to read.
    """
    with started(*FLAGS, command=command) as subject:
        seen, code = asyncio.run(_one_round(subject, clients, number))
        assert code == 0, f"exit code {code}; {subject.log[-500:]}"
    read = counting.heads_read(subject.log)
    what = f"{in_words(seen)}; {read:,} heads read, {_answered(seen):,} answered"
    assert read == _answered(seen), what
    assert set(seen) <= {"200", "202", "503", REFUSED, RESET}, what
    return seen


def _answered(seen: Counter[str]) -> int:
    return sum(times for what, times in seen.items() if what.isdigit())


async def _one_round(
    subject: Subject, clients: int, number: signal.Signals | None
) -> tuple[Counter[str], int]:
    seen: Counter[str] = Counter()
    busy = [asyncio.create_task(_busy(subject, seen)) for _ in range(clients)]
    await asyncio.sleep(BUSY_BEFORE_SECONDS)
    if number is None:
        for _ in range(2):
            with contextlib.suppress(OSError):
                seen[await asyncio.to_thread(_shutdown, subject)] += 1
    else:
        subject.process.send_signal(number)
    await asyncio.gather(*busy)
    return seen, await asyncio.to_thread(subject.process.wait, WITHIN_SECONDS)


def _shutdown(subject: Subject) -> str:
    return str(subject.request("POST", "/shutdown", headers={"Authorization": f"Bearer {TOKEN}"}).status)


async def _busy(subject: Subject, seen: Counter[str]) -> None:
    """Asks until nobody listens.

    A connection that was reset before its first answer may never have left the kernel's line: whether its
    request was read, the service knows. One that has had an answer was accepted, and its request must be
    answered.
    """
    connection = Connection(subject.port)
    while True:
        try:
            status, _ = await connection.ask(REQUEST)
            seen[str(status)] += 1
        except Lost as error:
            reset = isinstance(error.__cause__, ConnectionResetError) and not connection.used
            seen[RESET if reset else LOST] += 1
        except (OSError, socket.gaierror):
            seen[REFUSED] += 1
            return
