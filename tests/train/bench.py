"""What training costs beyond its arithmetic: `python -m tests.train.bench`. Wants a quiet machine.

Both sides do forward, backward and optimiser step on the shipped recipe's network. `bare` has one batch, in
memory, again and again; `loop` is what `python -m train` does, which also cuts and flips every batch anew,
averages the weights and looks at the loss. They take turns, a few steps each.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from models.manifest import Normalisation
from train import batches, dtype, loop, network, process
from train.data import Images
from train.distributed import World
from train.recipe import CIFAR10, Recipe
from train.splits import Splits
from train.state import State

IMAGES = 20_000
TURNS, STEPS = 5, 3
NORMALISATION = Normalisation(mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26))


def main() -> None:
    process.prepare()
    for phase in CIFAR10.phases:
        alone = phase.model_copy(update={"from_fraction": 0})
        bare, whole = compare(CIFAR10.but(phases=(alone,)))
        speeds = f"bare {bare:4.0f} images/s, loop {whole:4.0f} images/s ({whole / bare:.1%})"
        print(f"{phase.crop_px} px: {speeds}")


def compare(recipe: Recipe) -> tuple[float, float]:
    """Images a second, medians over the turns: (bare, loop)."""
    setting, state = prepare(recipe)
    model = network.of_phase(state.network, recipe.phases[0])
    coming = batches.of_epoch(recipe, setting.images, setting.splits.train, 0, 0, 0, 1)
    first = next(coming)
    sides: tuple[Callable[[], None], ...] = (
        lambda: bare_step(setting, state, model, first),
        lambda: whole_step(setting, state, model, coming),
    )
    for side in sides:  # the first step of each allocates
        side()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for side, spent in zip(sides, seconds, strict=True):
            spent.append(timed(side))
    bare, whole = (recipe.batch_size * STEPS / statistics.median(spent) for spent in seconds)
    return bare, whole


def bare_step(setting: loop.Setting, state: State, model: torch.nn.Module, batch: batches.Batch) -> None:
    with torch.autocast("cpu", setting.dtype, enabled=setting.dtype != torch.float32):
        logits = model(network.normalise(batch.pixels, setting.normalisation))
    torch.autograd.backward(torch.nn.functional.cross_entropy(logits.float(), batch.labels))
    for optimizer in state.optimisers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def whole_step(
    setting: loop.Setting, state: State, model: torch.nn.Module, coming: Iterator[batches.Batch]
) -> None:
    for batch in islice(coming, 1):
        loop.step(setting, state, model, batch)


def timed(side: Callable[[], None]) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        side()
    return time.perf_counter() - started


def prepare(recipe: Recipe) -> tuple[loop.Setting, State]:
    """A run over images of noise: what they show costs nothing more or less."""
    rng = np.random.default_rng(0)
    everyone = np.arange(IMAGES)
    images = Images(
        classes=tuple("abcdefghij"),
        pixels=rng.integers(0, 256, (IMAGES, recipe.size_px, recipe.size_px, 3), dtype=np.uint8),
        labels=rng.integers(0, 10, IMAGES),
        paths=("",) * IMAGES,
        digests=("",) * IMAGES,
        sides=(None,) * IMAGES,
    )
    world = World(0, 1, torch.device("cpu"))
    nobody = everyone[:0]
    splits = Splits(everyone, nobody, nobody, nobody)
    setting = loop.Setting(
        recipe,
        images,
        splits,
        NORMALISATION,
        Path(),
        world,
        dtype.choose("auto", world),
        save_every_s=60,
    )
    body = network.from_scratch(recipe, 10, torch.randn(64, 3, recipe.size_px, recipe.size_px))
    return setting, State.start(recipe, {}, body)


if __name__ == "__main__":
    main()
