from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.manifest import Network, ResNet18
from train import convolution
from train.network import from_scratch, from_weights
from train.recipe import BOTTLE, SCRATCH

BFLOAT16, FLOAT32 = torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False)


def layer(channels: int, kernels: int, stride: int) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(channels, kernels, 3, stride, 1, bias=False)


def maps(count: int, channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(count, channels, height, width, generator=generator)
    return drawn.to(memory_format=torch.channels_last).requires_grad_()


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
    kernels=st.integers(1, 4),
    stride=st.integers(1, 3),
)
def test_the_product_and_both_its_gradients_are_those_of_the_convolution(
    shape: tuple[int, int, int, int], kernels: int, stride: int
) -> None:
    convolved, x = layer(shape[1], kernels, stride), maps(*shape)
    expected = convolved(x)
    answer = convolution.product(x, convolved.weight, stride)
    assert torch.allclose(answer, expected, atol=1e-5)
    towards = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(y, (x, convolved.weight), towards) for y in (answer, expected))
    assert all(torch.allclose(mine, other, atol=1e-4) for mine, other in zip(ours, theirs, strict=True))


def products_asked_for(
    monkeypatch: pytest.MonkeyPatch, network: nn.Module, x: Tensor, autocast: torch.autocast
) -> int:
    asked: list[int] = []
    through = convolution.product

    def counted(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
        asked.append(stride)
        return through(x, kernel, stride)

    monkeypatch.setattr(convolution, "product", counted)
    with autocast:
        convolution.multiply_small_maps(network)(x)
    return len(asked)


@pytest.mark.parametrize(("side", "stride", "products"), [(4, 1, 1), (5, 1, 0), (8, 2, 1), (9, 2, 0)])
def test_only_small_maps_are_multiplied(
    monkeypatch: pytest.MonkeyPatch, side: int, stride: int, products: int
) -> None:
    network = nn.Sequential(layer(3, 4, stride))
    assert products_asked_for(monkeypatch, network, maps(2, 3, side, side), BFLOAT16) == products


def test_in_float32_every_map_is_convolved(monkeypatch: pytest.MonkeyPatch) -> None:
    assert products_asked_for(monkeypatch, nn.Sequential(layer(3, 4, 1)), maps(2, 3, 4, 4), FLOAT32) == 0


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(4, 4, 1, bias=False),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, bias=False),
    ],
)
def test_a_layer_of_another_kind_stays_as_it_is(other: nn.Conv2d) -> None:
    convolution.multiply_small_maps(nn.Sequential(other))
    assert type(other) is nn.Conv2d


def test_parameters_keep_their_names_and_values() -> None:
    network = nn.Sequential(layer(3, 4, 1), nn.BatchNorm2d(4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    after = convolution.multiply_small_maps(network).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def gradients(convolved: nn.Conv2d, x: Tensor, autocast: torch.autocast) -> tuple[Tensor, ...]:
    with autocast:
        y = convolved(x)
    return torch.autograd.grad(y.float().square().sum(), (x, convolved.weight))


@pytest.mark.parametrize("side", [1, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_in_bfloat16_are_those_in_float32_also_over_a_single_pixel(side: int, stride: int) -> None:
    convolved, x = layer(64, 128, stride), maps(8, 64, side, side)
    expected = gradients(convolved, x, FLOAT32)
    convolution.multiply_small_maps(nn.Sequential(convolved))
    used = [torch.full((128, 64, 3, 3), 1e20, dtype=torch.bfloat16) for _ in range(16)]
    del used  # memory with something in it
    for ours, theirs in zip(gradients(convolved, x, BFLOAT16), expected, strict=True):
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


@pytest.mark.parametrize("described", [ResNet18(stem="3x3"), ResNet18(stem="stock"), BOTTLE.network])
def test_every_3x3_convolution_of_a_network_in_training_takes_that_way(described: Network) -> None:
    recipe = SCRATCH.but(network=described)
    new = from_scratch(recipe, 2, torch.empty(0))
    for built in (new, from_weights(recipe, "ab", new.state_dict(), "")):
        layers = [module for module in built.modules() if isinstance(module, nn.Conv2d)]
        multiplied = [isinstance(layer, convolution.Conv3x3) for layer in layers]
        assert multiplied == [layer.kernel_size == (3, 3) for layer in layers]
        others = {layer.kernel_size for layer in layers} - {(3, 3)}
        assert others <= {(1, 1), (5, 5), (7, 7)}  # of one tap; and the stems, which see whole images


def test_the_gradient_of_a_frozen_kernel_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wasted(*_: Tensor) -> Tensor:
        raise AssertionError("computed, for autograd to throw away")

    monkeypatch.setattr(convolution, "_gradient_of_kernel", wasted)
    convolved, x = layer(3, 4, 1), maps(2, 3, 4, 4)
    convolved.weight.requires_grad_(False)
    torch.autograd.backward(convolution.product(x, convolved.weight, 1).sum())
    assert x.grad is not None
