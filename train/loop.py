"""The training loop, top to bottom."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.manifest import Normalisation
from train import batches, cost, network, optimiser, schedule
from train.data import Images
from train.distributed import World
from train.errors import Diverged
from train.interrupt import Interrupt, Interrupted
from train.progress import Progress
from train.recipe import Recipe
from train.regions import Regions
from train.splits import Indices, Splits
from train.state import State

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
NORM_IMAGES = 2048
TRIAL_IMAGES = 64
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Setting:
    """What the loop works with and never changes."""

    recipe: Recipe
    images: Images
    splits: Splits
    normalisation: Normalisation
    directory: Path
    world: World
    dtype: torch.dtype
    save_every_s: float
    regions: Regions | None = None


def run(setting: Setting, state: State, progress: Progress, interrupt: Interrupt) -> None:
    """Train from `state.step` to the end; the best averaged weights end up in `best.pt`.

    Raises Diverged when the loss is not finite and Interrupted after Ctrl-C or SIGTERM; the checkpoint on
    disk is then the last sound one, and after a signal it is that of the last step.
    """
    saver = _Saver(setting, state)
    for epoch in range(len(state.history), setting.recipe.epochs):
        if setting.world.any(_stale(setting.recipe, state)):
            progress.say(f"no better for {setting.recipe.early_stop_epochs} epochs: stopping early")
            return
        _train_epoch(setting, state, epoch, saver, progress, interrupt)
        _end_epoch(setting, state, saver.seconds, progress)
        saver.save()
        if leaving := _leaving(setting, interrupt):
            raise Interrupted(leaving)


def _train_epoch(
    setting: Setting, state: State, epoch: int, saver: _Saver, progress: Progress, interrupt: Interrupt
) -> None:
    """What is left of one epoch, saving now and then."""
    recipe, world = setting.recipe, setting.world
    phase, model = None, state.network
    for batch in batches.of_epoch(
        recipe,
        setting.images,
        setting.splits.train,
        epoch,
        state.step,
        world.rank,
        world.size,
        setting.regions,
    ):
        if batch.phase != phase:
            phase = batch.phase
            model = world.wrap(network.of_phase(state.network, phase))
        optimiser.scale_lr(state.optimisers, schedule.lr_factor(recipe, batch.progress))
        loss = step(setting, state, model, batch)
        state.step += 1
        state.loss_sum += loss
        images = min(recipe.batch_size, len(setting.splits.train))
        state.flops += cost.step_flops(recipe, len(setting.images.classes), phase, images)
        progress.step(state.step, loss, images)
        leaving = _leaving(setting, interrupt)
        if leaving or saver.due:
            saver.save()
        if leaving:
            raise Interrupted(leaving)


def _leaving(setting: Setting, interrupt: Interrupt) -> int:
    """The signal by which somebody at any process has asked to stop, or 0."""
    return setting.world.largest(interrupt.asked)


def step(setting: Setting, state: State, model: nn.Module, batch: batches.Batch) -> float:
    """Forward, backward, step, average; returns the mean loss over this process's images.

    Raises Diverged, in every process and before the weights change, when that is not finite in one.
    """
    device = setting.world.device
    pixels, labels = batch.pixels.to(device), batch.labels.to(device)
    model.train()
    with torch.autocast(device.type, setting.dtype, enabled=setting.dtype != torch.float32):
        logits = model(network.normalise(pixels, setting.normalisation))
    loss = nn.functional.cross_entropy(logits.float(), labels, label_smoothing=setting.recipe.label_smoothing)
    torch.autograd.backward(loss)
    value = float(loss.item())  # after both passes are under way: a GPU works on while it is waited for
    if setting.world.any(not math.isfinite(value)):
        raise Diverged(f"the loss is {value} at step {batch.step + 1}; what was saved before it stands")
    for optimizer in state.optimisers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    state.average.update(state.network, batch.step)
    return value


def sound(setting: Setting, state: State) -> bool:
    """Whether the weights are numbers and give numbers: the next loss would show it, after they are saved.

    Tried on a copy, because a forward pass moves the statistics of the batch norms.
    """
    model = copy.deepcopy(state.network).train()
    with torch.no_grad():
        logits = model(_normalised(setting, setting.splits.train[:TRIAL_IMAGES]))
    return _finite([logits, *model.state_dict().values(), *state.average.network.state_dict().values()])


def _finite(values: list[Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in values)


def _end_epoch(setting: Setting, state: State, seconds: float, progress: Progress) -> None:
    """Validate the averaged weights, keep them if they are the best so far, write the epoch down.

    Raises Diverged when the weights are no longer sound.
    """
    _check(setting, state, sound(setting, state))
    per_epoch = batches.steps_per_epoch(setting.recipe, len(setting.splits.train))
    phase = schedule.phase_at(setting.recipe, (state.step - 1) / (setting.recipe.epochs * per_epoch))
    model = state.average.network
    if not phase.frozen_body:  # the head was trained on the body's own statistics
        network.measure_batch_norms(model, (_normalised(setting, part) for part in norm_parts(setting)))
    logits = predict(setting, model, setting.splits.val)
    _check(setting, state, _finite([logits, *model.state_dict().values()]))  # with the statistics measured
    labels = torch.from_numpy(setting.images.labels[setting.splits.val])
    accuracy = float((logits.argmax(1) == labels).double().mean())
    epoch = {
        "epoch": state.step // per_epoch,
        "train_loss": state.loss_sum / per_epoch,
        "val_loss": float(nn.functional.cross_entropy(logits, labels)),
        "val_accuracy": accuracy,
        "crop_px": phase.crop_px,
        "seconds": round(seconds, 1),
    }
    state.history.append(epoch)
    state.loss_sum = 0.0
    if _since_best(state) == 0 and setting.world.first:
        network.save_weights(state.average.network, setting.directory / BEST)
    progress.epoch(epoch)


def _check(setting: Setting, state: State, sound: bool) -> None:
    if setting.world.any(not sound):
        raise Diverged(f"the weights are useless after step {state.step}; what was saved before it stands")


@torch.inference_mode()
def predict(setting: Setting, model: nn.Module, indices: Indices) -> Tensor:
    """Logits float32 (n, classes) on the CPU, at the served size, without augmentation."""
    model.eval()
    world = setting.world
    parts = _parts(indices[world.rank :: world.size])
    nothing = torch.empty(0, len(setting.images.classes))  # a process may have no image
    mine = torch.cat([nothing, *(model(_normalised(setting, part)).float().cpu() for part in parts)])
    return world.gather(mine, len(indices))


def _normalised(setting: Setting, indices: Indices) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(setting.images.pixels[indices])).permute(0, 3, 1, 2)
    return network.normalise(pixels.to(setting.world.device), setting.normalisation)


def norm_parts(setting: Setting) -> list[Indices]:
    """Training images for the batch norms in parts of one size, since each part counts alike.

    A part is never a single image, of which there are no statistics, nor larger than EVALUATION_BATCH.
    """
    sample = np.random.default_rng(setting.recipe.seed).permutation(setting.splits.train)[:NORM_IMAGES]
    parts = -(-len(sample) // EVALUATION_BATCH)
    size = len(sample) // parts
    return list(sample[: parts * size].reshape(parts, size))


def _parts(indices: Indices) -> list[Indices]:
    return [indices[at : at + EVALUATION_BATCH] for at in range(0, len(indices), EVALUATION_BATCH)]


def _stale(recipe: Recipe, state: State) -> bool:
    return bool(recipe.early_stop_epochs and state.history) and _since_best(state) >= recipe.early_stop_epochs


def _since_best(state: State) -> int:
    """Epochs after the best one: that of the most right answers and, on few images where many have as many,
    of the least loss; the first of those that are alike.
    """
    merits = [(epoch["val_accuracy"], -epoch["val_loss"]) for epoch in state.history]
    return len(merits) - 1 - merits.index(max(merits))


class _Saver:
    """Writes the checkpoint, and knows when the next one is due and how long the run has taken."""

    def __init__(self, setting: Setting, state: State) -> None:
        self._setting, self._state = setting, state
        self._saved_at = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._saved_at > self._setting.save_every_s

    @property
    def seconds(self) -> float:
        """Of the whole run so far, those before a kill included."""
        return self._state.seconds + time.monotonic() - self._saved_at

    def save(self) -> None:
        """Keeps the previous checkpoint where the weights are not sound; the next loss ends such a run."""
        self._state.seconds, self._saved_at = self.seconds, time.monotonic()
        if self._setting.world.first and sound(self._setting, self._state):
            self._state.save(self._setting.directory / CHECKPOINT)
