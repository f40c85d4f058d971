"""`python -m train import`: somebody's torchvision ResNet-18 state dict -> a model the service can load."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from models import artifact
from models.images import Preprocessing
from models.manifest import ModelSpec, Normalisation, ResNet18
from train.errors import RunError
from train.flags import add_models_dir
from train.initial import IMAGENET, read_state_dict
from train.network import check_fits
from train.publish import next_version, to_numpy


def main(arguments: Sequence[str]) -> None:
    """Import, and print where the model is."""
    parser = argparse.ArgumentParser(prog="python -m train import")
    parser.add_argument("--weights", type=Path, required=True, help="a torchvision ResNet-18 state dict")
    parser.add_argument("--name", required=True)
    parser.add_argument("--classes", nargs="+", required=True, help="in the order of the network's outputs")
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--stem", choices=("3x3", "stock"), required=True)
    parser.add_argument("--resize", choices=("stretch", "crop"), required=True)
    parser.add_argument("--mean", type=float, nargs=3, default=IMAGENET.mean)
    parser.add_argument("--std", type=float, nargs=3, default=IMAGENET.std)
    add_models_dir(parser)
    given = parser.parse_args(arguments)
    directory = import_weights(
        given.weights,
        given.name,
        tuple(given.classes),
        Preprocessing(size=given.image_size, resize=given.resize),
        given.stem,
        Normalisation(mean=tuple(given.mean), std=tuple(given.std)),
        given.models_dir,
    )
    print(directory)


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
    if (found := state.get("fc.bias", torch.empty(0)).numel()) != len(classes):
        raise RunError(f"{weights}: made for {found} classes, and --classes names {len(classes)}")
    check_fits(state, len(classes), stem)
    spec = ModelSpec(
        name=name,
        version=next_version(models_dir, name),
        network=ResNet18(stem=stem),
        classes=classes,
        preprocessing=preprocessing,
        normalisation=normalisation,
        training={"imported": weights.name},
    )
    return artifact.save(models_dir, spec, to_numpy(state), dtype="float32")
