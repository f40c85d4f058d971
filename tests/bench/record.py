"""`python -m tests.bench.record`: the service with and without the record, in turn. Markdown.

Both servers run for the whole time, and the one that is not asked does nothing. The model is the one whose
network costs least, so that what surrounds it shows most; with `--shipped`, `cifar10` as it is shipped.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtest import bodies
from loadtest.bodies import Body
from loadtest.described import get
from loadtest.images import load_images
from loadtest.scrape import by_label, parse
from loadtest.serving import serving
from models import catalog
from tests.bench import closed_loop
from tests.bench.closed_loop import Answers
from tests.bench.over_http import CONNECTIONS, PATIENT
from tests.bench.subjects import Subject, subjects

SHIPPED = Subject("cifar10", catalog.SHIPPED_MODELS, "cifar10", load_images())


def main(arguments: Sequence[str]) -> None:
    """A line for each pair of measurements."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.record", description=__doc__)
    parser.add_argument("--url", help="of the record's database; an SQLite file where none is given")
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shipped", action="store_true", help="the shipped cifar10")
    options = parser.parse_args(arguments)
    print("| connections | off requests/s | on requests/s | on/off | off p99 ms | on p99 ms | rows | lost |")
    print("|" + "---:|" * 8, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        subject = SHIPPED if options.shipped else next(subjects(scratch))
        url = options.url or f"sqlite:///{scratch / 'predictions.db'}"
        with both(subject, scratch, url) as (off, on):
            for connections in CONNECTIONS:
                for _ in range(options.repeats):
                    print(line(off, on, subject, connections, options.seconds), flush=True)


@contextlib.contextmanager
def both(subject: Subject, scratch: Path, url: str) -> Iterator[tuple[str, str]]:
    """The URLs of the service without the record and with it."""
    flags = ["--models-dir", str(subject.models_dir), *PATIENT]
    with (
        serving(scratch / "off.log", flags) as off,
        serving(scratch / "on.log", [*flags, "--record-url", url]) as on,
    ):
        yield off.url, on.url


def line(off: str, on: str, subject: Subject, connections: int, seconds: int) -> str:
    """One measurement of each. `rows`: written meanwhile; `lost`: dropped."""
    sent = [bodies.raw(image) for image in subject.images]
    without = measured(f"{off}/v1/models/{subject.model}/predict", sent, connections, seconds)
    before = rows(on)
    with_it = measured(f"{on}/v1/models/{subject.model}/predict", sent, connections, seconds)
    written, dropped = (now - then for now, then in zip(rows(on), before, strict=True))
    rates = [answers.answered / answers.seconds for answers in (without, with_it)]
    return (
        f"| {connections} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[1] / rates[0]:.3f} "
        f"| {without.p99_ms:.2f} | {with_it.p99_ms:.2f} | {written:.0f} | {dropped:.0f} |"
    )


def measured(url: str, sent: Sequence[Body], connections: int, seconds: int) -> Answers:
    """After a second to warm up."""
    closed_loop.run(url, sent, connections, 1)
    return closed_loop.run(url, sent, connections, seconds)


def rows(url: str) -> tuple[float, float]:
    """Written and dropped so far."""
    outcomes = by_label(parse(get(f"{url}/metrics")), "rotulo_record_rows_total", "outcome")
    return outcomes.get("written", 0.0), outcomes.get("dropped", 0.0)


if __name__ == "__main__":
    main(sys.argv[1:])
