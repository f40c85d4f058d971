"""`python -m tests.bench.idle`: what the service adds to its bare predictor when nobody else asks. Markdown.

Both are asked for one image at a time at the same pace, since a processor that dozes in between is slower.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loadtest import loads, traffic
from loadtest.images import EncodedImage, load_images
from loadtest.measuring import address, sent
from loadtest.schedules import Arrivals, Phase
from loadtest.serving import serving
from loadtest.traffic import Target
from models import catalog, loader
from models.engines.choice import Wish
from models.images import prepare
from service.process.cpus import available_cpus

RATE = 10.0


def main(arguments: Sequence[str]) -> None:
    """The two in turn, so that they see the same machine."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.idle", description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=catalog.SHIPPED_MODELS)
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    images = load_images()
    print("| bare p50 ms | native route p50 ms | added ms |\n|---:|---:|---:|", flush=True)
    for _ in range(options.repeats):
        bare = _p50_ms(predictor_seconds(options.models_dir, options.model, images, options.seconds))
        served = _p50_ms(route_seconds(options.models_dir, options.model, images, options.seconds))
        print(f"| {bare:.2f} | {served:.2f} | {served - bare:.2f} |", flush=True)


def predictor_seconds(
    models_dir: Path, model: str, images: Sequence[EncodedImage], seconds: float
) -> list[float]:
    """From the encoded image to the answer, without a queue or HTTP."""
    predictor = loader.load(catalog.locate(models_dir, model), Wish(), available_cpus())
    taken = []
    started = time.perf_counter()
    for index in range(round(RATE * seconds)):
        time.sleep(max(0.0, started + index / RATE - time.perf_counter()))
        before = time.perf_counter()
        predictor.predict([prepare(images[index % len(images)].data, predictor.manifest.preprocessing)])
        taken.append(time.perf_counter() - before)
    return taken


def route_seconds(
    models_dir: Path, model: str, images: Sequence[EncodedImage], seconds: float
) -> list[float]:
    """The same images over HTTP."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        serving(Path(scratch, "service.log"), ["--models-dir", str(models_dir)]) as served,
    ):
        messages = traffic.native(Target(*address(served.url), model, images))
        load = loads.of_phases(messages, [Phase("idle", RATE, seconds)], Arrivals.UNIFORM)
        measured = sent(served.url, load)
    return (np.array(measured.ended) - np.array(measured.sent)).tolist()  # type: ignore[no-any-return]


def _p50_ms(seconds: Sequence[float]) -> float:
    return float(np.median(seconds)) * 1000


if __name__ == "__main__":
    main(sys.argv[1:])
