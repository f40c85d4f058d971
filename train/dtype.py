"""The dtype that a training's convolutions and products are computed in."""

from __future__ import annotations

import torch

from models.engines import processor
from train.distributed import World


def choose(asked: str, world: World) -> torch.dtype:
    """`auto` is bfloat16 where it is faster, float32 elsewhere."""
    if asked == "auto":
        return torch.bfloat16 if _fast(world) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[asked]


def _fast(world: World) -> bool:
    if world.device.type == "cuda":
        return True
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and not processor.bfloat16_is_slow()
