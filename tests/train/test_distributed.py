from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import artifact
from tests.train.conftest import FolderMaker
from tests.train.machines import LAUNCHER, start
from tests.train.test_loop import a_setting
from train import checkpoint, loop, run
from train.distributed import World
from train.errors import DataError, RunError
from train.publish import Publication
from train.recipe import RECIPES, at_size


def two_processes(data: Path, root: Path, options: list[str]) -> list[str]:
    """The command that trains on `data` with everything it writes under `root`."""
    places = {"--output": "run", "--models-dir": "models", "--cache": "cache"}
    written = [word for option, name in places.items() for word in (option, str(root / name))]
    command = ["-m", "train", "scratch", "--data", str(data), *options, *written]
    return [*LAUNCHER, "--standalone", "--nproc-per-node", "2", *command]


def test_two_processes_train_one_model(make_folder: FolderMaker, tmp_path: Path) -> None:
    data = make_folder(12, sides=("train", "test"))
    short = ["--epochs", "4", "--batch-size", "8", "--size", "8", "--name", "colours"]
    with start(two_processes(data, tmp_path, short)) as running:
        _, said = running.communicate()
    assert running.returncode == 0, said
    assert said.count("epoch 4:") == 1  # one voice
    manifest = artifact.load_manifest(tmp_path / "models" / "colours" / "1")
    assert manifest.training["processes"] == 2
    assert manifest.metrics["test"]["accuracy"] > 0.6  # one process reaches 1.0; a guess is 0.33


def test_a_scheduler_that_stops_torchrun_loses_no_step(folder: Path, tmp_path: Path) -> None:
    short = ["--epochs", "10000", "--batch-size", "8", "--size", "8", "--save-every-s", "1000000"]
    with start(two_processes(folder, tmp_path, short)) as running:
        assert running.stderr
        assert any("epoch 1:" in line for line in running.stderr)
        running.terminate()  # torchrun alone, which passes it on
        said = running.stderr.read()
    assert said.count("stopped; --resume continues") == 2
    state = checkpoint.load(tmp_path / "run" / "checkpoint.pt")
    assert state["step"] >= 2


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
    recipe = at_size(RECIPES["scratch"], 8).but(batch_size=8)
    wanted = Publication("colours", tmp_path / "models", 0.9)
    with pytest.raises(DataError, match="8 images a step are too few for 5 processes"):
        run.train(recipe, None, options, wanted, World(0, 5, torch.device("cpu")))


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> tuple[World, World]:
    """Two processes taken in turn, the first one first; what it sends, the other gets."""
    sent: list[Any] = []

    def broadcast(values: list[Any], src: int, device: torch.device) -> None:  # noqa: ARG001
        if values == [None]:
            values[:] = sent
        else:
            sent[:] = values

    monkeypatch.setattr("torch.distributed.broadcast_object_list", broadcast)
    first, second = (World(rank, 2, torch.device("cpu")) for rank in (0, 1))
    return first, second


def test_what_the_first_process_has_all_have(both: tuple[World, World]) -> None:
    assert both[0].from_first(lambda: {"step": 3}) == {"step": 3}
    assert both[1].from_first(lambda: pytest.fail("only the first one is asked")) == {"step": 3}


@pytest.mark.parametrize("error", [RunError("another training is writing here"), OSError("disk")])
def test_what_stops_the_first_process_stops_all_with_the_same_line(
    both: tuple[World, World], error: Exception
) -> None:
    def fail() -> None:
        raise error

    for world in both:
        with pytest.raises(type(error), match=str(error)):
            world.from_first(fail)


@pytest.mark.parametrize(
    ("holds_a_run", "resume", "complaint"),
    [
        ([True, False], False, "runs/x holds a run: --resume continues it"),
        ([False, False], True, "runs/x holds no run to resume$"),
        ([False, True], True, "runs/x holds no run to resume, but process 1's does: make it the first"),
    ],
)
def test_the_first_machines_run_directory_is_the_one_that_counts(
    holds_a_run: list[bool], resume: bool, complaint: str
) -> None:
    with pytest.raises(RunError, match=complaint):
        run.check_directory(Path("runs/x"), holds_a_run, resume)
    run.check_directory(Path("runs/x"), [not holds_a_run[0], holds_a_run[1]], resume)


def test_machines_with_other_images_or_another_length_do_not_train_together() -> None:
    plan = {"splits": "a", "epochs": 3, "dtype": "torch.float32"}
    run.check_alike([plan, plan])
    with pytest.raises(RunError, match="process 1 is not like the first in splits, epochs"):
        run.check_alike([plan, plan | {"splits": "b", "epochs": 4}])


@pytest.mark.parametrize("flag", [True, False])
def test_a_world_of_one_asks_nobody(flag: bool) -> None:
    world = World(0, 1, torch.device("cpu"))
    assert world.any(flag) is flag
    rows = torch.arange(6).view(3, 2)
    assert torch.equal(world.gather(rows, 3), rows)
    model = torch.nn.Linear(2, 2)
    assert world.wrap(model) is model
