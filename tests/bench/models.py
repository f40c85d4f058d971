"""`python -m tests.bench.models DIR`: a models directory to measure with, for `--models-dir`.

The shipped `cifar10`, and two stock ResNet-18 of random weights: `small` at 32 pixels, where what surrounds
the network dominates, and `large` at 224, where the network does.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from models.catalog import SHIPPED_MODELS
from tests.bench.subjects import random_model

SIZES = {"small": 32, "large": 224}


def main(directory: Path) -> None:
    """Raises FileExistsError rather than to mix with what is there."""
    directory.mkdir(parents=True)
    shutil.copytree(SHIPPED_MODELS / "cifar10", directory / "cifar10")
    for name, size in SIZES.items():
        random_model(directory, size, name)
    print(f"{directory}: cifar10, {', '.join(SIZES)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
