"""What two runs must have in common to be the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from train import checkpoint


def outcome(directory: Path) -> dict[str, Any]:
    """All that a finished run leaves on disk for the next process, the time it took apart."""
    state = checkpoint.load(directory / "checkpoint.pt")
    for timed in (state, *state["history"]):
        del timed["seconds"]
    return {"best": checkpoint.load(directory / "best.pt"), "checkpoint": state}


def same(one: Any, other: Any) -> bool:
    """Bit for bit, whatever tensors are nested in."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
