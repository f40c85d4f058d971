"""The end of a process that has nobody to wait for, or nothing more to hope for."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

_name = "rotulo"

HANGING = 70  # EX_SOFTWARE of sysexits.h: an internal error


def leave_as(worker: int) -> None:
    """Say which of several this was."""
    global _name
    _name = f"rotulo: worker {worker}"


def leave(code: int, why: str) -> None:
    """Say why in one line, if anybody reads, and end the process now, whatever its threads are at."""
    with suppress(OSError):
        _write(f"{_name}: {why}\n".encode())
    os._exit(code)


def _write(line: bytes) -> None:
    """To standard error, or BlockingIOError; print must not be entered again from a signal's handler."""
    blocking = os.get_blocking(2)
    os.set_blocking(2, False)
    try:
        os.write(2, line)
    finally:
        os.set_blocking(2, blocking)  # it is shared with the supervisor, or with a shell


def leave_at_signals() -> None:
    """For the time before anything can be accepted: SIGTERM and Ctrl-C end the process at once, with 0.

    Explicitly, because a container's first process ignores a SIGTERM that it has no handler for.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave_at_signal)


def leave_at_signal(number: int, _: FrameType | None) -> None:
    """A signal's handler."""
    leave(0, f"stopped by {signal.Signals(number).name} before it was ready")
