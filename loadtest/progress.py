"""How a load goes, told on stderr; results go to stdout."""

from __future__ import annotations

import sys
import time

from loadtest.analysis import InTime, limit
from loadtest.answers import Outcome
from loadtest.request_log import RequestLog


class Progress:
    """A line that tells how it goes, once a second; on a terminal it overwrites itself."""

    def __init__(self, seconds: float, in_time: InTime) -> None:
        self._seconds = seconds
        self._in_time = in_time
        self._seen = 0
        self._at = 0.0

    def __call__(self, elapsed: float, measured: RequestLog) -> None:
        new = range(self._seen, len(measured))
        on_time = sum(self._on_time(measured, index) for index in new)
        errors = sum(measured.faults.values())
        line = (
            f"{elapsed:5.0f} of {self._seconds:.0f} s   {len(measured):,} done   "
            f"{on_time / max(elapsed - self._at, 1e-9):,.0f}/s in time   {errors:,} errors"
        )
        self._seen, self._at = len(measured), elapsed
        if sys.stderr.isatty():
            print(f"\r{line:79}", end="", file=sys.stderr, flush=True)
        elif round(elapsed) % 10 == 0:
            say(line)

    def end(self) -> None:
        """Leave the line."""
        if sys.stderr.isatty():
            print(file=sys.stderr)

    def _on_time(self, measured: RequestLog, index: int) -> bool:
        response = measured.ended[index] - measured.scheduled[index]
        within = response <= limit(self._in_time, measured.kinds[index])
        return within and measured.outcomes[index] == Outcome.ANSWERED


def say(line: str) -> None:
    """A line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
