"""Engines that misbehave on purpose, and one that can be held."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from models.engines.protocol import Engine, Logits
from models.images import Pixels, Preprocessing
from models.manifest import Manifest, ModelSpec, WeightsFile
from models.predictor import Predictor
from tests.conftest import CLASSES, spec


class PixelEngine(Engine):
    """Logits that spell the first pixel of an image, so that every image has an answer of its own."""

    name = "test"

    def logits(self, pixels: Pixels) -> Logits:
        logits = np.zeros((len(pixels), len(CLASSES)), np.float32)
        logits[:, :3] = pixels[:, 0, 0].astype(np.float32) / 128
        return logits


class HeldEngine(PixelEngine):
    """Holds every batch until `release` is set, and notes the sizes; warm-up runs free."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.release.set()
        self.sizes: list[int] = []

    def logits(self, pixels: Pixels) -> Logits:
        self.sizes.append(len(pixels))
        if not self.release.wait(60):
            raise TimeoutError("nobody released the engine")
        return super().logits(pixels)

    def hold(self) -> None:
        self.release.clear()
        self.sizes.clear()


class FaultyEngine(PixelEngine):
    """Does `fault` to the logits of every batch once it is set."""

    def __init__(self) -> None:
        self.fault: Callable[[Logits], Logits] | None = None

    def logits(self, pixels: Pixels) -> Logits:
        logits = super().logits(pixels)
        return self.fault(logits) if self.fault else logits


def predictor_on(engine: PixelEngine, described: ModelSpec | None = None) -> Predictor:
    """A predictor over a test engine: 8-pixel images, so that decoding is nothing."""
    described = described or spec()
    manifest = Manifest(
        **{**dict(described), "preprocessing": Preprocessing(size=8, resize="stretch")},
        weights=WeightsFile(dtype="float32", sha256="0" * 64),
    )
    return Predictor(manifest, engine)
