from __future__ import annotations

import pytest
import torch

from models.engines import processor
from models.manifest import ResNet18
from train import dtype
from train.distributed import World
from train.errors import RunError
from train.recipe import RECIPES, Recipe, at_size

CPU, GPU = World(0, 1, torch.device("cpu")), World(0, 1, torch.device("cuda"))


@pytest.fixture(autouse=True)
def _instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that has them, and gains by them."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(processor, "bfloat16_is_slow", lambda: False)


def stock_at(size_px: int) -> Recipe:
    recipe = at_size(RECIPES["scratch"], size_px)
    return recipe.but(network=ResNet18(stem="stock"))


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_at_its_own_size_is_trained_in_bfloat16(name: str) -> None:
    assert dtype.choose("auto", RECIPES[name], CPU) == torch.bfloat16


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (stock_at(8), True),
        (stock_at(16), True),
        (stock_at(17), False),
        (at_size(RECIPES["scratch"], 8), False),
        (at_size(RECIPES["bottle"], 32), False),  # it has no strides
    ],
)
def test_a_stride_over_a_single_pixel_is_found(recipe: Recipe, expected: bool) -> None:
    assert dtype.strides_over_one_pixel(recipe) == expected


def test_a_processor_on_which_bfloat16_is_slower_trains_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "bfloat16_is_slow", lambda: True)
    assert dtype.choose("auto", RECIPES["cifar10"], CPU) == torch.float32
    assert dtype.choose("bfloat16", RECIPES["cifar10"], CPU) == torch.bfloat16
    assert dtype.choose("auto", RECIPES["cifar10"], GPU) == torch.bfloat16


def test_a_size_at_which_bfloat16_is_wrong_is_trained_in_float32() -> None:
    assert dtype.choose("auto", stock_at(16), CPU) == torch.float32
    assert dtype.choose("float32", stock_at(16), CPU) == torch.float32
    with pytest.raises(RunError, match="bfloat16 gives wrong gradients"):
        dtype.choose("bfloat16", stock_at(16), CPU)
    assert dtype.choose("auto", stock_at(16), GPU) == torch.bfloat16


def test_the_gradient_of_a_stride_over_a_single_pixel_is_right_in_float32() -> None:
    layer = torch.nn.Conv2d(64, 128, 3, stride=2, padding=1, bias=False)
    pixels = torch.randn(4, 64, 1, 1)
    used = torch.full((20_000_000,), 1e20)  # memory with something in it
    del used
    answers = layer(pixels)
    answers.square().sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    expected = torch.zeros_like(gradient)
    expected[:, :, 1, 1] = (2 * answers.detach().flatten(1)).T @ pixels.flatten(1)
    torch.testing.assert_close(gradient, expected)
