"""The network alone: no HTTP, no decoding, no queue."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from models import artifact, loader
from models.engines.choice import Wish
from models.engines.protocol import Engine
from service.process.cpus import available_cpus
from tests.bench.subjects import Subject

BATCHES = (1, 8, 32)


def table(subjects: Sequence[Subject], seconds: float) -> Iterator[str]:
    """Lines of Markdown: images per second by batch size."""
    yield f"\n| model, images/s | engine |{''.join(f' batch {size} |' for size in BATCHES)}"
    yield "|---|---|" + "---:|" * len(BATCHES)
    for subject in subjects:
        side = artifact.load_manifest(subject.directory).preprocessing.size
        for engine in _engines(subject):
            rates = [images_per_second(engine, size, side, seconds) for size in BATCHES]
            yield f"| {subject.title} | {engine.name} |{''.join(f' {rate:,.0f} |' for rate in rates)}"


def images_per_second(engine: Engine, batch: int, side: int, seconds: float) -> float:
    """One batch of `side` x `side` images after the other."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
    for _ in range(3):
        engine.logits(pixels)
    images, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        engine.logits(pixels)
        images += batch
    return images / elapsed


def _engines(subject: Subject) -> Iterator[Engine]:
    """fp32 on both engines, and whatever the model has exports for."""
    exports = artifact.load_manifest(subject.directory).exports
    wishes = [Wish(engine="torch"), Wish(precision="fp32")]
    wishes += [Wish(precision=export.precision) for export in exports]
    for wish in wishes:
        yield loader.load(subject.directory, wish, available_cpus()).engine
