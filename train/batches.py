"""Batches of an epoch in a seeded order, each made while the network works on the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from train import schedule
from train.augment import augment
from train.data import Images
from train.recipe import Phase, Recipe
from train.regions import Regions
from train.splits import Indices

_REGIONS = 1  # a stream of random numbers beside that of `augment`


@dataclass(frozen=True)
class Batch:
    """`step` counts from the start of the run, of which `progress` is the share done.

    Pixels uint8 (n, 3, crop, crop), labels int64 (n,).
    """

    step: int
    progress: float
    phase: Phase
    pixels: Tensor
    labels: Tensor


def steps_per_epoch(recipe: Recipe, count: int) -> int:
    """Full batches only, so that every step is the same size; at least one."""
    return max(1, count // recipe.batch_size)


def of_epoch(
    recipe: Recipe,
    images: Images,
    chosen: Indices,
    epoch: int,
    first_step: int,
    rank: int,
    world_size: int,
    regions: Regions | None = None,
) -> Iterator[Batch]:
    """This process's share of every batch of `epoch` from `first_step` on; a function of its arguments.

    Nothing is carried from batch to batch, so a resumed run sees what the uninterrupted one saw.
    """
    per_epoch = steps_per_epoch(recipe, len(chosen))
    if regions:
        recipe = recipe.but(warp=None)
    order = np.random.default_rng([recipe.seed, epoch]).permutation(chosen)

    def make(step: int) -> Batch:
        at = (step - epoch * per_epoch) * recipe.batch_size
        mine = order[at : at + recipe.batch_size][rank::world_size]
        progress = step / (recipe.epochs * per_epoch)
        phase = schedule.phase_at(recipe, progress)
        seed = (recipe.seed * 1_000_003 + step) * 1_009 + rank
        pixels, labels = images.pixels[mine], images.labels[mine]
        if regions:
            generator = np.random.default_rng([seed, _REGIONS])
            pixels, labels = regions.vary(pixels, labels, mine, progress, generator)
        augmented = augment(pixels, mine, phase.crop_px, recipe, epoch, seed)
        return Batch(step, progress, phase, augmented, torch.from_numpy(labels))

    return _ahead(make, range(first_step, (epoch + 1) * per_epoch))


def _ahead(make: Callable[[int], Batch], steps: range) -> Iterator[Batch]:
    """One batch ahead, in one thread."""
    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(make, steps[0]) if steps else None
        for following in [*steps[1:], None]:
            if coming is None:
                return
            batch = coming.result()
            coming = worker.submit(make, following) if following is not None else None
            yield batch
