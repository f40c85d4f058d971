from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.manifest import Sequential
from train.initial import IMAGENET, Initial
from train.recipe import BOTTLE, CIFAR10, RECIPES, STEPS, Phase, Recipe, at_size
from train.schedule import lr_factor, phase_at

PROGRESS = st.floats(min_value=0, max_value=1, exclude_max=True)


def test_the_triangle_rises_to_its_peak_and_falls_to_its_floor() -> None:
    peak = CIFAR10.warmup_fraction
    assert lr_factor(CIFAR10, peak / 2) == pytest.approx(0.5)
    assert lr_factor(CIFAR10, peak) == 1
    assert lr_factor(CIFAR10, 0.9999) == pytest.approx(CIFAR10.final_lr_fraction, abs=1e-3)


def test_steps_divide_the_rate_by_ten_at_each_fraction() -> None:
    assert [lr_factor(STEPS, at) for at in (0, 0.499, 0.5, 0.75)] == pytest.approx([1, 1, 0.1, 0.01])


@given(PROGRESS)
def test_the_rate_is_always_positive_and_never_above_its_peak(progress: float) -> None:
    for recipe in RECIPES.values():
        assert 0 < lr_factor(recipe, progress) <= 1


def test_a_phase_lasts_until_the_next_begins() -> None:
    recipe = CIFAR10.but(phases=(Phase(from_fraction=0, crop_px=16), Phase(from_fraction=0.5, crop_px=24)))
    assert [phase_at(recipe, at).crop_px for at in (0, 0.49, 0.5, 0.99)] == [16, 16, 24, 24]


@pytest.mark.parametrize("mistake", [{"ema_deacy": 0.9}, {"epochs": -3}, {"weight_decay": 1e-4}])
def test_a_change_that_no_recipe_can_have_is_refused(mistake: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        CIFAR10.but(**mistake)


def test_a_recipe_at_another_size_scales_every_length_in_pixels() -> None:
    double = at_size(CIFAR10, 64)
    assert double.size_px == 64
    assert double.pad_px == 2 * CIFAR10.pad_px
    assert [p.crop_px for p in double.phases] == [2 * p.crop_px for p in CIFAR10.phases]


def test_a_crop_that_the_stages_halve_to_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="halve the input to nothing"):
        BOTTLE.but(phases=(Phase(from_fraction=0, crop_px=31),))


@pytest.mark.parametrize(("recipe", "stages", "size_px"), [(BOTTLE, 2, 8), (CIFAR10, 7, 224)])
def test_a_start_that_neither_network_nor_size_of_the_recipe_would_fit_alone_brings_both(
    recipe: Recipe, stages: int, size_px: int
) -> None:
    network = Sequential(stages=((8,),) * stages, dense=8)
    adapted = Initial("", {}, network, size_px, "stretch", IMAGENET).adapt(recipe)
    assert (adapted.network, adapted.size_px) == (network, size_px)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_begins_with_its_first_step_and_is_valid_as_written(name: str) -> None:
    recipe = Recipe.model_validate(RECIPES[name].model_dump())
    assert recipe.phases[0].from_fraction == 0
    assert phase_at(recipe, 0) == recipe.phases[0]


def test_an_unknown_key_in_a_recipe_is_refused() -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        Recipe.model_validate(CIFAR10.model_dump() | {"learning_rate": 0.1})
