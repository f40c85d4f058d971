"""`python -m tests.bench`: two tables in Markdown, the engines alone and the service over HTTP."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from models.engines.openvino_engine import capabilities
from service.process.cpus import available_cpus
from tests.bench import closed_loop, engines, over_http
from tests.bench.subjects import subjects

PACKAGES = ("openvino", "torch", "uvicorn", "httptools", "uvloop", "pillow")
ROOT = Path(__file__).parent.parent.parent


def main(arguments: Sequence[str]) -> None:
    """Print every line as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    seconds = parser.parse_args(arguments).seconds
    print("\n".join(header(seconds)), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        found = list(subjects(Path(scratch)))
        for line in engines.table(found, seconds):
            print(line, flush=True)
        for line in over_http.table(found, seconds, Path(scratch) / "service.log"):
            print(line, flush=True)


def header(seconds: int) -> list[str]:
    """The machine, the versions, the commit, and how the load is made."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return [
        f"- {_processor()}, {available_cpus()} CPUs, {', '.join(sorted(capabilities()))}; "
        f"load average at the start {os.getloadavg()[0]:.1f}",
        f"- commit {_commit()}, Python {platform.python_version()}, {packages}",
        f"- closed loop by {closed_loop.GENERATOR}, on the same CPUs; "
        f"{seconds} s a line after 1 s to warm up; images in rotation, no answer cached",
    ]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), "processor unknown"
    )


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main(sys.argv[1:])
