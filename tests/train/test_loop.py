from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models import networks
from models.manifest import Normalisation, ResNet18
from train import batches, checkpoint, loop, network
from train.data import Images
from train.distributed import World
from train.errors import Diverged
from train.interrupt import Interrupt
from train.progress import Progress
from train.recipe import FINETUNE, Phase, at_size
from train.splits import Splits
from train.state import State

FROZEN = Phase(from_fraction=0, crop_px=8, frozen_body=True)
RECIPE = at_size(FINETUNE, 8).but(
    network=ResNet18(stem="stock"), epochs=1, batch_size=8, phases=(Phase(from_fraction=0, crop_px=8),)
)


def a_setting(
    directory: Path = Path(), train: int = 16, world: World | None = None, frozen: bool = False
) -> loop.Setting:
    """Noise in two classes, `train` images to train on and eight to validate."""
    count = train + 8
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    nothing = ("",) * count
    images = Images(("a", "b"), pixels, np.arange(count) % 2, nothing, nothing, (None,) * count)
    none = np.arange(0)
    sides = Splits(np.arange(train), np.arange(train, count), none, none)
    recipe = RECIPE.but(phases=(FROZEN,)) if frozen else RECIPE
    normalisation = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.3, 0.3, 0.3))
    world = world or World(0, 1, torch.device("cpu"))
    return loop.Setting(recipe, images, sides, normalisation, directory, world, torch.float32, 60)


def a_state(setting: loop.Setting) -> State:
    """A network whose batch norms have seen something else."""
    torch.manual_seed(0)
    body = networks.resnet18(2, "stock").train()
    body(torch.randn(16, 3, 32, 32))
    return State.start(setting.recipe, {}, body)


def test_a_step_without_a_finite_loss_changes_no_weight() -> None:
    setting = a_setting()
    state = a_state(setting)
    nn.init.constant_(state.network.get_parameter("fc.bias"), float("nan"))
    before = copy.deepcopy(dict(state.network.named_parameters()))
    first = next(batches.of_epoch(setting.recipe, setting.images, setting.splits.train, 0, 0, 0, 1))
    with pytest.raises(Diverged, match="the loss is nan at step 1"):
        loop.step(setting, state, network.of_phase(state.network, first.phase), first)
    after = dict(state.network.named_parameters())
    assert all(torch.equal(after[name], before[name]) for name in before if name != "fc.bias")


def test_a_frozen_body_is_validated_and_kept_with_its_own_statistics(tmp_path: Path) -> None:
    setting = a_setting(tmp_path, frozen=True)
    state = a_state(setting)
    before = copy.deepcopy(dict(state.network.named_buffers()))
    loop.run(setting, state, Progress(2, 0, None), Interrupt())
    best = checkpoint.load(tmp_path / loop.BEST)
    assert all(torch.equal(best[name], before[name]) for name in before)


def test_of_epochs_that_are_right_equally_often_the_one_of_least_loss_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = a_setting(tmp_path)
    setting = replace(setting, recipe=setting.recipe.but(epochs=4))
    labels = torch.from_numpy(setting.images.labels[setting.splits.val])
    certainties, heads = iter([1.0, 3.0, 2.0, 3.0]), []

    def predict(setting: loop.Setting, model: nn.Module, indices: object) -> torch.Tensor:  # noqa: ARG001
        heads.append(model.get_parameter("fc.bias").clone())
        return next(certainties) * nn.functional.one_hot(labels).float()  # every answer right

    monkeypatch.setattr(loop, "predict", predict)
    loop.run(setting, a_state(setting), Progress(8, 0, None), Interrupt())
    kept = checkpoint.load(tmp_path / loop.BEST)["fc.bias"]
    assert [torch.equal(kept, head) for head in heads] == [False, True, False, False]


@pytest.mark.parametrize("count", [2, 3, 256, 257, 513, 3000])
def test_batch_norms_are_measured_on_parts_of_one_size(count: int) -> None:
    parts = loop.norm_parts(a_setting(train=count))
    sizes = {len(part) for part in parts}
    assert len(sizes) == 1
    assert 2 <= sizes.pop() <= loop.EVALUATION_BATCH
    used = np.concatenate(parts)
    assert len(used) == len(set(used.tolist())) > min(count, loop.NORM_IMAGES) - len(parts)


def test_one_image_beyond_a_full_part_can_be_measured() -> None:
    setting = a_setting(train=loop.EVALUATION_BATCH + 1)
    state = a_state(setting)
    parts = [torch.randn(len(part), 3, 8, 8) for part in loop.norm_parts(setting)]
    network.measure_batch_norms(state.network, parts)
    assert loop.sound(setting, state)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
@pytest.mark.parametrize("name", ["layer2.0.conv1.weight", "fc.weight"])
def test_weights_that_overflow_are_not_sound(name: str, value: float) -> None:
    setting = a_setting()
    state = a_state(setting)
    assert loop.sound(setting, state)
    nn.init.constant_(state.network.get_parameter(name), value)
    before = copy.deepcopy(state.network.state_dict())
    assert not loop.sound(setting, state)
    after = state.network.state_dict()
    assert all(torch.equal(after[key].nan_to_num(), before[key].nan_to_num()) for key in before)


def test_statistics_that_overflow_are_never_kept_as_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(model: torch.nn.Module, batches: object) -> None:  # noqa: ARG001
        nn.init.constant_(model.get_buffer("bn1.running_var"), float("inf"))  # answers stay finite

    monkeypatch.setattr(network, "measure_batch_norms", overflow)
    setting = a_setting(tmp_path)
    with pytest.raises(Diverged, match="useless after step 2"):
        loop.run(setting, a_state(setting), Progress(2, 0, None), Interrupt())
    assert not (tmp_path / loop.BEST).exists()
