"""The best weights of a run -> an artifact with its calibration, its figures, its report and its card."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from models import artifact, catalog
from models.artifact import Artifact, Weights
from models.errors import BadArtifact
from models.images import Preprocessing
from models.manifest import Calibration, Manifest, ModelSpec
from train import calibrate, checkpoint, evaluate, golden, loop, report
from train.evaluate import Answers
from train.state import State

CARD, REPORT = "card.md", "report.html"


@dataclass(frozen=True)
class Publication:
    """Where the artifact goes, what it is called, and the precision its sure answers are to have."""

    name: str
    models_dir: Path
    target_precision: float


def publish(
    setting: loop.Setting, state: State, training: dict[str, Any], wanted: Publication, resumed: bool
) -> Path:
    """Save `models_dir/name/N/` with the next free N, its card and a golden sample, after the run's report;
    a run that is resumed at its end finds what it published.

    Everything is measured on the weights as stored: rounded, saved, loaded again, run in the torch engine
    in fp32. Calibration sees the validation images alone; the test images are looked at once, after it.
    """
    weights = to_numpy(checkpoint.load(setting.directory / loop.BEST))
    spec = _spec(setting, training, wanted)
    stored = _as_stored(spec, weights)
    if resumed and (published := _published(stored.manifest, wanted)):
        return published
    validation = evaluate.answer(stored, setting.images.take(setting.splits.val))
    calibration = calibrate.fit(validation.logits, validation.images.labels, wanted.target_precision)
    test = evaluate.answer(stored, setting.images.take(setting.splits.test))
    metrics = figures(validation, test, calibration) | {"target_precision": wanted.target_precision}
    spec = spec.model_copy(update={"calibration": calibration, "metrics": metrics})
    page = report.page(report.Story(spec, state.history, test))
    (setting.directory / REPORT).write_text(page, encoding="utf-8")
    sample = golden.choose(validation, golden.predictor_of(stored, calibration))
    return _save(wanted.models_dir, spec, weights, sample)


def to_numpy(weights: dict[str, torch.Tensor]) -> Weights:
    """A state dict as arrays in plain (not channels-last) order."""
    return {
        name: value.float().contiguous().numpy() if value.is_floating_point() else value.numpy()
        for name, value in weights.items()
    }


def dtype_for(weights: Weights) -> Literal["float16", "float32"]:
    """float16, half the size, unless a weight is beyond its range: a batch norm forgives a kernel any."""
    largest = max(float(np.abs(value).max()) for value in weights.values() if value.dtype.kind == "f")
    return "float16" if largest <= float(np.finfo(np.float16).max) else "float32"


def next_version(models_dir: Path, name: str) -> str:
    """One more than the newest version of `name`; the first is 1."""
    return str(max((int(version) for version in catalog.find(models_dir).get(name, ())), default=0) + 1)


def _spec(setting: loop.Setting, training: dict[str, Any], wanted: Publication) -> ModelSpec:
    recipe = setting.recipe
    return ModelSpec(
        name=wanted.name,
        version=next_version(wanted.models_dir, wanted.name),
        network=recipe.network,
        classes=setting.images.classes,
        preprocessing=Preprocessing(size=recipe.size_px, resize=recipe.resize),
        normalisation=setting.normalisation,
        training=training,
    )


def _as_stored(spec: ModelSpec, weights: Weights) -> Artifact:
    """What a service would load."""
    with tempfile.TemporaryDirectory() as scratch:
        return artifact.load(artifact.save(Path(scratch), spec, weights, dtype_for(weights)))


def _published(manifest: Manifest, wanted: Publication) -> Path | None:
    """The version that has these weights from this training, whatever else was on its command line."""
    for version in catalog.find(wanted.models_dir).get(wanted.name, ()):
        directory = wanted.models_dir / wanted.name / version
        with suppress(BadArtifact):  # another version's damage is no matter of this one's
            there = artifact.load_manifest(directory)
            alike = there.weights == manifest.weights and _record(there) == _record(manifest)
            if alike and there.metrics.get("target_precision") == wanted.target_precision:
                return directory
    return None


def _record(manifest: Manifest) -> dict[str, Any]:
    return {key: value for key, value in manifest.training.items() if key != "command"}


def _save(models_dir: Path, spec: ModelSpec, weights: Weights, sample: bytes) -> Path:
    """Whole from the moment it can be seen: made in a hidden directory beside the other versions."""
    versions = models_dir / spec.name
    versions.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{spec.version}-", dir=versions) as hidden:
        made = artifact.save(Path(hidden), spec, weights, dtype_for(weights))
        golden.add(made, sample)
        (made / CARD).write_text(report.card(spec), encoding="utf-8")
        return artifact.move(made, models_dir)


def figures(validation: Answers, test: Answers, calibration: Calibration) -> dict[str, Any]:
    """Before calibration and after, the threshold the same: only confidences move."""
    before = calibrate.UNCALIBRATED.model_copy(update={"uncertain_below": calibration.uncertain_below})
    return {
        "validation": evaluate.summary(validation, calibration),
        "test": evaluate.summary(test, calibration),
        "test_before_calibration": evaluate.summary(test, before),
    }
