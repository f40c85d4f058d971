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
from train import metrics
from train.data import Labels
from train.evaluate import Answers, find_artifact
from train.flags import add_model
from train.splits import Indices

ASKED_AGAIN = 63  # odd, so that the median of these is the median of all where no picture changes


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
    add(model.directory, png(images.prepare(given.image.read_bytes(), model.manifest.preprocessing)))
    print(model.directory)


def add(directory: Path, sample: bytes) -> None:
    """Put a PNG beside the weights, with what the stored weights and each export answer to it here."""
    answers, exports = answers_to(sample, artifact.load(directory))
    artifact.set_golden(directory, answers, sample, exports)


def answers_to(sample: bytes, model: Artifact) -> tuple[Golden, tuple[Export, ...]]:
    """The golden sample, and the model's exports with their answers.

    An export that this processor has no instructions for keeps its answer to the same sample; to another one
    it has none, and is not checked.
    """
    before, digest = model.manifest.golden, artifact.sha256(sample)
    same = before is not None and before.sha256 == digest
    exports = tuple(
        export.model_copy(update={"golden": _answer_of(model, export, sample)})
        if export.precision in capabilities()
        else export.model_copy(update={"golden": export.golden if same else None})
        for export in model.manifest.exports
    )
    return Golden(sha256=digest, probabilities=golden.answer(predictor_of(model), sample)), exports


def sample_of(model: Artifact) -> bytes | None:
    """The model's own golden image, if it has one; raises BadArtifact."""
    own = model.manifest.golden
    return artifact.read_checked(model.directory / own.file, own.sha256) if own else None


def predictor_of(model: Artifact, calibration: Calibration | None = None) -> Predictor:
    """The stored weights in fp32, with the model's own calibration or another."""
    return Predictor(model.manifest, TorchEngine(model, threads=_threads()), calibration)


def choose(answers: Answers, predictor: Predictor) -> bytes:
    """Of the images answered right, as a PNG, the one of median confidence: neither a tie nor beyond doubt.

    A load prepares what is prepared already, so that a crop is cropped again: those about the median are
    asked once more, as a load will ask, and the choice is among these answers.
    """
    pixels, labels = answers.images.pixels, answers.images.labels
    about = _by_confidence(softmax(answers.logits, predictor.calibration), labels)
    about = about[max(len(about) // 2 - ASKED_AGAIN // 2, 0) :][:ASKED_AGAIN]
    samples = [png(pixels[i]) for i in about]
    again = np.array([golden.answer(predictor, sample) for sample in samples], np.float32)
    chosen = _by_confidence(again, labels[about])
    return samples[int(chosen[len(chosen) // 2])]


def _by_confidence(probabilities: metrics.Probabilities, labels: Labels) -> Indices:
    """The images answered right, or all where none is, the least sure first."""
    confidences, correct = metrics.confidence_and_correct(probabilities, labels)
    candidates = np.flatnonzero(correct) if correct.any() else np.arange(len(correct))
    return candidates[np.argsort(confidences[candidates], kind="stable")]


def png(pixels: Pixels) -> bytes:
    """uint8 RGB (height, width, 3), without loss."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def _answer_of(model: Artifact, export: Export, sample: bytes) -> Probabilities:
    engine = OpenVinoEngine(openvino_graph.read(model, export), export.precision, _threads())
    return golden.answer(Predictor(model.manifest, engine, export.calibration), sample)


def _threads() -> int:
    return torch.get_num_threads()
