from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models import artifact
from tests.train.conftest import FolderMaker
from tests.train.test_loop import a_setting
from train import loop, run
from train.distributed import World
from train.errors import DataError
from train.publish import Publication
from train.recipe import RECIPES, at_size


def test_two_processes_train_one_model(make_folder: FolderMaker, tmp_path: Path) -> None:
    data = make_folder(12, sides=("train", "test"))
    short = ["--epochs", "4", "--batch-size", "8", "--size", "8", "--name", "colours"]
    places = [
        "--output",
        tmp_path / "run",
        "--models-dir",
        tmp_path / "models",
        "--cache",
        tmp_path / "cache",
    ]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finished = subprocess.run(
        [*launcher, "-m", "train", "scratch", "--data", str(data), *short, *map(str, places)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("epoch 4:") == 1  # one voice
    manifest = artifact.load_manifest(tmp_path / "models" / "colours" / "1")
    assert manifest.training["processes"] == 2
    assert manifest.metrics["test"]["accuracy"] > 0.6  # one process reaches 1.0; a guess is 0.33


def test_a_process_without_a_validation_image_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.arange(4.0).view(2, 2)

    def from_everyone(parts: list[torch.Tensor], mine: torch.Tensor) -> None:
        parts[:] = [rows[:1], rows[1:], mine]

    monkeypatch.setattr("torch.distributed.all_gather_object", from_everyone)
    setting = a_setting(world=World(2, 3, torch.device("cpu")))
    assert torch.equal(loop.predict(setting, torch.nn.Identity(), np.arange(2)), rows)


def test_too_few_images_for_the_processes_are_refused_before_the_first_step(
    folder: Path, tmp_path: Path
) -> None:
    options = run.Options("", folder, tmp_path / "run", tmp_path / "cache", "skip", False, "auto", 0)
    recipe = at_size(RECIPES["scratch"], 8).model_copy(update={"batch_size": 8})
    wanted = Publication("colours", tmp_path / "models", 0.9)
    with pytest.raises(DataError, match="8 images a step are too few for 5 processes"):
        run.train(recipe, None, options, wanted, World(0, 5, torch.device("cpu")))


@pytest.mark.parametrize("flag", [True, False])
def test_a_world_of_one_asks_nobody(flag: bool) -> None:
    world = World(0, 1, torch.device("cpu"))
    assert world.any(flag) is flag
    rows = torch.arange(6).view(3, 2)
    assert torch.equal(world.gather(rows, 3), rows)
    model = torch.nn.Linear(2, 2)
    assert world.wrap(model) is model
