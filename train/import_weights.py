"""Somebody's torchvision ResNet-18 state dict -> an artifact the service can load."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from models import artifact
from models.images import Preprocessing
from models.manifest import ModelSpec, Network, Normalisation
from train.errors import RunError
from train.initial import read_state_dict
from train.network import check_fits
from train.publish import next_version, to_numpy


def import_weights(
    weights: Path,
    name: str,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    stem: Literal["3x3", "stock"],
    normalisation: Normalisation,
    models_dir: Path,
) -> Path:
    """Save `models_dir/name/N/`, uncalibrated; raises RunError when the weights do not fit.

    Kept in float32, so that the imported network answers as it did.
    """
    state = read_state_dict(weights)
    if (found := len(state.get("fc.bias", ()))) != len(classes):
        raise RunError(f"{weights}: made for {found} classes, and --classes names {len(classes)}")
    check_fits(state, len(classes), stem)
    spec = ModelSpec(
        name=name,
        version=next_version(models_dir, name),
        network=Network(stem=stem),
        classes=classes,
        preprocessing=preprocessing,
        normalisation=normalisation,
        training={"imported": weights.name},
    )
    return artifact.save(models_dir, spec, to_numpy(state), dtype="float32")
