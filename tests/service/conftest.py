"""Live services for the tests of HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models import artifact
from models.engines.torch_engine import TorchEngine
from models.predictor import Predictor
from tests.service.live import LiveService, serve


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
