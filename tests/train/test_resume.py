from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from train import checkpoint
from train.__main__ import main


def arguments(data: Path, root: Path, run: str) -> list[str]:
    short = ["--epochs", "3", "--batch-size", "8", "--size", "8", "--save-every-s", "0"]
    places = ["--output", root / run, "--models-dir", root / run / "models", "--cache", root / "cache"]
    return ["cifar10", "--data", str(data), *short, *map(str, places)]


@pytest.fixture(scope="module")
def uninterrupted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of six steps without a kill."""
    root = tmp_path_factory.mktemp("uninterrupted")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(arguments(folder, root, "run")) == 0
    torch.set_num_threads(before)
    return checkpoint.load(root / "run" / "best.pt")


@pytest.mark.parametrize("moment", ["step:3", "step:4", "save:6"])
def test_a_run_killed_and_resumed_ends_in_the_very_same_weights(
    moment: str, folder: Path, tmp_path: Path, uninterrupted: dict[str, torch.Tensor]
) -> None:
    given = arguments(folder, tmp_path, "run")
    killed = subprocess.run(
        [sys.executable, "-m", "tests.train.killed", moment, *given],
        env={"OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert main([*given, "--resume"]) == 0
    resumed = checkpoint.load(tmp_path / "run" / "best.pt")
    assert resumed.keys() == uninterrupted.keys()
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in resumed)
