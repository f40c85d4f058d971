"""The golden sample: one image that travels with the weights, and the answers that were measured on it.

Checksums hold the files to what was published. This holds the whole way from an encoded image to calibrated
probabilities to what it was then: preprocessing, engine, precision, this processor.
"""

from __future__ import annotations

import numpy as np

from models import images
from models.artifact import Artifact, read_checked
from models.engines.choice import Choice, Precision
from models.errors import BadArtifact, ImageError
from models.manifest import Manifest, Probabilities
from models.predictor import Prediction, Predictor

# Largest difference in any class's probability. Kernels and processors round differently, the more so the
# fewer bits they have; another network, scale or order of channels differs by far more.
TOLERANCE: dict[Precision, float] = {"fp32": 0.005, "fp16": 0.02, "bf16": 0.05, "int8": 0.05}

_DIGITS = 6


def check(model: Artifact, choice: Choice, predictor: Predictor) -> bool:
    """Compare the answer with the one measured at publication, for the engine and precision chosen.

    False where the model has none to compare with. Raises BadArtifact in one line when the label differs, or
    a probability by more than TOLERANCE.
    """
    golden, expected = model.manifest.golden, _expected(model.manifest, choice)
    if golden is None or expected is None:
        return False
    path = model.directory / golden.file
    data = read_checked(path, golden.sha256)
    try:
        answered = answer(predictor, data)
    except ImageError as error:
        raise BadArtifact(f"{path}: {error}") from error
    if not _same(answered, expected, TOLERANCE[choice.precision]):
        classes, engine = model.manifest.classes, predictor.engine.name
        raise BadArtifact(
            f"{path}: {engine} answers {_said(answered, classes)}, not {_said(expected, classes)}"
        )
    return True


def answer(predictor: Predictor, data: bytes) -> Probabilities:
    """Calibrated probabilities of one encoded image, rounded; NaN where the output is not finite.

    Raises ImageError.
    """
    pixels = images.prepare(data, predictor.manifest.preprocessing)  # whatever the operator's limit on pixels
    (prediction,) = predictor.predict([pixels])
    if not isinstance(prediction, Prediction):
        return (float("nan"),) * len(predictor.manifest.classes)
    return tuple(round(float(value), _DIGITS) for value in prediction.probabilities)


def _expected(manifest: Manifest, choice: Choice) -> Probabilities | None:
    if choice.export is not None:
        return choice.export.golden
    return manifest.golden.probabilities if manifest.golden else None


def _same(answered: Probabilities, expected: Probabilities, tolerance: float) -> bool:
    if len(answered) != len(expected) or np.argmax(answered) != np.argmax(expected):
        return False
    return bool(np.abs(np.subtract(answered, expected)).max() <= tolerance)  # False for NaN


def _said(probabilities: Probabilities, classes: tuple[str, ...]) -> str:
    """`'cat' with 0.9731`."""
    best = int(np.argmax(probabilities))
    label = classes[best] if best < len(classes) else best
    return f"{label!r} with {probabilities[best]:.4f}"
