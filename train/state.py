"""Everything about a run that must survive a kill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from train import checkpoint, optimiser
from train.errors import RunError
from train.network import Average
from train.recipe import Recipe


@dataclass
class State:
    """`step` is the next one to take; `identity` is what a resumed run must have in common.

    `lengths` is the plan: from which step on the run was to take how many epochs. `flops` counts the
    floating-point operations of the steps taken, validation and optimiser apart.
    """

    identity: dict[str, Any]
    network: nn.Module
    average: Average
    optimisers: list[torch.optim.Optimizer]
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    loss_sum: float = 0.0
    seconds: float = 0.0
    flops: float = 0.0
    lengths: list[dict[str, int]] = field(default_factory=list)

    @classmethod
    def start(cls, recipe: Recipe, identity: dict[str, Any], network: nn.Module) -> State:
        average = Average(network, recipe.ema_decay)
        optimisers = optimiser.build(recipe, network)
        return cls(
            identity, network, average, optimisers, lengths=[{"from_step": 0, "epochs": recipe.epochs}]
        )

    def save(self, path: Path) -> None:
        """Write the whole state atomically; raises OSError."""
        checkpoint.save(
            path,
            {
                **{name: getattr(self, name) for name in _PLAIN},
                "network": self.network.state_dict(),
                "average": self.average.network.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            },
        )

    def restore(self, path: Path, saved: dict[str, Any]) -> None:
        """Continue from what was `saved` at `path`; raises RunError, naming the differences, if that was
        another run or format.

        The number of epochs alone may differ: a run may be cut short or made longer, which `lengths` keeps.
        """
        epochs = self.lengths[-1]["epochs"]
        if missing := set(_PLAIN) - saved.keys():
            raise RunError(f"{path} was written by another version: it has no {min(missing)}")
        if different := list(_differences(saved["identity"], self.identity)):
            raise RunError(f"{path.parent} holds another run: {'; '.join(different)}")
        for name in _PLAIN:
            setattr(self, name, saved[name])
        if self.lengths[-1]["epochs"] != epochs:
            self.lengths.append({"from_step": self.step, "epochs": epochs})
        self.network.load_state_dict(saved["network"])
        self.average.network.load_state_dict(saved["average"])
        for mine, theirs in zip(self.optimisers, saved["optimisers"], strict=True):
            mine.load_state_dict(theirs)


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Each value that is not the same in both, by the path of keys that leads to it."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif before != now:
        yield f"{name} was {before!r}, now {now!r}"


_PLAIN = ("identity", "step", "history", "loss_sum", "seconds", "flops", "lengths")
