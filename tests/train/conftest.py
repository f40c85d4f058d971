"""Small generated images in folders by class, and the shortest training that is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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
    """`make_folder(images_per_class, sides)`: noisy squares of one colour a class, all different."""

    def make(per_class: int = 8, sides: tuple[str, ...] = ("",), size: int = 8) -> Path:
        root = tmp_path_factory.mktemp("images")
        generator = np.random.default_rng(0)
        for side in sides:
            for name, colour in COLOURS.items():
                folder = root / side / name
                folder.mkdir(parents=True)
                for number in range(per_class):
                    noisy = np.array(colour) + generator.normal(0, 40, (size, size, 3))
                    pixels = np.clip(noisy, 0, 255).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number:03}.png")
        return root

    return make


@pytest.fixture(scope="session")
def folder(make_folder: FolderMaker) -> Path:
    """Three classes of eight images; tests read it and never write to it."""
    return make_folder()
