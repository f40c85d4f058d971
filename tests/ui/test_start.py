"""`python -m ui` as an operator sees it: flags, signals, exit codes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ui.together import run_together

ROOT = Path(__file__).parent.parent.parent
ENDED_SECONDS = 60
LISTENING = re.compile(r"http://127\.0\.0\.1:(\d+)(?:/docs|\n)")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ui(*flags: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ui", *flags],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def listening(*flags: str, ports: set[int], **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it listens on all of these."""
    process = ui(*flags, **variables)
    assert process.stdout is not None
    printed = ""
    try:
        while not ports <= {int(port) for port in LISTENING.findall(printed)}:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=ENDED_SECONDS)


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_and_its_service_start_and_end_together(number: signal.Signals) -> None:
    page, service = free_port(), free_port()
    # The service refuses variables that it does not know; the page's must not reach it.
    variables = {"ROTULO_API_KEY": "a-key-for-the-page", "ROTULO_URL": "http://127.0.0.1:1"}
    flags = ("--port", str(page), "--with-service", str(service))
    with listening(*flags, ports={page, service}, **variables) as process:
        with urllib.request.urlopen(f"http://127.0.0.1:{service}/readyz") as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/") as answer:
            assert b"<html" in answer.read()
        process.send_signal(number)
        assert process.wait(ENDED_SECONDS) == 0
    assert not is_open(page)
    assert not is_open(service)


def test_a_service_that_cannot_start_ends_the_page_too() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with ui("--port", str(free_port()), "--with-service", str(taken.getsockname()[1])) as process:
            printed, _ = process.communicate(timeout=ENDED_SECONDS)
    assert process.returncode == 2
    assert "cannot listen" in printed


def test_a_page_of_its_own_ends_at_a_signal_and_frees_its_port() -> None:
    page = free_port()
    with listening("--port", str(page), ports={page}) as process:
        # Streamlit says its address just before it minds signals; once it answers, it does.
        urllib.request.urlopen(f"http://127.0.0.1:{page}/").close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDED_SECONDS) == 0
    assert not is_open(page)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--url", "nowhere"), "ROTULO_URL"),
        (("--url", "http://127.0.0.1:1", "--with-service", "1"), "--with-service"),
    ],
)
def test_an_unfit_setting_stops_the_start_with_one_line(flags: tuple[str, ...], word: str) -> None:
    with ui(*flags) as process:
        printed, _ = process.communicate(timeout=ENDED_SECONDS)
    assert process.returncode == 2
    assert word in printed
    assert len(printed.splitlines()) == 1


def test_the_first_to_end_gives_the_exit_code_and_takes_the_others_with_it() -> None:
    ends, stays = [sys.executable, "-c", "raise SystemExit(7)"], ["sleep", "1000"]
    assert asyncio.run(run_together([stays, ends], [os.environ, os.environ])) == 7
