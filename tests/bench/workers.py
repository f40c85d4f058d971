"""`python -m tests.bench.workers`: one, two and four workers on this machine, as a table in Markdown.

Each count is measured in turn, and the turns repeated, so that all see the same machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from loadtest import bodies
from loadtest.images import load_images
from loadtest.serving import serving
from models import catalog
from tests.bench import closed_loop
from tests.bench.__main__ import header
from tests.bench.over_http import PATIENT, Target, cells

_COLUMNS = ("requests/s", "p50 ms", "p99 ms", "not 200", "mean batch", "memory MB")


def main(arguments: Sequence[str]) -> None:
    """Print every line as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.workers", description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=catalog.SHIPPED_MODELS)
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    print("\n".join(header(options.seconds)))
    print(f"- {options.model} of {options.models_dir}, {options.connections} connections\n")
    print(f"| turn | workers |{''.join(f' {name} |' for name in _COLUMNS)}", flush=True)
    print("|---:|---:|" + "---:|" * len(_COLUMNS), flush=True)
    for line in turns(options):
        print(line, flush=True)


def turns(options: argparse.Namespace) -> Iterator[str]:
    """One line for each count of workers in each turn."""
    sent = [bodies.raw(image) for image in load_images()]
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(1, options.repeats + 1):
            for workers in options.workers:
                flags = ["--models-dir", str(options.models_dir), "--workers", str(workers), *PATIENT]
                with serving(Path(scratch, "service.log"), flags) as served:
                    process = psutil.Process(served.process.pid if served.process else None)
                    path = f"/v1/models/{options.model}/predict"
                    target = Target(f"{workers} workers", served.url, path, sent, process)
                    yield f"| {turn} | {workers} |{_measured(target, options)}"


def _measured(target: Target, options: argparse.Namespace) -> str:
    closed_loop.run(target.url + target.path, target.sent, options.connections, 1)
    before = target.batches()
    answers = closed_loop.run(target.url + target.path, target.sent, options.connections, options.seconds)
    images, batches = (after - was for after, was in zip(target.batches(), before, strict=True))
    return cells(answers, images, batches) + f" {_resident_bytes(target.process) / 1e6:.0f} |"


def _resident_bytes(process: psutil.Process) -> float:
    """Of the process and its workers, what they share counted in each."""
    return float(sum(each.memory_info().rss for each in (process, *process.children(recursive=True))))


if __name__ == "__main__":
    main(sys.argv[1:])
