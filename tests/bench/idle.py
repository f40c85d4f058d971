"""`python -m tests.bench.idle`: what the service adds to its bare predictor when nobody else asks. Markdown.

Both are asked for one image at a time, in turn and at the same pace, since a processor that dozes in between
is slower. The caller is a blocking socket: an event loop of its own would be slow after each pause, too.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from loadtest import traffic
from loadtest.connection import Response
from loadtest.images import EncodedImage, load_images
from loadtest.measuring import address
from loadtest.messages import Message
from loadtest.serving import serving
from loadtest.traffic import Target
from models import catalog, loader
from models.engines.choice import Wish
from models.images import prepare
from models.predictor import Predictor
from service.process.cpus import available_cpus

RATE = 10.0


def main(arguments: Sequence[str]) -> None:
    """The two in turn, so that they see the same machine."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.idle", description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=catalog.SHIPPED_MODELS)
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--images", type=Path, help="folder or zip; the bundled samples if left out")
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    images = load_images(options.images)
    predictor = loader.load(catalog.locate(options.models_dir, options.model), Wish(), available_cpus())
    print("| bare p50 ms | native route p50 ms | added ms |\n|---:|---:|---:|", flush=True)
    with caller(options.models_dir, options.model, images) as ask:
        for _ in range(options.repeats):
            bare, served = _p50s_ms(predictor, ask, images, round(RATE * options.seconds))
            print(f"| {bare:.2f} | {served:.2f} | {served - bare:.2f} |", flush=True)


@contextmanager
def caller(models_dir: Path, model: str, images: Sequence[EncodedImage]) -> Iterator[Callable[[], None]]:
    """A function that asks a service of its own for the next image, over HTTP."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        serving(Path(scratch, "service.log"), ["--models-dir", str(models_dir)]) as served,
        socket.create_connection(address(served.url)) as connection,
    ):
        messages = cycle(traffic.native(Target(*address(served.url), model, images)))
        yield lambda: _ask(connection, next(messages))


def _ask(connection: socket.socket, message: Message) -> None:
    connection.sendall(message.data)
    response = Response()
    while not response.complete:
        response.feed(connection.recv(65536))
    if response.status != 200:
        raise SystemExit(f"status {response.status}")


def _p50s_ms(
    predictor: Predictor, ask: Callable[[], None], images: Sequence[EncodedImage], count: int
) -> tuple[float, float]:
    """Of the predictor, from the encoded image to the answer, and of the route."""
    bare, served = [], []
    for image in islice(cycle(images), count):
        bare.append(_after_a_pause(partial(predict, predictor, image.data)))
        served.append(_after_a_pause(ask))
    return _p50_ms(bare), _p50_ms(served)


def predict(predictor: Predictor, data: bytes) -> None:
    """Without a queue or HTTP."""
    predictor.predict([prepare(data, predictor.manifest.preprocessing)])


def _after_a_pause(work: Callable[[], None]) -> float:
    """Seconds."""
    time.sleep(1 / RATE)
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def _p50_ms(seconds: Sequence[float]) -> float:
    return float(np.median(seconds)) * 1000


if __name__ == "__main__":
    main(sys.argv[1:])
