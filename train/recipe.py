"""How a network is trained: every number of a recipe in one frozen block, with where it comes from."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from models.manifest import Network, Normalisation, ResNet18, Sequential, check_large_enough


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Phase(_Frozen):
    """A stretch of the training with its own cost per image."""

    from_fraction: float = Field(ge=0, lt=1, description="share of the steps after which it begins")
    crop_px: int = Field(ge=4, description="side of the random crop the network is trained on")
    frozen_body: bool = Field(default=False, description="train the new head alone")


class Warp(_Frozen):
    """Random affine maps, each drawn evenly from minus to plus its bound (of zoom: around 1)."""

    rotation_degrees: float = Field(ge=0, le=180)
    shift_fraction: float = Field(ge=0, lt=1, description="of the side")
    shear_degrees: float = Field(ge=0, lt=45)
    zoom_fraction: float = Field(ge=0, lt=1, description="of each side by itself")
    scale: tuple[float, float] = Field(
        default=(1.0, 1.0), description="how much of both sides is seen, evenly in its logarithm"
    )

    @field_validator("scale")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("the least first, and above 0")
        return value


class RegionRule(_Frozen):
    """What is done first, and in place of `warp`, where a folder tells regions (`train/regions.py`)."""

    kept: Warp = Field(description="maps, of which those count that keep the first region whole")
    margin_fraction: float = Field(ge=0, lt=0.5, description="of the side, around it")
    least_fraction: float = Field(ge=0, lt=1, description="of the side: how wide it must stay")
    lost: Warp = Field(description="maps, of which those count that leave no region in the image")
    lost_share: float = Field(ge=0, le=1, description="of the images with a region, as far as maps are found")
    lost_class: str = Field(description="the class of an image without one")
    patch_share: float = Field(ge=0, le=1, description="of all images: partly covered by another one")
    closing: Warp = Field(description="maps in place of `kept` at the end, when nothing is lost or covered")
    closing_from_fraction: float = Field(ge=0, le=1, description="share of the steps after which that is so")

    def at(self, progress: float) -> RegionRule:
        """The rule as it is at `progress` (0 to 1) of the training."""
        if progress < self.closing_from_fraction:
            return self
        return self.model_copy(update={"kept": self.closing, "lost_share": 0.0, "patch_share": 0.0})


class Photometric(_Frozen):
    """Random changes of light and colour, each drawn evenly from minus to plus its bound (around 1)."""

    brightness: float = Field(ge=0, lt=1)
    contrast: float = Field(ge=0, lt=1)
    saturation: float = Field(ge=0, lt=1)
    tint: float = Field(ge=0, lt=1, description="of each channel by itself")
    hue_degrees: float = Field(ge=0, le=180, description="all colours of an image turned alike")
    noise: float = Field(ge=0, lt=1, description="largest deviation of a pixel's own noise")


class Recipe(_Frozen):
    """Everything that decides the weights, apart from the data and the starting point."""

    name: str
    network: Network
    size_px: int = Field(ge=8, description="side of the decoded image and of the served input")
    resize: Literal["stretch", "crop"]
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2, description="images per step over all processes")
    optimiser: Literal["muon", "sgd"]
    peak_lr: float = Field(
        gt=0, description="SGD: of everything; Muon: of the first convolution and what is none"
    )
    muon_lr: float = Field(default=0.0, ge=0, description="relative change of a kernel per step")
    momentum: float = Field(ge=0, lt=1)
    muon_momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(
        ge=0, description="SGD's, on the weights of every layer, never on norms and biases; Muon: none"
    )
    schedule: Literal["triangle", "steps"]
    warmup_fraction: float = Field(default=0.0, ge=0, lt=1)
    final_lr_fraction: float = Field(default=0.0, ge=0, le=1)
    step_fractions: tuple[float, ...] = Field(default=(), description="where `steps` divides the rate by 10")
    label_smoothing: float = Field(ge=0, lt=1)
    pad_px: int = Field(ge=0, description="reflected border before the random crop")
    cutout_px: int = Field(default=0, ge=0)
    flip: bool = Field(default=True, description="mirror every other time; not where mirrored means another")
    warp: Warp | None = None
    regions: RegionRule | None = None
    photometric: Photometric | None = None
    whiten_stem: bool = False
    ema_decay: float = Field(ge=0, lt=1, description="of the averaged weights, per step; 0: no average")
    phases: tuple[Phase, ...] = Field(min_length=1)
    normalisation: Normalisation | None = Field(default=None, description="none: measured on train")
    validation_fraction: float = Field(gt=0, lt=1, description="of train, where no val folder is given")
    test_fraction: float = Field(default=0.1, gt=0, lt=1, description="where no test folder is given")
    per_class: int | None = Field(
        default=None, ge=1, description="images of each class to train on, drawn once; none: all there are"
    )
    early_stop_epochs: int = Field(default=0, ge=0, description="epochs without a better one; 0: never")
    seed: int = Field(default=0, ge=0)

    @field_validator("weight_decay")
    @classmethod
    def _has_an_effect(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("optimiser") == "muon":
            raise ValueError("Muon keeps every kernel at its norm, so nothing would decay")
        return value

    @model_validator(mode="after")
    def _large_enough(self) -> Recipe:
        check_large_enough(self.network, min(self.size_px, *(phase.crop_px for phase in self.phases)))
        return self

    @property
    def sees_whole_images(self) -> bool:
        """Whether every place of an image is where it was in the file, in shares of its sides."""
        cropped = self.pad_px or any(phase.crop_px != self.size_px for phase in self.phases)
        return self.resize == "stretch" and not cropped

    def but(self, **changes: Any) -> Recipe:
        """The recipe with these changes; raises ValidationError for a name or value that no recipe has."""
        return Recipe.model_validate(dict(self) | changes)


# CIFAR-10 from scratch on two shared CPU cores: 90.9 % in two hours where they have AMX's tiles
# (train/LOG.md, entry 12; entries 2, 6 and 11 for what did worse).
# - Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for the convolutions, every kernel held
#   at its initial norm; whitened first layer and alternating flips: facts from airbench94 (Jordan 2024,
#   arXiv 2404.00498), whose Muon variant takes 0.24 and 0.6 at batch 2,000.
# - Crops of 24, then 28 pixels (the same objects at the same scale for 0.6 and 0.8 of the time), whole
#   images for the second half; cutout, without which the images are learnt by heart (entry 6).
# - The second block of each stage starts as the identity (zero gamma: Goyal et al. 2017, arXiv 1706.02677).
CIFAR10 = Recipe(
    name="cifar10",
    network=ResNet18(stem="3x3"),
    size_px=32,
    resize="stretch",
    epochs=30,
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
    pad_px=4,
    cutout_px=10,
    whiten_stem=True,
    ema_decay=0.95,
    phases=(
        Phase(from_fraction=0, crop_px=24),
        Phase(from_fraction=0.25, crop_px=28),
        Phase(from_fraction=0.5, crop_px=32),
    ),
    # Mean and deviation of the training pixels, as everybody rounds them.
    normalisation=Normalisation(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
    validation_fraction=0.05,
)

# The schedule ResNets were first trained with on CIFAR-10 (He et al. 2015, arXiv 1512.03385, section
# 4.2: SGD 0.1, divided by 10 at half and three quarters, weight decay 1e-4, 4-pixel padding), on every
# layer from the first step: the baseline the other recipes are measured against. Norms and biases do not
# decay, as has become usual (He et al. 2018, arXiv 1812.01187, section 3.1).
STEPS = Recipe(
    name="steps",
    network=ResNet18(stem="3x3"),
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
# a weight decay of 5e-4 and cutout (arXiv 1708.04552) at a quarter of the side.
SCRATCH = STEPS.but(
    name="scratch",
    epochs=30,
    schedule="triangle",
    warmup_fraction=0.2,
    weight_decay=5e-4,
    label_smoothing=0.1,
    cutout_px=8,
    ema_decay=0.98,
)

# Any folder of classes, from trained weights: the new head alone while its gradients are wild, then all
# layers (Howard and Ruder 2018, arXiv 1801.06146, for the order). Muon, because its rate is the relative
# change of a kernel per step and so fits weights of any norm (train/LOG.md, entry 7). The size, network,
# resize and normalisation are those of the weights.
FINETUNE = SCRATCH.but(
    name="finetune",
    epochs=10,
    batch_size=64,
    optimiser="muon",
    peak_lr=0.05,
    muon_lr=0.02,
    muon_momentum=0.85,
    weight_decay=0.0,
    warmup_fraction=0.05,
    cutout_px=0,
    ema_decay=0.95,
    phases=(
        Phase(from_fraction=0, crop_px=32, frozen_body=True),
        Phase(from_fraction=0.1, crop_px=32),
    ),
)

# Open, closed or cannot tell, from rendered bottles (`python -m train bottles`). A small network under Muon,
# ahead of SGD by twenty points after six epochs (train/LOG.md, entry 10), on images large enough that a mouth
# is at least 19 pixels wide (entry 16).
# - The manifest of the renders says where the mouths are. So an image may be warped far, as long as its mouth
#   stays in; where it leaves, the answer is `unknown`; and what is not the mouth may be covered. At the end
#   little is done to it, as to the images that will be asked about (entry 13).
# - Images of a folder without such a manifest are warped less than is usual: a mouth moved out of the frame
#   would be a wrong label.
# - Hues are turned all the way round: whether a cap is there must not depend on its colour or the glass's.
# - No label smoothing: it blurs how sure the answers are (Zhu et al. 2022, arXiv 2206.09034).
_LITTLE = Warp(rotation_degrees=8, shift_fraction=0.03, shear_degrees=4, zoom_fraction=0.06)
BOTTLE = SCRATCH.but(
    name="bottle",
    network=Sequential(stages=((16,), (32,), (64,), (96, 96), (192, 192)), dense=64, stem="5x5"),
    size_px=144,
    epochs=75,
    batch_size=64,
    optimiser="muon",
    peak_lr=0.05,
    muon_lr=0.04,
    muon_momentum=0.85,
    weight_decay=0.0,
    label_smoothing=0.0,
    pad_px=0,
    cutout_px=0,
    phases=(Phase(from_fraction=0, crop_px=144),),
    warp=_LITTLE,
    regions=RegionRule(
        kept=Warp(
            rotation_degrees=15, shift_fraction=0.175, shear_degrees=6, zoom_fraction=0.08, scale=(0.6, 1.25)
        ),
        margin_fraction=0.05,
        least_fraction=0.12,
        lost=Warp(
            rotation_degrees=15, shift_fraction=0.275, shear_degrees=6, zoom_fraction=0.08, scale=(0.45, 0.9)
        ),
        lost_share=0.2,
        lost_class="unknown",
        patch_share=0.5,
        closing=_LITTLE,
        closing_from_fraction=0.85,
    ),
    photometric=Photometric(
        brightness=0.25, contrast=0.25, saturation=0.6, tint=0.08, hue_degrees=180, noise=0.03
    ),
    test_fraction=0.02,
)

# The bottle model on somebody's own photographs (`python -m train photographs`): few images, so the head
# first, then all layers gently, with the same maps.
PHOTOGRAPHS = FINETUNE.but(
    name="photographs",
    batch_size=32,
    label_smoothing=0.0,
    pad_px=0,
    warp=BOTTLE.warp,
    photometric=BOTTLE.photometric,
    validation_fraction=0.2,
    test_fraction=0.2,
)

RECIPES = {recipe.name: recipe for recipe in (CIFAR10, STEPS, SCRATCH, FINETUNE, BOTTLE, PHOTOGRAPHS)}


def at_lr(recipe: Recipe, peak_lr: float) -> Recipe:
    """The recipe with another peak learning rate, and Muon's changed by the same factor."""
    factor = peak_lr / recipe.peak_lr
    return recipe.but(peak_lr=peak_lr, muon_lr=recipe.muon_lr * factor)


def at_size(recipe: Recipe, size_px: int, **changes: Any) -> Recipe:
    """The recipe for another input size, with every length in pixels scaled alike, and with these changes."""
    scale = size_px / recipe.size_px
    phases = tuple(
        phase.model_copy(update={"crop_px": round(phase.crop_px * scale)}) for phase in recipe.phases
    )
    lengths = {"pad_px": round(recipe.pad_px * scale), "cutout_px": round(recipe.cutout_px * scale)}
    return recipe.but(size_px=size_px, phases=phases, **lengths, **changes)
