"""The network as it is trained: its start, its head alone, its averaged weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from models import networks
from models.manifest import Network, Normalisation, ResNet18
from train import checkpoint, convolution
from train.errors import RunError
from train.recipe import Phase, Recipe

STAGES = ("layer1", "layer2", "layer3", "layer4")
_HEAD = "fc."


def from_scratch(recipe: Recipe, num_classes: int, sample: Tensor) -> nn.Module:
    """A new network; `sample` is a normalised float batch (n, 3, h, w) for the whitened first layer."""
    torch.manual_seed(recipe.seed)
    network = networks.build(recipe.network, num_classes)
    for stage in STAGES if isinstance(recipe.network, ResNet18) else ():
        # A second block that starts as the identity (Goyal et al. 2017, arXiv 1706.02677).
        nn.init.zeros_(network.get_parameter(f"{stage}.1.bn2.weight"))
    if recipe.whiten_stem:
        whiten(network.get_parameter("conv1.weight").data, sample)
    return convolution.multiply_small_maps(network).to(memory_format=torch.channels_last)


def from_weights(
    recipe: Recipe, classes: Sequence[str], weights: Mapping[str, Tensor], known: Sequence[str]
) -> nn.Module:
    """A network with the body of `weights`, and their head where the classes they tell apart, `known` in the
    order of its rows, are `classes` in any order. Any other head is new, and so is one of unknown classes.

    Raises RunError when the body does not fit the recipe's network.
    """
    torch.manual_seed(recipe.seed)
    network = networks.build(recipe.network, len(classes))
    start = {name: value.float() for name, value in weights.items() if not name.startswith(_HEAD)}
    if sorted(known) == sorted(classes):
        rows = [known.index(name) for name in classes]
        start |= {name: value[rows].float() for name, value in weights.items() if name.startswith(_HEAD)}
    try:
        missing, unknown = network.load_state_dict(start, strict=False)
    except RuntimeError as error:
        raise RunError(f"the weights to start from do not fit {_shape(recipe.network)}") from error
    if unknown or {name.split(".")[0] for name in missing} - {"fc"}:
        kind = (
            "a torchvision ResNet-18" if isinstance(recipe.network, ResNet18) else "this sequential network"
        )
        raise RunError(f"the weights to start from are not those of {kind}")
    return convolution.multiply_small_maps(network).to(memory_format=torch.channels_last)


def _shape(network: Network) -> str:
    return f"the {network.stem} stem" if isinstance(network, ResNet18) else "the network's stages"


def check_fits(weights: Mapping[str, Tensor], num_classes: int, stem: Literal["3x3", "stock"]) -> None:
    """Raise RunError, in one line, unless `weights` are all of a ResNet-18 and nothing else."""
    try:
        networks.resnet18(num_classes, stem).load_state_dict(dict(weights))
    except RuntimeError as error:
        raise RunError(f"not the weights of a torchvision ResNet-18 with the {stem} stem") from error


def whiten(kernel: Tensor, sample: Tensor, floor: float = 5e-4) -> None:
    """Fill the first kernels with the whitening filters of the sample's patches, with both signs.

    Eigenvectors of the patch covariance over the square root of their eigenvalues (plus `floor`):
    uncorrelated inputs from the first step. Page 2018 (How to train your ResNet), arXiv 2404.00498.
    """
    size = kernel.shape[-1]
    patches = nn.functional.unfold(sample, size).transpose(1, 2).flatten(0, 1)
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    filters = (vectors / torch.sqrt(values + floor)).T.flip(0).view(-1, *kernel.shape[1:])
    both = torch.cat([filters, -filters])[: len(kernel)]
    kernel[: len(both)] = both


class HeadAlone(nn.Module):
    """A network whose head trains, while the batch norms of its body keep their statistics."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def train(self, mode: bool = True) -> HeadAlone:
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits


def of_phase(network: nn.Module, phase: Phase) -> nn.Module:
    """`network` as `phase` runs it, with gradients asked for only where it trains."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not phase.frozen_body or name.startswith(_HEAD))
    return HeadAlone(network) if phase.frozen_body else network


def normalise(pixels: Tensor, normalisation: Normalisation) -> Tensor:
    """uint8 (n, 3, h, w) -> float32 with zero mean and unit deviation per channel."""
    mean, std = (
        torch.tensor(values, device=pixels.device).mul(255).view(1, 3, 1, 1)
        for values in (normalisation.mean, normalisation.std)
    )
    return pixels.float().sub_(mean).div_(std)


class Average:
    """Exponential moving average of the weights (Polyak averaging), the network that is kept."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Short memory in the first steps, when there is little worth remembering."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(
            self.network.state_dict().values(), network.state_dict().values(), strict=True
        ):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


@torch.no_grad()
def measure_batch_norms(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set every batch norm's statistics to those of `batches` under the present weights.

    Averaged weights need statistics of their own (Izmailov et al. 2018, arXiv 1803.05407), and images
    at the served size have other ones than crops (Touvron et al. 2019, arXiv 1906.06423).
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    for batch in batches:
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def save_weights(network: nn.Module, path: Path) -> None:
    """The weights alone, atomically."""
    checkpoint.save(path, network.state_dict())
