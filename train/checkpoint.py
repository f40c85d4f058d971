"""The state of a run on disk: written whole or not at all, by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from train.errors import RunError


def save(path: Path, state: dict[str, Any]) -> None:
    """Replace `path` in one step; a kill or a full disk at any moment leaves the previous file.

    Raises OSError, with the half-written copy removed.
    """
    scratch = path.with_suffix(".tmp")
    try:
        with scratch.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except (OSError, RuntimeError) as error:  # torch's zip writer turns ENOSPC into a RuntimeError
        scratch.unlink(missing_ok=True)
        raise OSError(f"{path}: the checkpoint could not be written; the previous one stands") from error
    _sync(path.parent)


def load(path: Path) -> dict[str, Any]:
    """Tensors and plain values only, never code. Raises RunError for a file that holds anything else."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # pickle, zip and torch each raise their own
        raise RunError(f"{path}: not a checkpoint that can be read safely") from error
    return state


@contextmanager
def sole_owner(directory: Path) -> Iterator[None]:
    """Hold the run directory; raises RunError while another process trains in it."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(directory / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise RunError(f"{directory}: another training is writing here") from error


def _sync(directory: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
