"""`python -m train export`: a model made ready for OpenVINO at a lower precision: quantised, measured,
calibrated, written beside it.

Each side of the recorded split has one use: training images give the scales; validation images the accuracy,
the calibration and so the decision to serve it; test images are only reported on.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import openvino as ov
import torch

from models import artifact
from models.artifact import Artifact
from models.engines import openvino_graph
from models.engines.openvino_core import core
from models.engines.openvino_engine import OpenVinoEngine, capabilities
from models.errors import EngineUnavailable
from models.manifest import Export, ExportPrecision, ResNet18
from train import calibrate, data, evaluate, golden, quantize, splits
from train.data import Images
from train.errors import DataError
from train.flags import add_cache, add_model
from train.sources import open_source
from train.splits import Splits


@dataclass(frozen=True)
class Made:
    """A graph, the files that hold it (none where the weights do), and how it came about."""

    graph: ov.Model
    files: dict[str, bytes] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> None:
    """Export, and print what it costs."""
    parser = argparse.ArgumentParser(prog="python -m train export")
    add_model(parser)
    parser.add_argument("--data", type=Path, required=True, help="what the model was trained on")
    parser.add_argument("--precision", choices=("int8", "bf16"), default="int8")
    add_cache(parser)
    given = parser.parse_args(arguments)
    model = evaluate.find_artifact(given.model, given.models_dir)
    made = export(model, given.precision, given.data, given.cache)
    for name in ("accuracy", "accuracy_loss", "ece"):
        print(f"{name:20} {getattr(made, name):.4f}")
    print(f"{'test accuracy':20} {made.metrics['test']['accuracy']:.4f}\n{model.directory}")


def export(model: Artifact, precision: ExportPrecision, source: Path, cache: Path) -> Export:
    """Put an export at `precision` into the directory of `model`, in place of an earlier one, and its answer
    to the golden sample; a model without one gets it from the validation images.

    `source` holds the images that the model was trained on. Raises DataError where they do not give the split
    that the model records, RunError without NNCF, EngineUnavailable where this CPU lacks the precision.
    """
    _check_possible(precision)
    images, rejected = data.load(open_source(source), model.manifest.preprocessing, cache)
    data.warn_of(rejected)
    sides = recorded_split(model, images)
    made = _int8(model, images, sides) if precision == "int8" else Made(openvino_graph.build(model))
    engine = OpenVinoEngine(made.graph, precision, torch.get_num_threads())
    measured = Export(
        engine="openvino",
        precision=precision,
        files={name: artifact.sha256(content) for name, content in made.files.items()},
        **measured_of(model, engine, images, sides, made.provenance),
    )
    artifact.add_export(model.directory, measured, made.files)
    golden.add(model.directory, golden.sample_of(model) or _sample(model, images.take(sides.val)))
    return measured


def _sample(model: Artifact, validation: Images) -> bytes:
    return golden.choose(evaluate.answer(model, validation), golden.predictor_of(model))


def _check_possible(precision: ExportPrecision) -> None:
    if precision == "int8":
        quantize.require_nncf()
    if precision not in capabilities():  # OpenVINO would run, and we measure, another precision
        raise EngineUnavailable(f"this processor has no {precision} instructions to measure with")


def recorded_split(model: Artifact, images: Images) -> Splits:
    """The sides of its training; raises DataError where these are not the images that the model records."""
    if images.classes != model.manifest.classes:
        raise DataError(f"the images' classes are not the model's, {', '.join(model.manifest.classes)}")
    return splits.reproduce(images, model.manifest.training)


def _int8(model: Artifact, images: Images, sides: Splits) -> Made:
    chosen = quantize.sample(sides.train)
    # It costs a ResNet little, and a small network, which never whitens, a sixth of its speed.
    first_in_floats = isinstance(model.manifest.network, ResNet18)
    quantised = quantize.to_int8(openvino_graph.build(model), images.pixels[chosen], first_in_floats)
    files = serialised(quantised, "openvino-int8")
    graph = core().read_model(*files.values())  # what is measured is what will be read
    provenance = {"nncf": version("nncf"), "scales_from_images": len(chosen), "seed": quantize.SEED}
    return Made(graph, files, provenance)


def serialised(graph: ov.Model, name: str) -> dict[str, bytes]:
    """The two files of a graph by name, the .xml first."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = [Path(scratch) / f"{name}{suffix}" for suffix in (".xml", ".bin")]
        ov.serialize(graph, *paths)
        return {path.name: path.read_bytes() for path in paths}


def measured_of(
    model: Artifact, engine: OpenVinoEngine, images: Images, sides: Splits, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Those fields of an `Export` that say what `engine` answers, its calibration among them.

    Calibrated on the validation images, for the precision that the model's own threshold was set for.
    """
    validation = evaluate.run(engine, images.take(sides.val))
    target = model.manifest.metrics["target_precision"]
    calibration = calibrate.fit(validation.logits, validation.images.labels, target)
    figures = evaluate.summary(validation, calibration)
    stored = evaluate.summary(evaluate.answer(model, validation.images), model.manifest.calibration)
    test = evaluate.summary(evaluate.run(engine, images.take(sides.test)), calibration)
    return {
        "calibration": calibration,
        "accuracy": figures["accuracy"],
        "accuracy_loss": round(stored["accuracy"] - figures["accuracy"], 6),
        "ece": figures["ece"],
        "metrics": {"validation": figures, "test": test, "openvino": version("openvino"), **provenance},
    }
