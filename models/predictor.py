"""The two halves of a prediction: `inspect` and `decode` per image, `predict` per batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import images
from models.engines.protocol import Engine, Logits
from models.errors import BadOutput
from models.images import Encoded, Pixels
from models.manifest import Calibration, Manifest

# Up to here numpy's sort is slower than Python's; and it lets go of the interpreter lock, which costs the
# event loop more than the sorting while the engine's thread waits for it.
FEW_CLASSES = 32


@dataclass(frozen=True, slots=True)
class Prediction:
    """One image's answer. `probabilities` is float32 (classes,), calibrated, summing to 1."""

    index: int
    confidence: float
    uncertain: bool
    probabilities: NDArray[np.float32]

    def top(self, count: int) -> list[tuple[int, float]]:
        """Index and probability of the `count` likeliest classes, likeliest first."""
        if len(self.probabilities) > FEW_CLASSES:
            likeliest = (-self.probabilities).argsort(kind="stable")[:count]
            return list(zip(likeliest.tolist(), self.probabilities[likeliest].tolist(), strict=True))
        values: list[float] = self.probabilities.tolist()
        ranking = sorted(range(len(values)), key=values.__getitem__, reverse=True)
        return [(index, values[index]) for index in ranking[:count]]


class Predictor:
    """A model ready to answer: its manifest, its engine and the preprocessing that belongs to them.

    `calibration` is the engine's own; the manifest's is that of the stored weights in fp32.
    `engine_reason` says why this engine was chosen.
    """

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        calibration: Calibration | None = None,
        max_pixels: int = images.DEFAULT_MAX_PIXELS,
        engine_reason: str = "asked for",
    ) -> None:
        self.manifest = manifest
        self.engine = engine
        self.calibration = calibration or manifest.calibration
        self.engine_reason = engine_reason
        self._max_pixels = max_pixels

    def inspect(self, data: bytes) -> Encoded:
        """Read the header alone; raises ImageError for what will not be decoded."""
        return images.inspect(data, self._max_pixels)

    def decode(self, image: Encoded) -> Pixels:
        """What `inspect` returned -> uint8 (size, size, 3); raises ImageError. A bad image fails alone."""
        return images.decode(image, self.manifest.preprocessing)

    def predict(self, batch: Sequence[Pixels]) -> list[Prediction | BadOutput]:
        """Answers in the order of `batch`; an image whose logits are not finite gets a BadOutput."""
        return self._predictions(self.engine.logits(np.stack(batch)))

    def _predictions(self, logits: Logits) -> list[Prediction | BadOutput]:
        calibration = self.calibration
        probabilities = softmax(logits, calibration)
        indices = probabilities.argmax(axis=1)
        confidences = probabilities[np.arange(len(indices)), indices]
        return [
            Prediction(index, confidence, confidence < calibration.uncertain_below, row)
            if np.isfinite(confidence)
            else BadOutput("the network's output is not finite")
            for index, confidence, row in zip(
                indices.tolist(), confidences.tolist(), probabilities, strict=True
            )
        ]


def softmax(logits: Logits, calibration: Calibration) -> NDArray[np.float32]:
    """Calibrated probabilities by row, (n, classes) float32; NaN where a logit is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        margins = (logits.max(axis=1, keepdims=True) - logits) / calibration.temperature
        if calibration.exponent != 1.0:
            margins **= calibration.exponent
        exponentials = np.exp(-margins, dtype=np.float32)
        probabilities: NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities
