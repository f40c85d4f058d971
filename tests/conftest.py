"""What every test may use: a small real model on disk, and images."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from loadtest.traffic import png_header as png_header  # for tests of the service too
from models import artifact, networks
from models.engines.torch_engine import TorchEngine
from models.images import Preprocessing
from models.manifest import Calibration, ModelSpec, Normalisation, ResNet18
from models.predictor import Predictor
from tests.live import LiveService, serve

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TOLERANCE = 1e-4  # of a probability: kernels differ by batch size, so an image's last digits by its company
SAMPLES = Path(__file__).parent.parent / "loadtest" / "samples"


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """The service refuses unknown ROTULO_ variables; a developer's own must not reach the tests."""
    for name in [name for name in os.environ if name.startswith("ROTULO_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models directory with `cifar10/1`: a real ResNet-18, seeded, not trained, and fast."""
    torch.manual_seed(0)
    network = networks.resnet18(len(CLASSES), "stock")
    noise = torch.randn(64, 3, 32, 32)
    with torch.no_grad():  # statistics and scale that make the answers differ between images
        network.train()
        network(noise)
        network.eval()
        last = network.get_submodule("fc")
        for parameter in last.parameters():
            parameter.div_(network(noise).std())
    root = tmp_path_factory.mktemp("models")
    artifact.save(root, spec(), {name: value.numpy() for name, value in network.state_dict().items()})
    return root


@pytest.fixture(scope="session")
def predictor(models_dir: Path) -> Predictor:
    """The real model of `models_dir` on its real engine."""
    loaded = artifact.load(models_dir / "cifar10" / "1")
    return Predictor(loaded.manifest, TorchEngine(loaded, "cpu", threads=2))


@pytest.fixture(scope="session")
def live(predictor: Predictor) -> Iterator[LiveService]:
    """One running service with that model, shared by the tests that leave it as they found it."""
    with serve([predictor]) as running:
        yield running


def spec(name: str = "cifar10", version: str = "1") -> ModelSpec:
    """The description of the model in `models_dir`."""
    return ModelSpec(
        name=name,
        version=version,
        network=ResNet18(stem="stock"),
        classes=CLASSES,
        preprocessing=Preprocessing(size=32, resize="stretch"),
        normalisation=Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        calibration=Calibration(temperature=0.5, uncertain_below=0.3),
    )


ImageMaker = Callable[..., bytes]


@pytest.fixture(scope="session")
def make_image() -> ImageMaker:
    """`make_image(seed, size, format)`: an encoded image of smooth noise, different for every seed."""

    def make(
        seed: int = 0, size: tuple[int, int] = (32, 32), format_: str = "PNG", mode: str = "RGB"
    ) -> bytes:
        coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, format_)
        return buffer.getvalue()

    return make
