"""A training that kills itself, run as a process of its own: `killed.py MOMENT ARGUMENTS...`.

MOMENT is `step:N`, right after step N; `save:N`, half-way through writing the N-th file of weights; or
`best:N`, right after the best weights were written for the N-th time, before the checkpoint that says so.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from train import checkpoint, network
from train.__main__ import main
from train.progress import Progress


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after_step(number: int) -> None:
    def step(self: Progress, step: int, loss: float, images: int) -> None:  # noqa: ARG001
        if step == number:
            die()

    Progress.step = step  # type: ignore[method-assign]


def die_inside_save(number: int) -> None:
    real, count = torch.save, itertools.count(1)

    def save(state: Any, file: Any) -> None:
        if next(count) == number:
            file.write(b"half")
            file.flush()
            die()
        real(state, file)

    checkpoint.torch.save = save  # type: ignore[attr-defined]


def die_after_best(number: int) -> None:
    real, count = network.save_weights, itertools.count(1)

    def save_weights(network: torch.nn.Module, path: Path) -> None:
        real(network, path)
        if next(count) == number:
            die()

    network.save_weights = save_weights


if __name__ == "__main__":
    kind, number = sys.argv[1].split(":")
    {"step": die_after_step, "save": die_inside_save, "best": die_after_best}[kind](int(number))
    sys.exit(main(sys.argv[2:]))
