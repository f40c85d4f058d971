"""The end of a process whose work is done, that has nobody to wait for, or nothing more to hope for."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

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


def end(code: int) -> NoReturn:
    """End the process whose work is done, without taking the interpreter down first.

    Under that, a thread still inside an engine, at a version whose load was given up, aborts the process or
    reads memory that is gone: 134 or 139 in place of the exit code.
    """
    logging.shutdown()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: closed before the start
        with suppress(OSError):
            stream.flush()
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
    """For the time before anything can be accepted: a signal that stops a service ends it at once, with 0.

    Explicitly, because a container's first process ignores a SIGTERM that it has no handler for. SIGHUP stays
    ignored where somebody (nohup, say) has asked for that.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, leave_at_signal)


def leave_at_signal(number: int, _: FrameType | None) -> None:
    """A signal's handler."""
    leave(0, f"stopped by {signal.Signals(number).name} before it was ready")
