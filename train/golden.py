"""`python -m train golden`: the golden sample of a model, an image and what every precision answers to it.

`models.golden` checks it at load.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models import artifact, golden, images
from models.artifact import Artifact
from models.engines import openvino_graph
from models.engines.openvino_engine import OpenVinoEngine, capabilities
from models.engines.torch_engine import TorchEngine
from models.images import Pixels
from models.manifest import Calibration, Export, Golden, Probabilities
from models.predictor import Predictor, softmax
from train.evaluate import Answers, find_artifact
from train.flags import add_model
from train.metrics import confidence_and_correct


def main(arguments: Sequence[str]) -> None:
    """Give a model another golden sample."""
    parser = argparse.ArgumentParser(
        prog="python -m train golden",
        description="Give a model an image, and its answers to it as of now, to be checked at each load.",
    )
    add_model(parser)
    parser.add_argument("--image", type=Path, required=True, help="JPEG, PNG or WebP")
    given = parser.parse_args(arguments)
    model = find_artifact(given.model, given.models_dir)
    add(model.directory, given.image.read_bytes())
    print(model.directory)


def add(directory: Path, image: bytes) -> None:
    """Put an encoded image beside the weights as a PNG at the network's size, with what the stored weights
    and each export answer to it here; raises ImageError.

    An export that this processor has no instructions for stays without an answer: it is not checked.
    """
    model = artifact.load(directory)
    sample = png(images.prepare(image, model.manifest.preprocessing))
    stored = golden.answer(Predictor(model.manifest, TorchEngine(model, threads=_threads())), sample)
    exports = tuple(
        export.model_copy(update={"golden": _answer_of(model, export, sample)})
        for export in model.manifest.exports
    )
    artifact.set_golden(
        directory, Golden(sha256=artifact.sha256(sample), probabilities=stored), sample, exports
    )


def sample_of(model: Artifact) -> bytes | None:
    """The model's own golden image, if it has one; raises BadArtifact."""
    own = model.manifest.golden
    return artifact.read_checked(model.directory / own.file, own.sha256) if own else None


def choose(answers: Answers, calibration: Calibration) -> bytes:
    """Of the images answered right, the one of median confidence: neither a tie nor beyond doubt."""
    probabilities = softmax(answers.logits, calibration.temperature)
    confidences, correct = confidence_and_correct(probabilities, answers.images.labels)
    candidates = np.flatnonzero(correct) if correct.any() else np.arange(len(correct))
    by_confidence = candidates[np.argsort(confidences[candidates], kind="stable")]
    return png(answers.images.pixels[by_confidence[len(by_confidence) // 2]])


def png(pixels: Pixels) -> bytes:
    """uint8 RGB (height, width, 3), without loss."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def _answer_of(model: Artifact, export: Export, sample: bytes) -> Probabilities | None:
    if export.precision not in capabilities():
        return None
    engine = OpenVinoEngine(openvino_graph.read(model, export), export.precision, _threads())
    return golden.answer(Predictor(model.manifest, engine, export.calibration), sample)


def _threads() -> int:
    return torch.get_num_threads()
