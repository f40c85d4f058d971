from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from models import artifact
from tests.train.conftest import FolderMaker
from tests.train.machines import LAUNCHER, PORT, Machine, start, two, why_not
from tests.train.outcome import outcome, same

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

STEPS_PER_EPOCH = 4


@dataclass(frozen=True)
class Pair:
    """Two machines that trained together for an epoch, each with a disk of its own, and what they said."""

    machines: tuple[Machine, Machine]
    disks: tuple[Path, Path]
    data: Path
    said: list[str]


@pytest.fixture(scope="module")
def pair(make_folder: FolderMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    disks = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    data = make_folder(12, sides=("train", "test"))
    with two() as machines:
        yield Pair(machines, disks, data, on_both(machines, [training(data, disk) for disk in disks]))


def training(data: Path, disk: Path, *flags: str) -> list[str]:
    short = ["--epochs", "1", "--batch-size", "8", "--size", "8", "--name", "colours"]
    places = ["--output", disk / "run", "--models-dir", disk / "models", "--cache", disk / "cache"]
    return ["-m", "train", "scratch", "--data", str(data), *short, *map(str, places), *flags]


def on_both(machines: tuple[Machine, Machine], commands: list[list[str]]) -> list[str]:
    """As docs/training.md has it, the same on both but for the rank; what was said when both have ended."""
    where = ("--nnodes", "2", "--nproc-per-node", "1", "--master-addr", machines[0].address)
    running = [
        machine.start([*LAUNCHER, *where, "--master-port", str(PORT), "--node-rank", str(rank), *command])
        for rank, (machine, command) in enumerate(zip(machines, commands, strict=True))
    ]
    return [said_by(process) for process in running]


def said_by(process: subprocess.Popen[str]) -> str:
    with process:
        _, said = process.communicate()
    assert process.returncode == 0, said
    return said


def test_two_machines_train_the_same_model_as_two_processes_on_one(pair: Pair, tmp_path: Path) -> None:
    one = ("--standalone", "--nproc-per-node", "2")
    said_by(start([*LAUNCHER, *one, *training(pair.data, tmp_path)]))
    assert same(outcome(pair.disks[0] / "run"), outcome(tmp_path / "run"))
    manifest = artifact.load_manifest(pair.disks[0] / "models" / "colours" / "1")
    assert manifest.training["processes"] == 2


def test_the_first_machine_alone_speaks_and_writes(pair: Pair) -> None:
    assert "epoch 1:" in pair.said[0]
    assert "epoch" not in pair.said[1]
    assert [path.name for path in pair.disks[1].iterdir()] == ["cache"]


def test_a_run_goes_on_from_the_first_machines_disk_alone(pair: Pair) -> None:
    on_both(pair.machines, [training(pair.data, disk, "--epochs", "2", "--resume") for disk in pair.disks])
    assert outcome(pair.disks[0] / "run")["checkpoint"]["step"] == 2 * STEPS_PER_EPOCH
    assert artifact.load_manifest(pair.disks[0] / "models" / "colours" / "2").version == "2"
