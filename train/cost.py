"""What a training costs in arithmetic, counted and not estimated."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from models import networks
from train.recipe import Phase, Recipe

# One multiply-add is two operations; backward costs twice the forward (Kaplan et al. 2020, arXiv 2001.08361).
_FORWARD_AND_BACKWARD = 3


@lru_cache
def step_flops(recipe: Recipe, num_classes: int, phase: Phase, images: int) -> float:
    """Floating-point operations of one step of `phase` on `images`, the optimiser apart."""
    passes = 1 if phase.frozen_body else _FORWARD_AND_BACKWARD
    return images * passes * _forward_flops(recipe, num_classes, phase)


def _forward_flops(recipe: Recipe, num_classes: int, phase: Phase) -> float:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = networks.build(recipe.network, num_classes).eval()
        model(torch.empty(1, 3, phase.crop_px, phase.crop_px))
    return float(counter.get_total_flops())
