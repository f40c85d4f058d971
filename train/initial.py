"""Weights to start from: an artifact, a torchvision state dict, or ImageNet's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from models.errors import RotuloModelError
from models.manifest import Network, Normalisation, ResNet18
from train.errors import RunError
from train.evaluate import find_artifact
from train.recipe import Recipe, at_size
from train.splits import recorded_test

IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
IMAGENET_SIZE_PX = 224
STOCK = ResNet18(stem="stock")


@dataclass(frozen=True)
class Initial:
    """Weights and what must stay the same for them to mean anything.

    `classes` and `recorded_test`, the hash of the test side, are those they were trained with, if known.
    """

    description: str
    weights: dict[str, Tensor]
    network: Network
    size_px: int
    resize: Literal["stretch", "crop"]
    normalisation: Normalisation
    classes: tuple[str, ...] = ()
    recorded_test: str | None = None

    def flatters(self, classes: tuple[str, ...], test_sha256: str) -> bool:
        """Whether a run may test on what it was trained on: it kept other images of such classes back."""
        return self.recorded_test not in (None, test_sha256) and not set(classes).isdisjoint(self.classes)

    def adapt(self, recipe: Recipe) -> Recipe:
        """The recipe at the size, network, resize and normalisation of the weights."""
        kept = {"network": self.network, "resize": self.resize, "normalisation": self.normalisation}
        return at_size(recipe, self.size_px, **kept)


def load(init: str, models_dir: Path) -> Initial:
    """`imagenet` (torchvision's download), a `.pth` of torchvision's ResNet-18, or an artifact.

    Raises RunError in one line where there is nothing of the kind.
    """
    if init == "imagenet":
        return _imagenet()
    path = Path(init)
    if path.is_file():
        return Initial(path.name, read_state_dict(path), STOCK, IMAGENET_SIZE_PX, "crop", IMAGENET)
    return _artifact(init, models_dir)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """A state dict alone: `weights_only` runs no code from the file. Raises RunError."""
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each raise their own
        raise RunError(f"{path}: not a file of weights that can be read safely") from error
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise RunError(f"{path}: not a state dict of tensors (save model.state_dict(), not the model)")
    return {name.removeprefix("module."): value.detach() for name, value in weights.items()}


def per_channel(values: Iterable[float]) -> tuple[float, float, float]:
    """Three numbers as the manifest wants them."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _imagenet() -> Initial:
    from torchvision.models import ResNet18_Weights

    try:
        weights = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise RunError(
            "torchvision's ImageNet weights could not be downloaded: give --init a file"
        ) from error
    return Initial("imagenet1k_v1", dict(weights), STOCK, IMAGENET_SIZE_PX, "crop", IMAGENET)


def _artifact(init: str, models_dir: Path) -> Initial:
    try:
        found = find_artifact(init, models_dir)
    except RotuloModelError as error:
        raise RunError(str(error)) from error
    manifest = found.manifest
    return Initial(
        f"{manifest.name}/{manifest.version} {manifest.weights.sha256[:16]}",
        {name: torch.from_numpy(value.copy()) for name, value in found.weights.items()},
        manifest.network,
        manifest.preprocessing.size,
        manifest.preprocessing.resize,
        manifest.normalisation,
        manifest.classes,
        recorded_test(manifest.training),
    )
