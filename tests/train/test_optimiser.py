from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from models import networks
from train import optimiser
from train.recipe import CIFAR10, STEPS, Recipe


@pytest.mark.parametrize("shape", [(8, 72), (64, 64), (72, 8)])
def test_an_orthogonal_update_has_all_its_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(optimiser.orthogonal(torch.randn(shape)))
    assert values.max() < 1.3
    assert values.median() > 0.6


def test_an_update_keeps_the_singular_vectors() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(8, 72)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    rotated = u.T @ optimiser.orthogonal(matrix) @ v.T
    assert torch.allclose(rotated, torch.diag(rotated.diagonal()), atol=1e-4)


def test_muon_turns_a_kernel_and_keeps_its_norm() -> None:
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.randn(4, 3, 3, 3))
    before = kernel.detach().clone()
    kernel.grad = torch.randn_like(kernel)
    optimiser.Muon([kernel], lr=0.1, momentum=0.9).step()
    assert kernel.norm().item() == pytest.approx(before.norm().item(), rel=1e-5)
    moved = (kernel.detach() - before).norm() / before.norm()
    assert 0.05 < moved < 0.12


def test_muon_leaves_a_kernel_alone_whose_gradient_is_zero() -> None:
    kernel = torch.nn.Parameter(torch.ones(4, 3, 3, 3))
    kernel.grad = torch.zeros_like(kernel)
    optimiser.Muon([kernel], lr=0.1, momentum=0.9).step()
    assert torch.allclose(kernel, torch.ones_like(kernel))


@pytest.mark.parametrize("recipe", [CIFAR10, STEPS], ids=lambda recipe: recipe.name)
def test_every_parameter_has_exactly_one_optimiser(recipe: Recipe) -> None:
    network = networks.resnet18(10, "3x3")
    groups = [group for one in optimiser.build(recipe, network) for group in one.param_groups]
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in network.parameters())


def test_sgd_decays_the_weights_of_every_layer_and_no_norm_or_bias() -> None:
    network = networks.resnet18(10, "3x3")
    (sgd,) = optimiser.build(STEPS, network)
    decayed = {id(p) for group in sgd.param_groups if group["weight_decay"] for p in group["params"]}
    weights = {name for name, parameter in network.named_parameters() if id(parameter) in decayed}
    layers = {name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert weights == {f"{name}.weight" for name in layers}
    assert {group["weight_decay"] for group in sgd.param_groups} == {STEPS.weight_decay, 0}


def test_muon_takes_no_weight_decay() -> None:
    with pytest.raises(ValidationError, match="nothing would decay"):
        Recipe.model_validate(CIFAR10.model_dump() | {"weight_decay": 1e-4})


def test_the_schedule_scales_every_group_from_its_own_peak() -> None:
    optimisers = optimiser.build(CIFAR10, networks.resnet18(10, "3x3"))
    optimiser.scale_lr(optimisers, 0.5)
    optimiser.scale_lr(optimisers, 0.5)
    rates = [group["lr"] for one in optimisers for group in one.param_groups]
    assert rates == [CIFAR10.muon_lr / 2, CIFAR10.peak_lr / 2]
