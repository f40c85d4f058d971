"""`python -m train recalibrate`: the confidences of a model that is there, fitted anew."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from models import artifact
from models.artifact import Artifact
from models.engines import openvino_graph
from models.engines.openvino_engine import OpenVinoEngine, capabilities
from models.manifest import Export, Manifest
from train import calibrate, data, evaluate, golden, publish, report
from train.data import Images
from train.export import measured_of, recorded_split
from train.flags import add_cache, add_model
from train.sources import open_source
from train.splits import Splits


def main(arguments: Sequence[str]) -> None:
    """Recalibrate, and print the expected calibration errors on the test images."""
    parser = argparse.ArgumentParser(
        prog="python -m train recalibrate",
        description="Fit the calibration of a model and its exports anew, on its own validation images: "
        "where it was published by an earlier version, whose method was another.",
    )
    add_model(parser)
    parser.add_argument("--data", type=Path, required=True, help="what the model was trained on")
    add_cache(parser)
    given = parser.parse_args(arguments)
    model = evaluate.find_artifact(given.model, given.models_dir)
    after = recalibrate(model, given.data, given.cache)
    print(f"{'fp32':8} test ece {after.metrics['test']['ece']:.4f}")
    for export in after.exports:
        measured = f"test ece {export.metrics['test']['ece']:.4f}"
        print(f"{export.precision:8} {measured if _runs_here(export) else 'not measured on this processor'}")
    print(model.directory)


def recalibrate(model: Artifact, source: Path, cache: Path) -> Manifest:
    """Fit, measure, and put it into `model.json` and the card; the weights and the exports' files stay.

    An export at a precision that this processor lacks keeps what it has. `source` holds the images that the
    model was trained on; raises DataError where they do not give the split that the model records,
    BadArtifact where the model was changed meanwhile.
    """
    images, rejected = data.load(open_source(source), model.manifest.preprocessing, cache)
    data.warn_of(rejected)
    sides = recorded_split(model, images)
    target = model.manifest.metrics["target_precision"]
    validation = evaluate.answer(model, images.take(sides.val))
    calibration = calibrate.fit(validation.logits, validation.images.labels, target)
    test = evaluate.answer(model, images.take(sides.test))
    figures = publish.figures(validation, test, calibration) | {"target_precision": target}
    exports = tuple(_again(model, export, images, sides) for export in model.manifest.exports)
    told = {"calibration": calibration, "metrics": figures, "exports": exports}
    after = _with_golden_answers(replace(model, manifest=model.manifest.model_copy(update=told)))
    artifact.replace_manifest(model.directory, model.manifest, after)
    (model.directory / publish.CARD).write_text(report.card(after), encoding="utf-8")
    return after


def _with_golden_answers(model: Artifact) -> Manifest:
    """To the sample that it has, if it has one."""
    sample = golden.sample_of(model)
    if sample is None:
        return model.manifest
    answers, exports = golden.answers_to(sample, model)
    return model.manifest.model_copy(update={"golden": answers, "exports": exports})


def _runs_here(export: Export) -> bool:
    return export.precision in capabilities()


def _again(model: Artifact, export: Export, images: Images, sides: Splits) -> Export:
    if not _runs_here(export):
        return export
    graph = openvino_graph.read(model, export)
    engine = OpenVinoEngine(graph, export.precision, torch.get_num_threads())
    provenance = {k: v for k, v in export.metrics.items() if k not in ("validation", "test", "openvino")}
    return export.model_copy(update=measured_of(model, engine, images, sides, provenance))
