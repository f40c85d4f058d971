"""What is measured: random weights at a small and at a large input, and every shipped model."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from loadtest.images import EncodedImage, load_images
from models import artifact, catalog, networks
from models.artifact import Artifact
from models.engines import openvino_graph
from models.engines.openvino_engine import capabilities
from models.images import Preprocessing
from models.manifest import Calibration, Export, ExportPrecision, ModelSpec, Normalisation, ResNet18
from train import export, quantize
from train.publish import to_numpy

CLASSES = tuple(f"class{number}" for number in range(10))


@dataclass(frozen=True)
class Subject:
    """A model of `models_dir`, and the images that are posted to it."""

    title: str
    models_dir: Path
    model: str
    images: list[EncodedImage]

    @property
    def directory(self) -> Path:
        return catalog.locate(self.models_dir, self.model)


def subjects(scratch: Path) -> Iterator[Subject]:
    """Both networks are named cifar10, which is the model behind the Flask route."""
    small = [_jpeg(seed, (32, 32)) for seed in range(64)]
    yield Subject("random, 32x32", random_model(scratch / "small", 32), "cifar10", small)
    large = [_jpeg(seed, (640, 480)) for seed in range(16)]
    yield Subject("random, 640x480 to 224", random_model(scratch / "large", 224), "cifar10", large)
    for name in catalog.find(catalog.SHIPPED_MODELS):
        yield Subject(f"{name}, sample photographs", catalog.SHIPPED_MODELS, name, load_images())


def random_model(models_dir: Path, size: int, name: str = "cifar10") -> Path:
    """A directory with a stock ResNet-18 of seeded random weights, with exports: speed needs no training."""
    torch.manual_seed(0)
    spec = ModelSpec(
        name=name,
        version="1",
        network=ResNet18(stem="stock"),
        classes=CLASSES,
        preprocessing=Preprocessing(size=size, resize="stretch"),
        normalisation=Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    )
    network = networks.resnet18(len(CLASSES), "stock")
    model = artifact.load(artifact.save(models_dir, spec, to_numpy(network.state_dict())))
    if "bf16" in capabilities():
        _add(model, "bf16", {})
    if "int8" in capabilities():
        pixels = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
        graph = quantize.to_int8(openvino_graph.build(model), pixels, first_in_floats=True)
        _add(model, "int8", export.serialised(graph, "openvino-int8"))
    return models_dir


def _add(model: Artifact, precision: ExportPrecision, files: dict[str, bytes]) -> None:
    """Stated to lose nothing, so that `auto` takes it: the answers of random weights have no accuracy."""
    stated = Export(
        engine="openvino",
        precision=precision,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        calibration=Calibration(),
        accuracy=0,
        accuracy_loss=0,
        ece=0,
    )
    artifact.add_export(model.directory, stated, files)


def _jpeg(seed: int, size: tuple[int, int]) -> EncodedImage:
    """Smooth colours under the grain of a photograph, which is what fills a JPEG."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    grain = generator.normal(0, 12, (size[1], size[0], 1))
    pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)) + grain
    encoded = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=85)
    return EncodedImage(f"{seed}.jpg", encoded.getvalue())
