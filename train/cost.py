"""What a training costs in arithmetic, counted and not estimated."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from models import networks
from train import batches, schedule
from train.network import Trunk
from train.recipe import Phase, Recipe

# One multiply-add is two operations; backward costs twice the forward (Kaplan et al. 2020, arXiv 2001.08361).
_FORWARD_AND_BACKWARD = 3


def training_flops(recipe: Recipe, num_classes: int, train_images: int, steps: int) -> float:
    """Floating-point operations of the first `steps` steps, validation and optimiser apart."""
    per_epoch = batches.steps_per_epoch(recipe, train_images)
    total = recipe.epochs * per_epoch
    phases = [schedule.phase_at(recipe, step / total) for step in range(steps)]
    per_image = {phase: _forward_flops(recipe, num_classes, phase) for phase in recipe.phases}
    images = min(recipe.batch_size, train_images)
    return sum(
        images * per_image[phase] * (1 if phase.frozen_body else _FORWARD_AND_BACKWARD) for phase in phases
    )


def _forward_flops(recipe: Recipe, num_classes: int, phase: Phase) -> float:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = Trunk(networks.build(recipe.network, num_classes), phase.blocks).eval()
        model(torch.empty(1, 3, phase.crop_px, phase.crop_px))
    return float(counter.get_total_flops())
