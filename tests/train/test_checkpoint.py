from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from train import checkpoint
from train.errors import RunError


@contextmanager
def disk_of(size_bytes: int) -> Iterator[None]:
    """No file may grow beyond `size_bytes`: what a full disk looks like to a writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"step": 3, "weights": torch.arange(5)})
    loaded = checkpoint.load(path)
    assert loaded["step"] == 3
    assert torch.equal(loaded["weights"], torch.arange(5))


def test_a_full_disk_leaves_the_previous_checkpoint_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"step": 1})
    with disk_of(100_000), pytest.raises(OSError, match="the previous one stands"):
        checkpoint.save(path, {"step": 2, "weights": torch.zeros(1_000_000)})
    assert checkpoint.load(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_checkpoint_holds_no_code(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"step": print}, path)
    with pytest.raises(RunError, match="not a checkpoint"):
        checkpoint.load(path)


def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"weights": torch.arange(50)})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RunError, match="not a checkpoint"):
        checkpoint.load(path)


def test_a_directory_has_one_owner_at_a_time(tmp_path: Path) -> None:
    with checkpoint.sole_owner(tmp_path), pytest.raises(RunError, match="another training"):
        checkpoint.sole_owner(tmp_path).__enter__()
    with checkpoint.sole_owner(tmp_path):
        pass
