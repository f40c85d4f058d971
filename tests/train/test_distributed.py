from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import artifact
from tests.train.conftest import FolderMaker
from train.distributed import World


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


@pytest.mark.parametrize("flag", [True, False])
def test_a_world_of_one_asks_nobody(flag: bool) -> None:
    world = World(0, 1, torch.device("cpu"))
    assert world.any(flag) is flag
    rows = torch.arange(6).view(3, 2)
    assert torch.equal(world.gather(rows, 3), rows)
    model = torch.nn.Linear(2, 2)
    assert world.wrap(model) is model
