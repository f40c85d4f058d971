"""How a network is trained: every number of a recipe in one frozen block, with where it comes from."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from models.manifest import Normalisation


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Phase(_Frozen):
    """A stretch of the training with its own cost per image."""

    from_fraction: float = Field(ge=0, lt=1, description="share of the steps after which it begins")
    crop_px: int = Field(ge=4, description="side of the random crop the network is trained on")
    blocks: Literal[1, 2] = Field(default=2, description="residual blocks per stage that are trained")
    frozen_body: bool = Field(default=False, description="train the new head alone")
    lr_scale: float = Field(default=1.0, gt=0, description="of the learning rates in this phase")


class Recipe(_Frozen):
    """Everything that decides the weights, apart from the data and the starting point."""

    name: str
    stem: Literal["3x3", "stock"]
    size_px: int = Field(ge=8, description="side of the decoded image and of the served input")
    resize: Literal["stretch", "crop"]
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2, description="images per step over all processes")
    optimiser: Literal["muon", "sgd"]
    peak_lr: float = Field(gt=0, description="SGD: of everything; Muon: of what is not a convolution")
    muon_lr: float = Field(default=0.0, ge=0, description="relative change of a kernel per step")
    momentum: float = Field(ge=0, lt=1)
    muon_momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(ge=0, description="on kernels only, never on norms and biases")
    schedule: Literal["triangle", "steps"]
    warmup_fraction: float = Field(default=0.0, ge=0, lt=1)
    final_lr_fraction: float = Field(default=0.0, ge=0, le=1)
    step_fractions: tuple[float, ...] = Field(default=(), description="where `steps` divides the rate by 10")
    label_smoothing: float = Field(ge=0, lt=1)
    pad_px: int = Field(ge=0, description="reflected border before the random crop")
    cutout_px: int = Field(default=0, ge=0)
    flip: bool = True
    whiten_stem: bool = False
    ema_decay: float = Field(ge=0, lt=1, description="of the averaged weights, per step; 0: no average")
    phases: tuple[Phase, ...] = Field(min_length=1)
    normalisation: Normalisation | None = Field(default=None, description="none: measured on train")
    validation_fraction: float = Field(gt=0, lt=1, description="of train, where no val folder is given")
    test_fraction: float = Field(default=0.1, gt=0, lt=1, description="where no test folder is given")
    early_stop_epochs: int = Field(default=0, ge=0, description="epochs without a better one; 0: never")
    seed: int = 0


# CIFAR-10 from scratch where arithmetic is the only cost that matters: two shared CPU cores. Cheap, and
# only the first half: it ends at 89.7 % (train/LOG.md, entry 2), where CIFAR10 takes over.
# - Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for the convolutions, every kernel held
#   at its initial norm; whitened first layer, alternating flips, reflected 2-pixel translation: facts
#   from airbench94 (Jordan 2024, arXiv 2404.00498), whose Muon variant takes 0.24 and 0.6 at batch 2,000.
# - 20- then 24-pixel crops (the same objects at the same scale for 0.39 and 0.56 of the cost), and one
#   residual block a stage for the first half: the second block starts as the identity, so that adding it
#   changes only what can be learnt (zero gamma: Goyal et al. 2017, arXiv 1706.02677).
CIFAR10_CROPS = Recipe(
    name="cifar10-crops",
    stem="3x3",
    size_px=32,
    resize="stretch",
    epochs=22,
    batch_size=512,
    optimiser="muon",
    peak_lr=0.1,
    muon_lr=0.1,
    momentum=0.9,
    muon_momentum=0.85,
    weight_decay=0.0,
    schedule="triangle",
    warmup_fraction=0.05,
    final_lr_fraction=0.02,
    label_smoothing=0.1,
    pad_px=2,
    whiten_stem=True,
    ema_decay=0.95,
    phases=(
        Phase(from_fraction=0, crop_px=20, blocks=1),
        Phase(from_fraction=0.5, crop_px=24),
        Phase(from_fraction=0.92, crop_px=32),
    ),
    # Mean and deviation of the training pixels, as everybody rounds them.
    normalisation=Normalisation(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
    validation_fraction=0.05,
)

# CIFAR-10 at full size, from the weights of CIFAR10_CROPS: all blocks, whole images moved by up to four
# pixels (He et al. 2015), rates risen again to 0.6 of the first run's and brought down to nothing (a warm
# restart: Loshchilov and Hutter 2016, arXiv 1608.03983).
CIFAR10 = CIFAR10_CROPS.model_copy(
    update={
        "name": "cifar10",
        "epochs": 13,
        "peak_lr": 0.06,
        "muon_lr": 0.06,
        "warmup_fraction": 0.08,
        "final_lr_fraction": 0.0,
        "pad_px": 4,
        "whiten_stem": False,
        "phases": (Phase(from_fraction=0, crop_px=32),),
    }
)

# The schedule ResNets were first trained with on CIFAR-10 (He et al. 2015, arXiv 1512.03385, section
# 4.2: SGD 0.1, divided by 10 at half and three quarters, weight decay 1e-4, 4-pixel padding), on every
# layer from the first step: the baseline the other recipes are measured against.
STEPS = Recipe(
    name="steps",
    stem="3x3",
    size_px=32,
    resize="stretch",
    epochs=164,
    batch_size=128,
    optimiser="sgd",
    peak_lr=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    schedule="steps",
    step_fractions=(0.5, 0.75),
    label_smoothing=0.0,
    pad_px=4,
    ema_decay=0.0,
    phases=(Phase(from_fraction=0, crop_px=32),),
    validation_fraction=0.1,
)

# Any folder of classes, from random weights: one-cycle Nesterov SGD (Smith 2017, arXiv 1708.07120),
# 5e-4 on kernels alone and cutout (arXiv 1708.04552) at a quarter of the side.
SCRATCH = STEPS.model_copy(
    update={
        "name": "scratch",
        "epochs": 30,
        "schedule": "triangle",
        "warmup_fraction": 0.2,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "cutout_px": 8,
        "ema_decay": 0.98,
    }
)

# Any folder of classes, from trained weights: the new head alone while its gradients are wild, then all
# layers at a tenth of the rate (Howard and Ruder 2018, arXiv 1801.06146, for the order). The size,
# stem, resize and normalisation are those of the weights.
FINETUNE = SCRATCH.model_copy(
    update={
        "name": "finetune",
        "epochs": 10,
        "batch_size": 64,
        "peak_lr": 0.05,
        "warmup_fraction": 0.05,
        "cutout_px": 0,
        "ema_decay": 0.95,
        "phases": (
            Phase(from_fraction=0, crop_px=32, frozen_body=True),
            Phase(from_fraction=0.2, crop_px=32, lr_scale=0.2),
        ),
        "early_stop_epochs": 5,
    }
)

RECIPES = {recipe.name: recipe for recipe in (CIFAR10_CROPS, CIFAR10, STEPS, SCRATCH, FINETUNE)}


def at_size(recipe: Recipe, size_px: int) -> Recipe:
    """The recipe for another input size, with every length in pixels scaled alike."""
    scale = size_px / recipe.size_px
    phases = tuple(
        phase.model_copy(update={"crop_px": round(phase.crop_px * scale)}) for phase in recipe.phases
    )
    lengths = {"pad_px": round(recipe.pad_px * scale), "cutout_px": round(recipe.cutout_px * scale)}
    return recipe.model_copy(update={"size_px": size_px, "phases": phases, **lengths})
