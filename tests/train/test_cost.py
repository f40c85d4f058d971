from __future__ import annotations

import pytest

from train.cost import step_flops
from train.recipe import STEPS, Phase

FULL = Phase(from_fraction=0, crop_px=32)


def test_the_3x3_stem_costs_what_its_multiply_adds_say() -> None:
    # 0.5556 billion multiply-adds an image at 32 pixels, two operations each, three passes.
    assert step_flops(STEPS, 10, FULL, images=128) / 128 == pytest.approx(6 * 0.5556e9, rel=0.01)


def test_a_crop_of_half_the_side_costs_a_quarter() -> None:
    cheap = Phase(from_fraction=0, crop_px=16)
    assert step_flops(STEPS, 10, cheap, 1) == pytest.approx(step_flops(STEPS, 10, FULL, 1) / 4, rel=0.001)


def test_a_frozen_body_is_only_run_forwards() -> None:
    head = FULL.model_copy(update={"frozen_body": True})
    assert step_flops(STEPS, 10, head, 1) == step_flops(STEPS, 10, FULL, 1) / 3
