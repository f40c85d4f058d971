"""`python -m tests.bench.against_resnet18 DIR`: a model's images per second as a multiple of a ResNet-18's.

Both on the same engine at the model's input size, in turn, medians of three; the ResNet-18 is the stock one
with random weights.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from models import artifact, loader
from models.engines.choice import Wish
from models.engines.protocol import Engine
from service.process.cpus import available_cpus
from tests.bench.engines import BATCHES, images_per_second
from tests.bench.subjects import random_model

SECONDS = 1.5


def lines(directory: Path, resnet18: Path) -> Iterator[str]:
    """A table in Markdown."""
    side = artifact.load_manifest(directory).preprocessing.size
    yield "| engine | batch | images/s | ResNet-18 | times |"
    yield "|---|---:|---:|---:|---:|"
    for wish in (Wish(engine="torch"), Wish(precision="fp32"), Wish(precision="int8")):
        engines = [loader.load(each, wish, available_cpus()).engine for each in (directory, resnet18)]
        for batch in BATCHES:
            mine, its = (median(rates) for rates in zip(*_in_turn(engines, batch, side), strict=True))
            yield f"| {engines[0].name} | {batch} | {mine:,.0f} | {its:,.0f} | {mine / its:.1f} |"


def _in_turn(engines: list[Engine], batch: int, side: int) -> list[list[float]]:
    return [[images_per_second(engine, batch, side, SECONDS) for engine in engines] for _ in range(3)]


def main(directory: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        side = artifact.load_manifest(directory).preprocessing.size
        models_dir = random_model(Path(scratch), side, "resnet18")
        for line in lines(directory, models_dir / "resnet18" / "1"):
            print(line, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
