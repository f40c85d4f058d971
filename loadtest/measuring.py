"""One measurement: a load is sent to a server that is watched meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from loadtest import analysis
from loadtest.analysis import InTime, Rows, Summary
from loadtest.disturbances import Event
from loadtest.errors import BadOptions, NoServer
from loadtest.loads import Load
from loadtest.open_loop import OnSecond, send
from loadtest.progress import Progress
from loadtest.request_log import RequestLog
from loadtest.scrape import Watched, watching


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement of a whole load."""

    rows: Rows
    faults: dict[str, int]
    watched: Watched
    summary: Summary
    events: Sequence[Event] = ()


def measure(
    url: str, load: Load, in_time: InTime, also: Callable[[float], object] | None = None
) -> Measurement:
    """Send it all; ``also(elapsed)`` is called about once a second. Raises NoServer."""
    progress = Progress(load.seconds, in_time)

    def on_second(elapsed: float, measured: RequestLog) -> None:
        progress(elapsed, measured)
        if also:
            also(elapsed)

    with watching(url) as watched:
        measured = sent(url, load, on_second)
    progress.end()
    rows = analysis.rows(measured)
    summary = analysis.summarise(rows, load.seconds, in_time)
    return Measurement(rows, dict(measured.faults), watched, summary)


def sent(url: str, load: Load, on_second: OnSecond | None = None) -> RequestLog:
    """Send it all, and nobody watches; raises NoServer."""
    host, port = address(url)
    try:
        return send(host, port, load.schedule, load.pick, on_second=on_second)
    except OSError as error:
        raise NoServer(f"{url}: {error}") from error


def base_url(text: str) -> str:
    """A `--url`, without a slash at its end; raises BadOptions for more, or less, than host and port."""
    match = re.fullmatch(r"(http://(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::(\d{1,5}))?)/?", text, re.ASCII)
    if not match or not 0 < int(match[2] or 80) < 2**16:
        raise BadOptions(f"--url {text}: not http://HOST or http://HOST:PORT")
    return match[1]


def address(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80
