"""The shipped CIFAR-10 model on real test images, by Triton's own client and by the native route."""

from __future__ import annotations

import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton

from models import catalog, loader
from models.engines.choice import Wish
from tests.live import serve

CIFAR10_JPEGS = os.environ.get("CIFAR10_JPEGS", "")
IMAGES, IMAGES_A_REQUEST = 100, 10


@pytest.mark.skipif(
    not CIFAR10_JPEGS, reason="CIFAR10_JPEGS does not name a folder or zip of CIFAR-10 as JPEG files"
)
def test_100_test_images_get_the_native_routes_labels() -> None:
    images = some_test_images()
    shipped = loader.load(catalog.locate(catalog.SHIPPED_MODELS, "cifar10"), Wish(), threads=2)
    labels: list[str] = []
    with (
        serve([shipped]) as live,
        triton.InferenceServerClient(f"127.0.0.1:{live.port}") as client,
    ):
        for start in range(0, IMAGES, IMAGES_A_REQUEST):
            tensor = triton.InferInput("image", [IMAGES_A_REQUEST], "BYTES")
            tensor.set_data_from_numpy(np.array(images[start : start + IMAGES_A_REQUEST], np.object_))
            labels += [label.decode() for label in client.infer("cifar10", [tensor]).as_numpy("label")]
        native = [live.request("POST", "/v1/models/cifar10/predict", image).json() for image in images]
    assert labels == [answer["label"] for answer in native]
    assert set(labels) == set(shipped.manifest.classes)


def some_test_images() -> list[bytes]:
    """Drawn with a fixed seed."""
    path = Path(CIFAR10_JPEGS)
    root = zipfile.Path(path) if path.suffix == ".zip" else path
    files = [file for folder in (root / "test").iterdir() for file in folder.iterdir()]
    return [file.read_bytes() for file in random.Random(0).sample(sorted(files, key=str), IMAGES)]
