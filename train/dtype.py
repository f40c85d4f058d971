"""The dtype that a training's convolutions and products are computed in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models import networks
from models.engines import processor
from train.distributed import World
from train.errors import RunError
from train.network import Trunk
from train.recipe import Recipe


def choose(asked: str, recipe: Recipe, world: World) -> torch.dtype:
    """`auto` is bfloat16 where it is right and faster, float32 elsewhere.

    Raises RunError for a bfloat16 that would be wrong.
    """
    right = world.device.type == "cuda" or not strides_over_one_pixel(recipe)
    if asked == "bfloat16" and not right:
        raise RunError(
            "on this processor bfloat16 gives wrong gradients where a kernel strides over a map of one pixel,"
            " as at this size: take --dtype float32, or another --size or --stem"
        )
    if asked == "auto":
        return torch.bfloat16 if right and _fast(world) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[asked]


def _fast(world: World) -> bool:
    if world.device.type == "cuda":
        return True
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and not processor.bfloat16_is_slow()


def strides_over_one_pixel(recipe: Recipe) -> bool:
    """Whether a kernel with a stride meets a map of a single pixel, in any phase.

    There, oneDNN's bfloat16 (seen in torch 2.14) leaves the gradient of taps that see only padding as the
    memory was: 1e17 and infinities, in weights that no answer of the network depends on (`train/LOG.md`).
    """
    met: list[bool] = []

    def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        met.append(inputs[0].shape[-1] == 1)

    with torch.device("meta"):
        network = networks.build(recipe.network, 2)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and max(layer.stride) > 1 and max(layer.kernel_size) > 1:
                layer.register_forward_pre_hook(look)
        for phase in recipe.phases:
            Trunk(network, phase.blocks).eval()(torch.empty(1, 3, phase.crop_px, phase.crop_px))
    return any(met)
