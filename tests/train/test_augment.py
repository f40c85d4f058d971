from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.augment import augment, cutout, flipped, random_crop
from train.recipe import CIFAR10

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
