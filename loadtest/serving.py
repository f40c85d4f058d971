"""The server under load: one that runs already, or one of our own, stopped as an operator would."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.api_key import API_KEY
from loadtest.described import get
from loadtest.errors import NoServer
from loadtest.progress import say

ADMIN_TOKEN = "ROTULO_ADMIN_TOKEN"  # noqa: S105 (the name of a setting of the service)
SERVICE = (sys.executable, "-m", "service")
START_TIMEOUT_SECONDS = 180.0
STOP_TIMEOUT_SECONDS = 60.0


@dataclass(slots=True)
class Served:
    """Where the server is; ``process`` is None where it was there before us."""

    url: str
    process: subprocess.Popen[bytes] | None = None
    admin_token: str = field(default="", repr=False)

    def begin_stop(self) -> None:
        """SIGTERM: finish what was accepted, then end."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int | None:
        """Waits for the end, and kills what does not end (-9); None where the server is not ours."""
        if not self.process:
            return None
        try:
            return self.process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextlib.contextmanager
def reached(
    url: str | None, log: Path, flags: Sequence[str], command: Sequence[str] = SERVICE, admin_token: str = ""
) -> Iterator[Served]:
    """The server at ``url``; where there is none, one of our own as `serving` starts it."""
    if url:
        yield Served(url, admin_token=admin_token)
        return
    say(f"starting {shlex.join(command)}")
    with serving(log, flags, command) as served:
        yield served


@contextlib.contextmanager
def serving(log: Path, arguments: Sequence[str] = (), command: Sequence[str] = SERVICE) -> Iterator[Served]:
    """`python -m service` until the context ends; raises NoServer, naming the log, if it does not start.

    Another ``command`` must take `--port` and the same ``arguments``, and answer the same routes.
    """
    port, token = _free_port(), os.environ.get(ADMIN_TOKEN) or secrets.token_urlsafe(32)
    line = [*command, "--port", str(port), *arguments]
    environment = {**os.environ, ADMIN_TOKEN: token}
    environment.pop(API_KEY, None)  # the callers': the service refuses variables that it does not know
    with (
        log.open("wb") as output,
        subprocess.Popen(line, stdout=output, stderr=output, env=environment) as process,
    ):
        served = Served(f"http://127.0.0.1:{port}", process, token)
        try:
            _wait_until_ready(served, log)
            yield served
        finally:
            if process.poll() is None:
                served.begin_stop()
            served.exit_code()


def _wait_until_ready(served: Served, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if served.process and served.process.poll() is not None:
            break
        with contextlib.suppress(NoServer):
            get(f"{served.url}/readyz")
            return
        time.sleep(0.1)
    raise NoServer(f"the service did not start: see {log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
