"""What the process says, said by a thread of its own: a log that nobody reads must not stop the service.

A pipe whose reader is stuck takes 64 KB and then blocks whoever writes; a closed one, or a full disk, fails.
Here lines wait in a bounded queue for the one thread that may block, and are dropped when it is full.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from contextlib import suppress
from datetime import UTC, datetime
from queue import Full, Queue
from typing import Any

MAX_WAITING = 1000
FLUSH_SECONDS = 1.0

# It tells of every malformed image; the answer and the metrics do that.
_OF_CALLERS = "PIL"
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


class TextFormatter(logging.Formatter):
    """A line for people: nothing in a message can end it, begin another, or move the cursor.

    A traceback follows in lines that are indented.
    """

    def __init__(self, worker: int | None = None) -> None:
        who = "" if worker is None else f"worker {worker}: "
        super().__init__(f"%(levelname)s: {who}%(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return _printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {_printable(line)}" for line in lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII, so that no line can be forged: time, level, logger, message.

    Also `worker`, the number, where there are several; `request_id` where the record is about one request;
    and `exception` with its traceback.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._worker is not None:
            said["worker"] = self._worker
        if (request_id := getattr(record, "request_id", None)) is not None:
            said["request_id"] = request_id
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said)


FORMATTERS: dict[str, type[TextFormatter | JsonFormatter]] = {"text": TextFormatter, "json": JsonFormatter}


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )


class LogHandler(logging.Handler):
    """Log records to standard error, through an `Output`."""

    def __init__(self, output: Output, formatter: logging.Formatter) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._output.say(self.format(record), descriptor=2)
        except Exception:  # a record that cannot be formatted is no reason to stop
            self.handleError(record)

    def flush(self) -> None:
        """As `Output.flush`; at the end of the process, `logging` asks for it."""
        self._output.flush()


def configure(level: str, log_format: str, worker: int | None = None) -> Output:
    """Everything that logs or warns in this process goes through one output, as `text` or as `json`.

    `worker`: its number, on every line, where there are several.
    """
    output = Output()
    logging.basicConfig(handlers=[LogHandler(output, FORMATTERS[log_format](worker))], force=True)
    logging.captureWarnings(True)
    logging.getLogger("rotulo").setLevel(level.upper())
    logging.getLogger(_OF_CALLERS).setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(_is_not_of_callers)
    return output


def announce(text: str) -> None:
    """A record at level `info`, shown at any level: it may hold the only sight of the admin token."""
    logger = logging.getLogger("rotulo")
    logger.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, text, (), None))


def _is_not_of_callers(record: logging.LogRecord) -> bool:
    return record.msg != _UVICORN_OF_CALLERS
