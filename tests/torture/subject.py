"""The process under torture: started, measured, asked, stopped."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.live import Response, send

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ROOT / "loadtest" / "samples"
TOKEN = "a-token-for-the-torture"
MODEL = "cifar10"
NATIVE = f"/v1/models/{MODEL}/predict"
FLASK = "/predict"
V2 = f"/v2/models/{MODEL}/infer"
PROBES = ("/healthz", "/readyz")

START_SECONDS = 180.0
_PR_SET_THP_DISABLE = 41  # from Linux's linux/prctl.h
SERVICE = (sys.executable, "-m", "service")


@dataclass
class Subject:
    """A running server, ours or one that is bad on purpose, on 127.0.0.1."""

    process: subprocess.Popen[str]
    port: int = 0
    lines: list[str] = field(default_factory=list)  # all that it has printed

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> Response:
        """One request on a connection of its own."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as one:
            return send(one, method, path, body, headers)

    def classify(self, image: bytes, timeout: float = 60) -> Response:
        return self.request("POST", NATIVE, image, timeout=timeout)

    def cpu_seconds(self) -> float:
        """User and system, of all threads, so far."""
        return float(sum(psutil.Process(self.process.pid).cpu_times()[:2]))

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 60) -> int:
        """The exit code after a signal; raises TimeoutExpired."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


@contextlib.contextmanager
def started(
    *flags: str,
    command: Sequence[str] = SERVICE,
    in_child: Callable[[], None] | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Subject]:
    """A server that listens; killed at the end if it still runs. What it prints is read as it comes."""

    def prepare() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the torture may run under nohup
        _take_no_huge_pages()
        if in_child:
            in_child()

    arguments = [*command, "--port", "0", *flags]
    process = subprocess.Popen(
        arguments,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=prepare,
        env={**_clean(os.environ), "ROTULO_ADMIN_TOKEN": TOKEN, **(environment or {})},
    )
    subject = Subject(process)
    listening = threading.Event()
    reader = threading.Thread(target=_read, args=(subject, listening), daemon=True)
    reader.start()
    try:
        if not listening.wait(START_SECONDS) or not subject.port:
            raise RuntimeError(f"the server did not start:\n{subject.log}")
        yield subject
    finally:
        process.kill()
        process.wait()
        reader.join(10)


def _take_no_huge_pages() -> None:
    """The kernel merges pages into huge ones, some each minute: 100 MB more, in which a leak would hide."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def _clean(environment: Any) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("ROTULO_")}


def _read(subject: Subject, listening: threading.Event) -> None:
    if subject.process.stdout is None:
        raise RuntimeError("stdout is piped")
    for line in subject.process.stdout:
        subject.lines.append(line)
        if not subject.port and (found := re.search(r"https?://127.0.0.1:(\d+)/docs", line)):
            subject.port = int(found[1])
            listening.set()
    listening.set()  # it has ended


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Looks ten times a second."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
