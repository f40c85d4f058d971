from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from models import networks
from train import network
from train.errors import RunError
from train.recipe import CIFAR10, Phase

SAMPLE = torch.nn.functional.interpolate(  # neighbouring pixels alike, as in pictures
    torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)), size=16, mode="bilinear"
)
WHOLE = Phase(from_fraction=0, crop_px=16)
HEAD = Phase(from_fraction=0, crop_px=16, frozen_body=True)


@pytest.fixture
def fresh() -> nn.Module:
    return network.from_scratch(CIFAR10, 10, SAMPLE)


def test_a_new_network_is_a_function_of_the_seed(fresh: nn.Module) -> None:
    again = network.from_scratch(CIFAR10, 10, SAMPLE)
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), again.parameters(), strict=True))


def test_the_second_blocks_change_nothing_until_they_have_learnt(fresh: nn.Module) -> None:
    deep = fresh.eval()(SAMPLE)
    for stage in network.STAGES:
        fresh.get_submodule(stage)[1] = nn.Identity()  # type: ignore[operator]
    assert torch.equal(fresh(SAMPLE), deep)


def test_whitening_filters_make_patches_uncorrelated() -> None:
    kernel = torch.zeros(27, 3, 3, 3)
    network.whiten(kernel, SAMPLE, floor=0.0)
    answers = torch.nn.functional.conv2d(SAMPLE, kernel).transpose(0, 1).flatten(1)
    assert torch.allclose(torch.cov(answers), torch.eye(27), atol=0.05)


def test_a_phase_of_the_head_alone_may_be_followed_by_one_of_all_layers(fresh: nn.Module) -> None:
    network.of_phase(fresh, HEAD).train()
    assert not fresh.get_submodule("layer4").training
    network.of_phase(fresh, WHOLE).train()
    assert all(parameter.requires_grad for parameter in fresh.parameters())
    assert all(layer.training for layer in fresh.modules())


def test_a_frozen_body_keeps_its_weights_and_its_statistics(fresh: nn.Module) -> None:
    model = network.of_phase(fresh, HEAD).train()
    before = copy.deepcopy(fresh.state_dict())
    model(SAMPLE).sum().backward()
    torch.optim.SGD(fresh.parameters(), 0.1).step()
    changed = {name for name, value in fresh.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_a_new_head_goes_on_the_old_body() -> None:
    old = networks.resnet18(10, "3x3").state_dict()
    started = network.from_weights(CIFAR10, "abcd", old, "0123456789").state_dict()
    assert started["fc.bias"].shape == (4,)
    assert torch.equal(started["layer4.1.conv2.weight"], old["layer4.1.conv2.weight"])


@pytest.mark.parametrize("known", ["abc", "cab"])
def test_a_head_for_the_same_classes_is_kept_whatever_their_order(known: str) -> None:
    old = networks.resnet18(3, "3x3").state_dict()
    started = network.from_weights(CIFAR10, "abc", old, known).state_dict()
    for name in ("fc.weight", "fc.bias"):
        for row, label in enumerate("abc"):
            assert torch.equal(started[name][row], old[name][known.index(label)])


@pytest.mark.parametrize("known", ["abd", ""])
def test_a_head_for_other_classes_or_unknown_ones_is_not_kept(known: str) -> None:
    old = networks.resnet18(3, "3x3").state_dict()
    started = network.from_weights(CIFAR10, "abc", old, known).state_dict()
    assert not torch.equal(started["fc.weight"], old["fc.weight"])


def test_weights_of_the_other_stem_are_refused() -> None:
    with pytest.raises(RunError, match="do not fit the 3x3 stem"):
        network.from_weights(CIFAR10, "ab", networks.resnet18(10, "stock").state_dict(), "")


@pytest.mark.parametrize("broken", [{}, {"body.weight": torch.zeros(1)}])
def test_weights_of_another_network_are_refused(broken: dict[str, torch.Tensor]) -> None:
    with pytest.raises(RunError, match="not those of a torchvision ResNet-18"):
        network.from_weights(CIFAR10, "ab", broken, "")


def test_the_average_follows_the_weights_and_forgets_slowly(fresh: nn.Module) -> None:
    average = network.Average(fresh, decay=0.9)
    bias = fresh.get_parameter("fc.bias")
    nn.init.zeros_(average.network.get_parameter("fc.bias"))
    nn.init.ones_(bias)
    average.update(fresh, step=1000)
    assert average.network.get_parameter("fc.bias").numpy() == pytest.approx(np.full(10, 0.1))


def test_batch_norms_are_measured_on_what_they_will_see(fresh: nn.Module) -> None:
    network.measure_batch_norms(fresh, [SAMPLE])
    stem = fresh.get_submodule("conv1")(SAMPLE)
    measured = fresh.get_submodule("bn1").running_mean
    assert isinstance(measured, torch.Tensor)
    assert torch.allclose(measured, stem.mean(dim=(0, 2, 3)), atol=1e-3)
    assert fresh.get_submodule("bn1").momentum == 0.1
