"""Small generated images in folders by class, and the shortest training that is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models import artifact, networks
from models.images import Preprocessing
from models.manifest import ModelSpec, ResNet18
from train import data, run, splits
from train.network import normalise
from train.publish import to_numpy
from train.recipe import RECIPES
from train.sources import open_source

COLOURS = {"blue": (40, 60, 200), "green": (40, 190, 70), "red": (200, 50, 40)}
FolderMaker = Callable[..., Path]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The networks here are too small to share out, and a share would change the last digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory: pytest.TempPathFactory) -> FolderMaker:
    """`make_folder(images_per_class, sides)`: noisy squares of one colour a class, all different.

    `spread` is the deviation of the colour itself: what makes classes hard to tell apart.
    """

    def make(per_class: int = 8, sides: tuple[str, ...] = ("",), size: int = 8, spread: float = 0) -> Path:
        root = tmp_path_factory.mktemp("images")
        generator = np.random.default_rng(0)
        for side in sides:
            for name, colour in COLOURS.items():
                folder = root / side / name
                folder.mkdir(parents=True)
                for number in range(per_class):
                    noisy = np.array(colour) + generator.normal(0, 40, (size, size, 3))
                    noisy += generator.normal(0, spread, 3) if spread else 0
                    pixels = np.clip(noisy, 0, 255).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number:03}.png")
        return root

    return make


@pytest.fixture(scope="session")
def folder(make_folder: FolderMaker) -> Path:
    """Three classes of eight images; tests read it and never write to it."""
    return make_folder()


@pytest.fixture(scope="session")
def sided_folder(make_folder: FolderMaker) -> Path:
    """Three classes that overlap, on all three sides; tests read it and never write to it."""
    return make_folder(40, sides=("train", "val", "test"), spread=90)


@pytest.fixture(scope="session")
def recorded(sided_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of those classes with its split on record: random features, the last layer set by class means.

    Nearest class mean, as a linear layer: |x - m|^2 = |x|^2 - 2 (m.x - |m|^2 / 2). No training, and it works.
    """
    preprocessing = Preprocessing(size=8, resize="stretch")
    images, _ = data.load(open_source(sided_folder), preprocessing, tmp_path_factory.mktemp("cache"))
    recipe = RECIPES["scratch"]
    sides = splits.split(images, recipe.validation_fraction, recipe.test_fraction, recipe.seed)
    normalisation = run.measure_normalisation(images, sides)
    torch.manual_seed(0)
    network = networks.resnet18(len(images.classes), "3x3").eval()
    pixels = torch.from_numpy(images.pixels[sides.train]).permute(0, 3, 1, 2)
    head = network.get_submodule("fc")
    network.register_module("fc", nn.Identity())
    with torch.no_grad():
        features = network(normalise(pixels, normalisation))
    labels = torch.from_numpy(images.labels[sides.train])
    means = torch.stack([features[labels == label].mean(dim=0) for label in range(len(images.classes))])
    weights = {**network.state_dict(), "fc.weight": means, "fc.bias": -means.square().sum(dim=1) / 2}
    assert set(weights) == {*network.state_dict(), *(f"fc.{name}" for name in head.state_dict())}
    spec = ModelSpec(
        name="colours",
        version="1",
        network=ResNet18(stem="3x3"),
        classes=images.classes,
        preprocessing=preprocessing,
        normalisation=normalisation,
        training={
            "recipe": recipe.model_dump(mode="json"),
            "data": {"source": sided_folder.name, **sides.record(images.digests, recipe.seed)},
        },
        metrics={"target_precision": 0.98},
    )
    return artifact.save(tmp_path_factory.mktemp("models"), spec, to_numpy(weights))
