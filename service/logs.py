"""What the process says, said by a thread of its own: a log that nobody reads must not stop the service.

A pipe whose reader is stuck takes 64 KB and then blocks whoever writes; a closed one, or a full disk, fails.
Here lines wait in a bounded queue for the one thread that may block, and are dropped when it is full.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import suppress
from queue import Full, Queue

MAX_WAITING = 1000
FLUSH_SECONDS = 1.0

# These tell of every malformed request; the answer and the metrics do that.
_OF_CALLERS = ("python_multipart", "PIL")
_UVICORN_OF_CALLERS = "Invalid HTTP request received."


class Output:
    """Writes to file descriptors and never blocks, raises, or keeps the process from its end."""

    def __init__(self) -> None:
        self._lines: Queue[tuple[int, bytes]] = Queue(MAX_WAITING)
        threading.Thread(target=self._run, name="output", daemon=True).start()

    def say(self, text: str, descriptor: int = 1) -> None:
        """Queue the line, or drop it."""
        with suppress(Full):
            self._lines.put_nowait((descriptor, f"{text}\n".encode(errors="backslashreplace")))

    def flush(self) -> None:
        """Wait for what is queued, for a moment."""
        with self._lines.all_tasks_done:  # Queue.join, with an end
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, FLUSH_SECONDS)

    def _run(self) -> None:
        while True:
            descriptor, data = self._lines.get()
            with suppress(OSError):
                while data:
                    data = data[os.write(descriptor, data) :]
            self._lines.task_done()


class LogHandler(logging.Handler):
    """Log records to standard error, through an `Output`."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._output.say(self.format(record), descriptor=2)
        except Exception:  # a record that cannot be formatted is no reason to stop
            self.handleError(record)


def configure(output: Output, level: str) -> None:
    """Everything that logs or warns in this process goes through `output`."""
    logging.basicConfig(handlers=[LogHandler(output)], force=True)
    logging.captureWarnings(True)
    logging.getLogger("rotulo").setLevel(level.upper())
    for name in _OF_CALLERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(_is_not_of_callers)


def _is_not_of_callers(record: logging.LogRecord) -> bool:
    return record.msg != _UVICORN_OF_CALLERS
