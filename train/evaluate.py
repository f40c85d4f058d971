"""`python -m train evaluate`: a model on a set of images, through the service's preprocessing and one of its
engines.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from models import artifact, loader
from models.artifact import Artifact
from models.catalog import locate
from models.engines.choice import Wish
from models.engines.protocol import Engine, Logits
from models.engines.torch_engine import TorchEngine
from models.manifest import Calibration
from models.predictor import softmax
from train import data, metrics, splits
from train.data import Images
from train.errors import DataError
from train.flags import add_cache, add_model
from train.sheet import Tile, contact_sheet
from train.sources import open_source
from train.splits import Indices

Precision = Literal["fp32", "bf16", "int8"]
BATCH = 64
ALL = "all images"


@dataclass(frozen=True)
class Answers:
    """Logits float32 (n, classes) of the images they belong to."""

    images: Images
    logits: Logits


def main(arguments: Sequence[str]) -> None:
    """Print the figures of a model."""
    parser = argparse.ArgumentParser(prog="python -m train evaluate")
    add_model(parser)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder or zip by class; its test side if any"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "int8"),
        default="fp32",
        help="fp32: the stored weights (default); int8, bf16: the export that is served",
    )
    parser.add_argument("--all-are", metavar="CLASS", help="of every image, whatever its folder says")
    parser.add_argument("--mistakes", type=Path, metavar="FILE.png", help="draw every wrong answer there")
    add_cache(parser)
    given = parser.parse_args(arguments)
    model = find_artifact(given.model, given.models_dir)
    figures = evaluate(model, given.data, given.cache, given.precision, given.all_are, given.mistakes)
    if figures["measured"] == ALL:
        warn_of_flattery(model)
    if given.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:20} {value:.4f}" if isinstance(value, float) else f"{name:20} {value}")


def warn_of_flattery(model: Artifact) -> None:
    """Where a model that records a split was measured on all images: say so, on standard error."""
    if splits.recorded_test(model.manifest.training):
        print(
            f"warning: all these images are measured, not the test side that {model.manifest.name}/"
            f"{model.manifest.version} records: if it was trained on some of them, the figures flatter it",
            file=sys.stderr,
        )


def find_artifact(model: str, models_dir: Path) -> Artifact:
    """A model by name in `models_dir`, or by the path of its version's directory."""
    path = Path(model)  # a folder of images may have a model's name
    return artifact.load(path if (path / artifact.MANIFEST_FILE).is_file() else locate(models_dir, model))


def evaluate(
    model: Artifact,
    source_path: Path,
    cache: Path,
    precision: Precision = "fp32",
    all_are: str | None = None,
    sheet_path: Path | None = None,
) -> dict[str, Any]:
    """Figures of `model` on the test side of `source_path`; `measured` says what that was.

    Without a test folder that is the test side which the model's own training drew from the same images;
    of other images without sides, ALL. `precision` is that of the stored weights, or of an export, which has
    a calibration of its own. `all_are` is the class of every image, whatever its folder says;
    every mistake is drawn to `sheet_path`. Raises DataError for a class that is not one of the model's,
    BadArtifact or EngineUnavailable for a precision that it does not have, or not here.
    """
    engine, calibration = _engine_of(model, precision)
    images, rejected = data.load(open_source(source_path), model.manifest.preprocessing, cache)
    data.warn_of(rejected)
    measured, images = _test_side(model, images)
    if all_are is not None:
        images = replace(images, classes=(all_are,), labels=np.zeros_like(images.labels))
    answers = run(engine, in_classes_of(model, images))
    if sheet_path:
        contact_sheet(mistakes(answers, calibration)).save(sheet_path, "PNG")
    name = f"{model.manifest.name}/{model.manifest.version}"
    figures = summary(answers, calibration) | separation(answers, calibration)
    return {"model": name, "engine": engine.name, "measured": measured, **figures, "rejected": len(rejected)}


def separation(answers: Answers, calibration: Calibration) -> dict[str, Any]:
    """How well confidence tells right from wrong: for `evaluate`, beside what the card states."""
    labels, classes = answers.images.labels, answers.images.classes
    probabilities = softmax(answers.logits, calibration)
    confidences, correct = metrics.confidence_and_correct(probabilities, labels)
    return {
        "wrong": int((~correct).sum()),
        "accuracy_at_95_coverage": metrics.at_coverage(confidences, correct, 0.95),
        "auroc_right_from_wrong": metrics.auroc(confidences, correct),
        "confusion": metrics.confusion(probabilities.argmax(axis=1), labels, len(classes)).tolist(),
    }


def mistakes(answers: Answers, calibration: Calibration) -> list[Tile]:
    """Every wrong answer with its picture, the surest first."""
    images, classes = answers.images, answers.images.classes
    probabilities = softmax(answers.logits, calibration)
    given, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(given != images.labels)
    return [
        Tile(
            Image.fromarray(np.asarray(images.pixels[i])),
            f"{images.paths[i]}\n{classes[images.labels[i]]}, said {classes[given[i]]} {confidences[i]:.3f}",
        )
        for i in wrong[np.argsort(-confidences[wrong], kind="stable")]
    ]


def answer(model: Artifact, images: Images) -> Answers:
    """The stored weights' answers, in fp32."""
    return run(_stored(model), images)


def _stored(model: Artifact) -> Engine:
    return TorchEngine(model, threads=torch.get_num_threads())


def _engine_of(model: Artifact, precision: Precision) -> tuple[Engine, Calibration]:
    if precision == "fp32":
        return _stored(model), model.manifest.calibration
    served = loader.load(model.directory, Wish(precision=precision), torch.get_num_threads())
    return served.engine, served.calibration


def run(engine: Engine, images: Images) -> Answers:
    """Run the network on every image, in one of the service's engines."""
    parts = [engine.logits(np.array(images.pixels[at : at + BATCH])) for at in range(0, len(images), BATCH)]
    return Answers(images, np.concatenate(parts))


def summary(answers: Answers, calibration: Calibration) -> dict[str, Any]:
    """Everything that the card states, for one set of images under one calibration."""
    labels = answers.images.labels
    probabilities = softmax(answers.logits, calibration)
    confidences, correct = metrics.confidence_and_correct(probabilities, labels)
    return {
        "images": len(labels),
        "accuracy": float(correct.mean()),
        "ece": metrics.ece(confidences, correct),
        "nll": metrics.nll(answers.logits, labels, calibration),
        **metrics.at_threshold(confidences, correct, calibration.uncertain_below),
        "per_class_accuracy": {
            name: float(correct[labels == number].mean())
            for number, name in enumerate(answers.images.classes)
            if (labels == number).any()
        },
    }


def _test_side(model: Artifact, images: Images) -> tuple[str, Images]:
    """What is to be measured, in words, and its images."""
    chosen = [i for i, side in enumerate(images.sides) if side == "test"]
    if chosen:
        return "the test folder", images.take(np.array(chosen, np.int64))
    try:
        return "the recorded test side", images.take(splits.reproduce(images, model.manifest.training).test)
    except DataError:  # other images, or some of them are others
        return ALL, images


def in_classes_of(model: Artifact, images: Images) -> Images:
    """The same images with their labels counted in the model's order of classes."""
    classes = model.manifest.classes
    unknown = [name for name in images.classes if name not in classes]
    if unknown:
        raise DataError(f"the model has no class {unknown[0]!r}; it has {', '.join(classes)}")
    number: Indices = np.array([classes.index(name) for name in images.classes], np.int64)
    return replace(images, classes=classes, labels=number[images.labels])
