from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.outcome import outcome, same
from train.__main__ import main


def arguments(data: Path, root: Path, run: str) -> list[str]:
    short = ["--epochs", "3", "--batch-size", "8", "--size", "8", "--save-every-s", "0"]
    places = ["--output", root / run, "--models-dir", root / run / "models", "--cache", root / "cache"]
    return ["cifar10", "--data", str(data), *short, *map(str, places)]


@pytest.fixture(scope="module")
def uninterrupted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What six steps without a kill leave."""
    root = tmp_path_factory.mktemp("uninterrupted")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(arguments(folder, root, "run")) == 0
    torch.set_num_threads(before)
    return outcome(root / "run")


# Saved: the start, two steps an epoch; then best.pt (the fourth file) and, once validated, the checkpoint.
@pytest.mark.parametrize("moment", ["step:1", "step:3", "save:2", "save:4", "best:1", "save:7"])
def test_a_run_killed_and_resumed_ends_in_the_very_same_state(
    moment: str, folder: Path, tmp_path: Path, uninterrupted: dict[str, Any]
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
    assert same(outcome(tmp_path / "run"), uninterrupted)
