"""One measurement: a load is sent to a server that is watched meanwhile; a line tells how it goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from loadtest import analysis
from loadtest.analysis import Rows, Summary
from loadtest.answers import Outcome
from loadtest.disturbances import Event
from loadtest.errors import NoServer
from loadtest.loads import Load
from loadtest.measured import Measured
from loadtest.open_loop import OnSecond, send
from loadtest.scrape import Watched, watching


@dataclass(frozen=True, slots=True)
class Repeat:
    """One measurement of a whole load."""

    rows: Rows
    faults: dict[str, int]
    watched: Watched
    summary: Summary
    events: Sequence[Event] = ()


def measure(
    url: str, load: Load, target_seconds: float, also: Callable[[float], object] | None = None
) -> Repeat:
    """Send it all; ``also(elapsed)`` is called about once a second. Raises NoServer."""
    progress = Progress(load.seconds, target_seconds)

    def on_second(elapsed: float, measured: Measured) -> None:
        progress(elapsed, measured)
        if also:
            also(elapsed)

    with watching(url) as watched:
        measured = sent(url, load, on_second)
    progress.end()
    rows = analysis.rows(measured)
    summary = analysis.summarise(rows, load.seconds, target_seconds)
    return Repeat(rows, dict(measured.faults), watched, summary)


def sent(url: str, load: Load, on_second: OnSecond | None = None) -> Measured:
    """Send it all, and nobody watches; raises NoServer."""
    host, port = address(url)
    try:
        return send(host, port, load.schedule, load.pick, on_second=on_second)
    except OSError as error:
        raise NoServer(f"{url}: {error}") from error


def address(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


class Progress:
    """A line that tells how it goes, once a second; on a terminal it overwrites itself."""

    def __init__(self, seconds: float, target_seconds: float) -> None:
        self._seconds = seconds
        self._target_seconds = target_seconds
        self._seen = 0
        self._at = 0.0

    def __call__(self, elapsed: float, measured: Measured) -> None:
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

    def _on_time(self, measured: Measured, index: int) -> bool:
        response = measured.ended[index] - measured.scheduled[index]
        return measured.outcomes[index] == Outcome.ANSWERED and response <= self._target_seconds


def say(line: str) -> None:
    """To whoever watches; results go to stdout."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
