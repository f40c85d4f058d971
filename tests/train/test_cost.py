from __future__ import annotations

import pytest

from train.cost import training_flops
from train.recipe import CIFAR10, STEPS, Phase


def test_the_3x3_stem_costs_what_its_multiply_adds_say() -> None:
    # 0.5556 billion multiply-adds an image at 32 pixels, two operations each, three passes.
    one_step = training_flops(STEPS, 10, train_images=50_000, steps=1)
    assert one_step / STEPS.batch_size == pytest.approx(6 * 0.5556e9, rel=0.01)


def test_one_block_a_stage_and_a_small_crop_cost_less() -> None:
    cheap = CIFAR10.model_copy(update={"phases": (Phase(from_fraction=0, crop_px=16, blocks=1),)})
    full = CIFAR10.model_copy(update={"phases": (Phase(from_fraction=0, crop_px=32),)})
    assert training_flops(cheap, 10, 50_000, 1) < training_flops(full, 10, 50_000, 1) / 7


def test_a_frozen_body_is_only_run_forwards() -> None:
    head = STEPS.model_copy(update={"phases": (Phase(from_fraction=0, crop_px=32, frozen_body=True),)})
    assert training_flops(head, 10, 50_000, 1) == training_flops(STEPS, 10, 50_000, 1) / 3
