"""One training, from the command line to the artifact."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.images import Preprocessing
from models.manifest import Normalisation
from train import batches, checkpoint, data, dtype, initial, loop, network, regions, splits
from train.data import Images, Policy, Rejected
from train.distributed import World
from train.errors import DataError, RunError
from train.initial import Initial
from train.interrupt import Interrupt
from train.progress import Progress
from train.publish import REPORT, Publication, publish
from train.recipe import Recipe
from train.regions import Regions
from train.sources import open_source
from train.splits import Splits
from train.state import State

WHITENING_IMAGES = 2000
STATISTICS_IMAGES = 10_000


@dataclass(frozen=True)
class Options:
    """What is not part of the recipe: where things are and how this machine runs it.

    `command` is what was typed, for the record.
    """

    command: str
    data: Path
    directory: Path
    cache: Path
    bad_files: Policy
    resume: bool
    dtype: str
    save_every_s: float


def as_typed(arguments: Sequence[str]) -> str:
    """The command that makes the model anew; of absolute paths the last part, the rest being private."""
    told = [re.sub(r"(^|=)/(.*/)?(?=.)", r"\1", word) for word in arguments if word != "--resume"]
    return shlex.join(["python", "-m", "train", *told])


def train(
    recipe: Recipe, start: Initial | None, options: Options, wanted: Publication, world: World
) -> Path | None:
    """Train and publish; the new version's directory, in the first process.

    Raises TrainError before the first epoch for whatever can be known before it.
    """
    source = open_source(options.data)
    preprocessing = Preprocessing(size=recipe.size_px, resize=recipe.resize)
    images, rejected = data.load(source, preprocessing, options.cache, options.bad_files)
    data.check_classes(images)
    sides = splits.split(images, recipe.validation_fraction, recipe.test_fraction, recipe.seed)
    sides = splits.balanced(sides, images, recipe.per_class, recipe.seed)
    _check_shares(recipe, sides, world)
    normalisation = recipe.normalisation or measure_normalisation(images, sides)
    setting = loop.Setting(
        recipe,
        images,
        sides,
        normalisation,
        options.directory,
        world,
        dtype.choose(options.dtype, world),
        options.save_every_s,
        _regions(recipe, images, options.data),
    )
    with ExitStack() as held:
        world.from_first(lambda: held.enter_context(checkpoint.sole_owner(options.directory)))
        state = _state(setting, start, options.resume)
        held.enter_context(_told_how_to_go_on())
        _fit(setting, state, start, rejected)
        if world.first:
            record = {"source": source.name, **sides.record(images.digests, recipe.seed)}
            training = {"command": options.command} | _provenance(setting, state, start, record)
            directory = publish(setting, state, training, wanted, options.resume)
            print(f"{directory}\n{options.directory / REPORT}")
            return directory
    return None


def _regions(recipe: Recipe, images: Images, folder: Path) -> Regions | None:
    """Where the recipe has a use for them, sees whole images, and the folder tells them; raises DataError."""
    if recipe.regions is None or not recipe.sees_whole_images:
        return None
    boxes, lost = regions.read(folder, images.paths), recipe.regions.lost_class
    if boxes is None:
        return None
    if lost not in images.classes:
        raise DataError(f"images without their region are {lost!r}: no class of this folder")
    return Regions(boxes, recipe.regions, images.classes.index(lost))


@contextmanager
def _told_how_to_go_on() -> Iterator[None]:
    """Who stops the run hears how it is gone on with."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note("--resume continues")
        raise


def _check_shares(recipe: Recipe, sides: Splits, world: World) -> None:
    """Batch norms need two images a step in every process; raises DataError."""
    images = min(recipe.batch_size, len(sides.train))
    if images < 2 * world.size:
        raise DataError(f"{images} images a step are too few for {world.size} processes: two each at least")


def _state(setting: loop.Setting, start: Initial | None, resume: bool) -> State:
    """A new state, or the one that the first process finds on its disk; raises RunError when that says
    otherwise, or when the processes are not about to train the same thing.
    """
    path, world = setting.directory / loop.CHECKPOINT, setting.world
    identity = _identity(setting, start)
    check_alike(world.everyone({**identity, "epochs": setting.recipe.epochs, "--resume": resume}))
    check_directory(setting.directory, world.everyone(path.exists()), resume)
    body = _network(setting, start).to(world.device)
    state = State.start(setting.recipe, identity, body)
    if resume:
        state.restore(path, world.from_first(lambda: checkpoint.load(path)))
    elif world.first:
        state.save(path)  # so that `--resume` goes on from a kill at any moment
    return state


def check_directory(directory: Path, holds_a_run: list[bool], resume: bool) -> None:
    """The first process's directory is the one that counts: on several machines they may be several."""
    if holds_a_run[0] and not resume:
        raise RunError(f"{directory} holds a run: --resume continues it, another --output starts anew")
    if resume and not holds_a_run[0]:
        others = [rank for rank, found in enumerate(holds_a_run) if found]
        elsewhere = f", but process {others[0]}'s does: make it the first" if others else ""
        raise RunError(f"{directory} holds no run to resume{elsewhere}")


def check_alike(plans: list[dict[str, Any]]) -> None:
    """Data and arguments are each machine's own; raises RunError where they differ from the first's."""
    for rank, plan in enumerate(plans):
        if different := [key for key, value in plans[0].items() if plan[key] != value]:
            raise RunError(f"process {rank} is not like the first in {', '.join(different)}")


def _network(setting: loop.Setting, start: Initial | None) -> nn.Module:
    recipe, classes = setting.recipe, setting.images.classes
    if start:
        return network.from_weights(recipe, classes, start.weights, start.classes)
    return network.from_scratch(recipe, len(classes), _sample(setting))


def _sample(setting: loop.Setting) -> Tensor:
    generator = np.random.default_rng(setting.recipe.seed)
    chosen = np.sort(generator.permutation(setting.splits.train)[:WHITENING_IMAGES])
    pixels = torch.from_numpy(np.ascontiguousarray(setting.images.pixels[chosen])).permute(0, 3, 1, 2)
    return network.normalise(pixels, setting.normalisation)


def _identity(setting: loop.Setting, start: Initial | None) -> dict[str, Any]:
    """What must be the same for a resumed run to be the same run."""
    return {
        "recipe": setting.recipe.model_dump(mode="json", exclude={"epochs"}),
        "start": start.description if start else "random weights",
        "classes": list(setting.images.classes),
        "splits": setting.splits.record(setting.images.digests, setting.recipe.seed),
        "regions": setting.regions.digest if setting.regions else None,
        "dtype": str(setting.dtype),
        "processes": setting.world.size,
    }


def _fit(setting: loop.Setting, state: State, start: Initial | None, rejected: tuple[Rejected, ...]) -> None:
    recipe, sides, world = setting.recipe, setting.splits, setting.world
    total = recipe.epochs * batches.steps_per_epoch(recipe, len(sides.train))
    progress = Progress(total, state.step, setting.directory if world.first else None)
    for file in rejected:
        progress.say(f"skipped {file}")
    progress.say(
        f"{len(sides.train)} images to train on, {len(sides.val)} to validate, {len(sides.test)} to test, "
        f"{len(sides.leaked)} copies left out, {len(rejected)} files skipped; "
        f"{total} steps at {recipe.size_px}x{recipe.size_px} pixels"
    )
    if recipe.regions:
        known = setting.regions.known if setting.regions else 0
        progress.say(f"{known} of {len(setting.images)} images have known regions and can be varied far")
    test_sha256 = state.identity["splits"]["content_sha256"]["test"]
    if start and start.flatters(setting.images.classes, test_sha256):
        progress.say(
            f"warning: {start.description} kept other images back to test on: if it was trained on some of "
            "these, the test figures flatter this run"
        )
    try:
        with Interrupt() as interrupt:
            loop.run(setting, state, progress, interrupt)
    finally:
        progress.close()


def _provenance(
    setting: loop.Setting, state: State, start: Initial | None, record: dict[str, Any]
) -> dict[str, Any]:
    recipe = setting.recipe
    return {
        "start": start.description if start else "random weights",
        "petaflop": float(f"{state.flops / 1e15:.4g}"),
        "hours": round(state.seconds / 3600, 3),
        "lengths": state.lengths,
        "processes": setting.world.size,
        "device": setting.world.device.type,
        "dtype": str(setting.dtype).removeprefix("torch."),
        "torch": str(torch.__version__),
        "data": record,
        **({"regions": setting.regions.digest} if setting.regions else {}),
        "recipe": recipe.model_dump(mode="json"),
    }


def measure_normalisation(images: Images, sides: Splits) -> Normalisation:
    """Per-channel mean and deviation of (at most 10,000 of) the training pixels, to four places."""
    chosen = sides.train[:: -(-len(sides.train) // STATISTICS_IMAGES)]
    counts = np.zeros((3, 256))  # of each value in each channel: all pixels as floats would fill the memory
    for i in chosen:
        channels = images.pixels[i].reshape(-1, 3).T
        counts += np.stack([np.bincount(channel, minlength=256) for channel in channels])
    values, shares = np.arange(256) / 255, counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    deviation = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))
    return Normalisation(
        mean=initial.per_channel(mean.round(4)), std=initial.per_channel(deviation.round(4).clip(1e-3))
    )
