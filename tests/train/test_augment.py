from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from train.augment import affine_maps, augment, cutout, flipped, hue_turns, random_crop, relit, warped
from train.recipe import BOTTLE, CIFAR10, Photometric, Warp, at_size

INDICES = np.arange(64)
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)


def test_a_batch_is_a_function_of_its_seed() -> None:
    first, again, other = (augment(PIXELS, INDICES, 24, CIFAR10, 0, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_batch_comes_out_channels_first_at_the_size_of_the_crop() -> None:
    batch = augment(PIXELS, INDICES, 24, CIFAR10, 0, 1)
    assert batch.shape == (64, 3, 24, 24)
    assert batch.dtype == torch.uint8
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_an_image_is_flipped_in_one_of_every_two_epochs() -> None:
    first, second, third = (flipped(INDICES, epoch, seed=0) for epoch in range(3))
    assert (first != second).all()
    assert (first == third).all()
    assert 16 < first.sum() < 48


@given(crop=st.integers(8, 36), pad=st.integers(0, 2), seed=st.integers(0, 1000))
def test_every_crop_is_a_window_of_its_own_padded_image(crop: int, pad: int, seed: int) -> None:
    crop = min(crop, 32 + 2 * pad)
    batch = random_crop(PIXELS[:2], crop, pad, np.random.default_rng(seed))
    assert batch.shape == (2, crop, crop, 3)
    for image, window in zip(PIXELS, batch, strict=False):
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
        places = np.lib.stride_tricks.sliding_window_view(padded, window.shape)[:, :, 0]
        assert (places == window).all(axis=(2, 3, 4)).any()


def test_cutout_greys_one_square_and_leaves_the_rest() -> None:
    batch = np.zeros((64, 32, 32, 3), np.uint8)
    cutout(batch, 8, np.random.default_rng(0))
    greyed = (batch == 128).all(axis=3).sum(axis=(1, 2))
    assert greyed.max() == 64
    assert greyed.min() >= 16  # a corner
    assert set(np.unique(batch)) == {0, 128}


STILL = Warp(rotation_degrees=0, shift_fraction=0, shear_degrees=0, zoom_fraction=0)
DARK = Photometric(brightness=0, contrast=0, saturation=0, tint=0, hue_degrees=0, noise=0)
SMOOTH = np.repeat(np.repeat(PIXELS[:, :4, :4], 8, axis=1), 8, axis=2)


def test_bounds_of_nothing_change_nothing() -> None:
    generator = np.random.default_rng(0)
    assert np.array_equal(warped(PIXELS, affine_maps(64, STILL, generator)), PIXELS)
    assert np.array_equal(relit(PIXELS, DARK, generator), PIXELS)


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    maps = np.tile(np.array([[0, -1, 0], [1, 0, 0]], np.float32), (64, 1, 1))
    assert np.array_equal(warped(PIXELS, maps), np.rot90(PIXELS, axes=(1, 2)))


def test_every_image_has_a_map_within_the_bounds_and_of_its_own() -> None:
    warp = Warp(rotation_degrees=10, shift_fraction=0.1, shear_degrees=5, zoom_fraction=0.2)
    maps = affine_maps(1000, warp, np.random.default_rng(0))
    assert np.abs(maps[:, :, 2]).max() <= 0.2  # a tenth of a side that is 2 long
    turned = np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert 5 < np.abs(turned).max() < 16
    areas = np.linalg.det(maps[:, :, :2])
    assert 0.6 < areas.min() < 0.8 < 1.2 < areas.max() < 1.5
    assert len(np.unique(maps, axis=0)) == 1000


def test_a_scale_shows_more_or_less_of_the_image_and_both_sides_alike() -> None:
    warp = STILL.model_copy(update={"scale": (0.5, 2.0)})
    maps = affine_maps(1000, warp, np.random.default_rng(0))
    across, down = maps[:, 0, 0], maps[:, 1, 1]
    assert np.array_equal(across, down)
    assert 0.5 <= across.min() < 0.55 < 1.8 < across.max() <= 2
    assert 0.4 < (across < 1).mean() < 0.6  # halved as often as doubled


def test_relit_images_keep_their_shape_and_differ_in_light() -> None:
    light = Photometric(brightness=0.3, contrast=0.3, saturation=0.5, tint=0.1, hue_degrees=0, noise=0.0)
    made = relit(SMOOTH, light, np.random.default_rng(0))
    assert made.shape == SMOOTH.shape
    assert made.dtype == np.uint8
    means = made.mean(axis=(1, 2, 3)) / SMOOTH.mean(axis=(1, 2, 3))
    assert 0.6 < means.min() < 0.9 < 1.1 < means.max() < 1.4


def test_light_and_colour_are_changed_as_if_one_after_another() -> None:
    def around(bound: float, channels: int = 1) -> NDArray[np.float32]:
        return 1 + generator.uniform(-bound, bound, (64, 1, channels)).astype(np.float32)[:, None]

    light = BOTTLE.photometric
    assert light is not None
    made = relit(SMOOTH, light.model_copy(update={"noise": 0.0}), np.random.default_rng(0))
    generator = np.random.default_rng(0)
    brighter = SMOOTH * around(light.brightness) * around(light.tint, 3)
    contrast, saturation, _ = around(light.contrast), around(light.saturation), around(light.noise)
    turns = hue_turns(np.radians(light.hue_degrees) * (around(1.0) - 1).ravel())
    turned = np.einsum("nhwc,ndc->nhwd", brighter, turns)
    grey = turned.mean(axis=3, keepdims=True)
    vivid = grey + saturation * (turned - grey)
    middle = grey.mean(axis=(1, 2), keepdims=True)
    expected = (middle + contrast * (vivid - middle) + 0.5).clip(0, 255).astype(int)
    assert (made != expected).mean() < 0.001  # what float32 rounds the other way


def test_noise_is_of_every_value_and_of_at_most_the_deviation_asked_for() -> None:
    grey = np.full_like(PIXELS, 128)
    noise = relit(grey, DARK.model_copy(update={"noise": 0.04}), np.random.default_rng(0)) - 128.0
    deviations = noise.std(axis=(1, 2, 3))
    assert 0 <= deviations.min() < 3 < 8 < deviations.max() < 11  # of 0.04 x 255 = 10.2
    first, second = noise[np.argsort(deviations)[-2:]]
    for one, other in ((first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
    assert np.abs(np.corrcoef(first.reshape(-1, 3).T) - np.eye(3)).max() < 0.2


def test_a_hue_turned_by_a_third_of_the_way_is_another_channel_and_grey_stays_grey() -> None:
    (third, none) = hue_turns(np.radians(np.array([120, 0], np.float32)))
    assert third @ [1, 0, 0] == pytest.approx([0, 1, 0], abs=1e-6)
    assert third @ [0.4, 0.4, 0.4] == pytest.approx([0.4, 0.4, 0.4], abs=1e-6)
    assert none == pytest.approx(np.eye(3), abs=1e-6)


def test_the_bottle_recipe_is_a_function_of_its_seed_too() -> None:
    recipe = at_size(BOTTLE, 32)
    first, again, other = (augment(PIXELS, INDICES, 32, recipe, 0, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
