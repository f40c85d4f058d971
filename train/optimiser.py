"""The optimisers: torch's SGD, and Muon for convolution kernels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from train.recipe import Recipe

# Quintic that brings every singular value of a matrix near 1 in a few rounds (Jordan et al. 2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROUNDS = 3


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, for kernels that a batch norm follows.

    A kernel (out, in, h, w) counts as a matrix (out, in*h*w). After every step it is brought back to
    its norm at the start: a batch norm undoes the scale of a kernel, so only its direction counts, and
    `lr` becomes the relative change per step. Jordan et al. 2024, kellerjordan.github.io/posts/muon.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is not None:
                    self._step_one(kernel, kernel.grad, group["lr"], group["momentum"])

    def _step_one(self, kernel: Tensor, gradient: Tensor, lr: float, momentum: float) -> None:
        state = self.state[kernel]
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
            state["norm"] = kernel.norm()
        average = state["momentum"].mul_(momentum).add_(gradient)
        update = orthogonal(gradient.add(average, alpha=momentum).flatten(1)).view(kernel.shape)
        # A kernel behind a zero gamma has no gradient yet, hence the floor.
        kernel.add_(update, alpha=-lr * float(state["norm"] / update.norm().clamp_min(1e-7)))
        kernel.mul_(state["norm"] / kernel.norm())


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with all singular values near 1, by `_ROUNDS` Newton-Schulz rounds.

    A round is x <- (a + b G + c G^2) x with G = x x'. All these factors are polynomials of the first G,
    so they are multiplied up as small square matrices and meet the large one only twice.
    """
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    product = identity
    for _ in range(_ROUNDS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c).add_(identity, alpha=a)
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x.T if tall else x


def build(recipe: Recipe, network: nn.Module) -> list[torch.optim.Optimizer]:
    """The optimisers of a recipe, with `peak_lr` in each group for the schedule to scale."""
    if recipe.optimiser == "sgd":
        groups = [
            {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in network.parameters() if p.ndim < 2]},
        ]
        optimisers = [_sgd(recipe, groups)]
    else:
        kernels = [p for name, p in network.named_parameters() if p.ndim == 4 and name != "conv1.weight"]
        turned = {id(p) for p in kernels}
        others = [p for p in network.parameters() if id(p) not in turned]
        optimisers = [Muon(kernels, recipe.muon_lr, recipe.muon_momentum), _sgd(recipe, others)]
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group["peak_lr"] = group["lr"]
    return optimisers


def scale_lr(optimisers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every group's rate to `factor` times its peak."""
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group["lr"] = group["peak_lr"] * factor


def _sgd(recipe: Recipe, parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, recipe.peak_lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
