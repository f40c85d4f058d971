"""The end of a process that has nobody to wait for, or nothing more to hope for."""

from __future__ import annotations

import os
import signal
from types import FrameType

_name = "rotulo"

HANGING = 70  # EX_SOFTWARE of sysexits.h: an internal error


def leave_as(worker: int) -> None:
    """Say which of several this was."""
    global _name
    _name = f"rotulo: worker {worker}"


def leave(code: int, why: str) -> None:
    """Say why in one line and end the process now, whatever its threads are at."""
    os.write(2, f"{_name}: {why}\n".encode())  # print must not be entered again from a signal's handler
    os._exit(code)


def leave_at_signals() -> None:
    """For the time before anything can be accepted: SIGTERM and Ctrl-C end the process at once, with 0.

    Explicitly, because a container's first process ignores a SIGTERM that it has no handler for.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave_at_signal)


def leave_at_signal(number: int, _: FrameType | None) -> None:
    """A signal's handler."""
    leave(0, f"stopped by {signal.Signals(number).name} before it was ready")
