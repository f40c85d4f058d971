from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models import artifact, catalog, networks
from tests.train.conftest import FolderMaker
from train import checkpoint, golden, report
from train.__main__ import main
from train.cost import step_flops
from train.network import Average
from train.progress import Progress
from train.recipe import RECIPES, at_lr, at_size


class Workbench:
    """One person's folders: `train()` and `run()` are what they type."""

    def __init__(self, root: Path) -> None:
        self.root, self.run_dir, self.models = root, root / "run", root / "models"

    def train(self, data: Path, *flags: str) -> int:
        short = ("--epochs", "2", "--batch-size", "8", "--size", "8", "--output", str(self.run_dir))
        return self.run("--data", str(data), "--name", "colours", *short, *self.where("--models-dir"), *flags)

    def run(self, *arguments: str) -> int:
        cached = () if arguments[0] == "import" else ("--cache", str(self.root / "cache"))
        return main([*arguments, *cached])

    def where(self, flag: str) -> tuple[str, str]:
        return flag, str(self.models)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)


@pytest.fixture(scope="module")
def trained(make_folder: FolderMaker, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workbench, Path]:
    """A finished training on images with a test side, for tests that only look at it."""
    bench = Workbench(tmp_path_factory.mktemp("trained"))
    data = make_folder(8, sides=("train", "test"))
    assert bench.train(data) == 0
    return bench, data


def test_training_ends_in_a_model_the_service_can_load(trained: tuple[Workbench, Path]) -> None:
    bench, _ = trained
    manifest = artifact.load(bench.models / "colours" / "1").manifest
    assert manifest.golden is not None
    assert manifest.classes == ("blue", "green", "red")
    assert manifest.training["data"]["images"] == {"train": 21, "val": 3, "test": 24}
    assert manifest.metrics["test"]["images"] == 24
    assert manifest.calibration.temperature != 1


def test_the_record_has_the_command_as_typed_without_private_folders(
    trained: tuple[Workbench, Path],
) -> None:
    bench, data = trained
    command = artifact.load_manifest(bench.models / "colours" / "1").training["command"]
    flags = "--epochs 2 --batch-size 8 --size 8 --output run --models-dir models --cache cache"
    assert command == f"python -m train --data {data.name} --name colours {flags}"


def test_evaluate_reproduces_the_test_figures_of_the_card(
    trained: tuple[Workbench, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bench, data = trained
    stated = artifact.load_manifest(bench.models / "colours" / "1").metrics["test"]
    assert (
        bench.run(
            "evaluate", "--model", "colours", "--data", str(data), "--json", *bench.where("--models-dir")
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found.pop("per_class_accuracy") == stated.pop("per_class_accuracy")
    assert {key: found[key] for key in stated} == pytest.approx(stated, rel=1e-5, abs=1e-6)
    assert found["model"] == "colours/1"


@pytest.fixture(scope="module")
def drawn(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A finished training on `folder`, whose sides were drawn, for tests that only look at it."""
    bench = Workbench(tmp_path_factory.mktemp("drawn"))
    assert bench.train(folder, "scratch", "--epochs", "1") == 0
    return bench


@pytest.fixture
def grown(folder: Path, make_folder: FolderMaker, tmp_path: Path) -> Path:
    """`folder` with one image more."""
    root = Path(shutil.copytree(folder, tmp_path / "grown"))
    shutil.copy2(make_folder(9) / "blue" / "008.png", root / "blue" / "new.png")
    return root


def evaluated(
    bench: Workbench, data: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[tuple[str, int], str]:
    """What was measured and how many images that was, and what was said beside it."""
    flags = ("--json", *bench.where("--models-dir"))
    assert bench.run("evaluate", "--model", "colours", "--data", str(data), *flags) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    return (found["measured"], found["images"]), printed.err


def test_evaluate_says_that_it_measures_the_test_side_that_training_drew(
    drawn: Workbench, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, said = evaluated(drawn, folder, capsys)
    assert measured == ("the recorded test side", 3)
    assert "warning" not in said


def test_evaluate_warns_that_a_folder_that_has_grown_is_measured_with_the_images_trained_on(
    drawn: Workbench, grown: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured, said = evaluated(drawn, grown, capsys)
    assert measured == ("all images", 25)
    assert said.startswith("warning: all these images are measured, not the test side that colours/1 records")
    assert said.count("\n") == 1


def test_evaluate_does_not_warn_of_a_split_that_was_never_recorded(
    bench: Workbench, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(networks.resnet18(3, "3x3").state_dict(), tmp_path / "old.pth")
    flags = ("--image-size", "8", "--stem", "3x3", "--resize", "stretch", *bench.where("--models-dir"))
    weights = ("--weights", str(tmp_path / "old.pth"), "--name", "colours")
    assert bench.run("import", *weights, "--classes", "blue", "green", "red", *flags) == 0
    assert bench.run("evaluate", "--model", str(bench.models / "colours/1"), "--data", str(folder)) == 0
    printed = capsys.readouterr()
    assert re.search("^measured +all images$", printed.out, re.MULTILINE)
    assert printed.err == ""


def test_training_warns_where_the_start_may_have_been_trained_on_test_images(
    drawn: Workbench, bench: Workbench, folder: Path, grown: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ("--init", "colours", *drawn.where("--init-models-dir"), "--epochs", "1")
    assert bench.train(folder, *start) == 0
    assert "warning" not in capsys.readouterr().err
    assert bench.train(grown, *start, "--output", str(bench.root / "again")) == 0
    said = capsys.readouterr().err.splitlines()
    (warning,) = [number for number, line in enumerate(said) if "the test figures flatter this run" in line]
    assert said[warning].startswith("warning: colours/1 ")
    assert said[warning + 1].startswith("epoch 1:")


def test_a_start_that_knew_other_classes_is_not_suspected(
    drawn: Workbench, bench: Workbench, grown: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("blue", "green", "red"):
        (grown / name).rename(grown / f"pale {name}")
    start = ("--init", "colours", *drawn.where("--init-models-dir"), "--epochs", "1")
    assert bench.train(grown, *start) == 0
    assert "warning" not in capsys.readouterr().err


def test_a_folder_of_images_with_the_name_of_a_model_does_not_hide_it(
    drawn: Workbench, bench: Workbench, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "colours")
    monkeypatch.chdir(tmp_path)
    start = ("--init", "colours", *drawn.where("--init-models-dir"), "--epochs", "1")
    assert bench.train(Path("colours"), *start) == 0


def test_evaluate_speaks_plainly_without_json(
    trained: tuple[Workbench, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bench, data = trained
    assert bench.run("evaluate", "--model", str(bench.models / "colours" / "1"), "--data", str(data)) == 0
    assert "accuracy" in capsys.readouterr().out


def test_evaluate_says_how_well_confidence_tells_right_from_wrong_and_draws_the_mistakes(
    trained: tuple[Workbench, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, data = trained
    page = tmp_path / "mistakes.png"
    flags = ("--json", "--mistakes", str(page), *bench.where("--models-dir"))
    assert bench.run("evaluate", "--model", "colours", "--data", str(data), *flags) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["wrong"] == round((1 - found["accuracy"]) * found["images"])
    assert sum(map(sum, found["confusion"])) == found["images"]
    assert (found["auroc_right_from_wrong"] is None) == (found["wrong"] == 0)
    assert 0 <= found["accuracy_at_95_coverage"] <= 1
    assert page.stat().st_size > 0


def test_evaluate_takes_images_of_other_folders_as_one_class(
    trained: tuple[Workbench, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, data = trained
    shutil.copytree(data / "test" / "red", tmp_path / "images" / "crimson")
    flags = ("--all-are", "red", "--json", *bench.where("--models-dir"))
    assert bench.run("evaluate", "--model", "colours", "--data", str(tmp_path / "images"), *flags) == 0
    assert list(json.loads(capsys.readouterr().out)["per_class_accuracy"]) == ["red"]


def test_evaluate_refuses_a_class_the_model_does_not_know(
    trained: tuple[Workbench, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, data = trained
    shutil.copytree(data / "test" / "red", tmp_path / "images" / "crimson")
    shutil.copytree(data / "test" / "blue", tmp_path / "images" / "blue")
    arguments = ("--model", "colours", "--data", str(tmp_path / "images"), *bench.where("--models-dir"))
    assert bench.run("evaluate", *arguments) == 1
    assert capsys.readouterr().err == "error: the model has no class 'crimson'; it has blue, green, red\n"


def test_a_trained_model_is_fine_tuned_on_other_classes(
    trained: tuple[Workbench, Path], tmp_path: Path, bench: Workbench
) -> None:
    before, data = trained
    for name in ("blue", "red"):
        shutil.copytree(data / "train" / name, tmp_path / "two" / name)
    flags = ("--init", "colours", *before.where("--init-models-dir"))
    assert bench.train(tmp_path / "two", *flags) == 0
    manifest = artifact.load_manifest(bench.models / "colours" / "1")
    assert manifest.classes == ("blue", "red")
    assert manifest.training["start"].startswith("colours/1 ")
    assert manifest.training["recipe"]["name"] == "finetune"


def test_a_second_training_is_a_second_version(trained: tuple[Workbench, Path]) -> None:
    bench, data = trained
    assert bench.train(data, "--output", str(bench.root / "other")) == 0  # the same weights, even
    assert artifact.load_manifest(bench.models / "colours" / "2").version == "2"


def test_a_run_is_not_overwritten(
    trained: tuple[Workbench, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bench, data = trained
    assert bench.train(data) == 1
    assert "--resume continues it" in capsys.readouterr().err


def test_a_resumed_run_must_have_the_same_classes(
    trained: tuple[Workbench, Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench, _ = trained
    shutil.copytree(folder / "red", tmp_path / "images" / "red")
    shutil.copytree(folder / "blue", tmp_path / "images" / "white")
    assert bench.train(tmp_path / "images", "--resume") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "classes was ['blue', 'green', 'red'], now ['red', 'white']" in error


def test_a_resumed_run_must_have_the_same_recipe_or_hears_what_differs(
    drawn: Workbench, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drawn.train(folder, "--epochs", "1", "--resume", "--lr", "0.3") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"error: {drawn.run_dir} holds another run: recipe.peak_lr was 0.1, now 0.3"


def test_a_run_killed_before_its_first_step_can_be_resumed(
    bench: Workbench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("train.loop.run", die)
    with pytest.raises(MemoryError):
        bench.train(folder)
    monkeypatch.undo()
    assert bench.train(folder, "--resume") == 0


def test_two_trainings_do_not_share_a_directory(
    bench: Workbench, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with checkpoint.sole_owner(bench.run_dir):
        assert bench.train(folder) == 1
    assert "another training is writing here" in capsys.readouterr().err


def test_a_learning_rate_is_given_to_muon_too(trained: tuple[Workbench, Path], tmp_path: Path) -> None:
    bench, (_, data) = Workbench(tmp_path), trained
    recipe = at_lr(RECIPES["cifar10"], 0.01)
    assert bench.train(data, "cifar10", "--epochs", "1", "--lr", "0.01") == 0
    recorded = artifact.load_manifest(bench.models / "colours" / "1").training["recipe"]
    assert recorded["peak_lr"] == recipe.peak_lr == 0.01
    assert recorded["muon_lr"] == recipe.muon_lr == pytest.approx(RECIPES["cifar10"].muon_lr / 10)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--seed", "-1"), "seed: Input should be greater than or equal to 0"),
        (("--batch-size", "1"), "batch_size: Input should be greater than or equal to 2"),
        (("--epochs", "0"), "epochs: Input should be greater than or equal to 1"),
        (("bottle", "--size", "16"), "Value error, the stages halve the input to nothing"),
    ],
)
def test_a_number_that_no_recipe_has_is_one_line(
    flags: tuple[str, str], complaint: str, bench: Workbench, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.train(folder, *flags) == 1
    assert capsys.readouterr().err == f"error: {complaint}\n"
    assert not (bench.root / "cache").exists()  # before any image is decoded


@pytest.mark.parametrize("share", ["98", "0", "1", "most"])
def test_a_precision_to_aim_at_is_a_share(
    share: str, bench: Workbench, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        bench.train(folder, "--target-precision", share)
    assert "--target-precision" in capsys.readouterr().err


def test_what_is_skipped_is_named_and_the_policy_fail_stops_at_it(
    bench: Workbench, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = Path(shutil.copytree(folder, tmp_path / "images"))
    (images / "red" / "broken.png").write_bytes(b"no image")
    assert bench.train(images, "--bad-files", "fail") == 1
    assert "1 files cannot be used, the first red/broken.png: " in capsys.readouterr().err
    assert bench.train(images) == 0
    told = capsys.readouterr().err
    assert "skipped red/broken.png: " in told
    assert (
        bench.run("evaluate", "--model", "colours", "--data", str(images), *bench.where("--models-dir")) == 0
    )
    assert "skipped red/broken.png: " in capsys.readouterr().err


def test_a_run_tells_its_steps_and_epochs_to_people_and_to_tensorboard(
    bench: Workbench, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("train.progress.LINE_EVERY_S", 0.0)
    assert bench.train(folder, "scratch", "--batch-size", "512") == 0
    told = capsys.readouterr().err
    assert "0 files skipped; 2 steps at 8x8 pixels\n" in told
    assert re.search(r"step 2/2  loss \d+\.\d{3}  \d+ images/s  \d:\d\d:\d\d left", told)
    assert re.search(r"epoch 2: train loss \S+, val loss \S+, val accuracy \S+%, \d:\d\d:\d\d so far", told)
    events = EventAccumulator(str(bench.run_dir / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2]
    assert [event.step for event in events.Scalars("epoch/val_accuracy")] == [1, 2]


def test_a_step_of_fewer_images_than_a_batch_counts_those_it_had(
    bench: Workbench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr(Progress, "step", lambda _, __, ___, images: counted.append(images))
    assert bench.train(folder, "scratch", "--batch-size", "512") == 0
    assert counted == [18, 18]


def test_there_must_be_a_run_to_resume(
    bench: Workbench, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.train(folder, "--resume") == 1
    assert "no run to resume" in capsys.readouterr().err


def test_a_single_class_stops_before_the_first_epoch(
    bench: Workbench, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "red", tmp_path / "images" / "red")
    assert bench.train(tmp_path / "images") == 1
    assert capsys.readouterr().err == "error: one class only (red): a classifier needs two\n"
    assert not bench.run_dir.exists()


@pytest.mark.parametrize("value", [float("inf"), 3e38])
@pytest.mark.parametrize("step", [2, 3])  # the last of an epoch, and the first
def test_weights_that_a_step_ruins_are_never_saved(
    bench: Workbench, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    step: int, value: float,
) -> None:  # fmt: skip
    real = Average.update

    def ruin(self: Average, network: torch.nn.Module, number: int) -> None:
        if number == step - 1:
            torch.nn.init.constant_(network.get_parameter("fc.weight"), value)
        real(self, network, number)

    monkeypatch.setattr(Average, "update", ruin)
    assert bench.train(folder, "scratch", "--save-every-s", "0") == 1
    assert "what was saved before it stands" in capsys.readouterr().err
    state = checkpoint.load(bench.run_dir / "checkpoint.pt")
    assert state["step"] == step - 1
    assert all(weights.abs().max() < 1e6 for weights in state["network"].values())
    assert not bench.models.exists()


@pytest.mark.parametrize(
    ("signals", "saved", "code"),
    [
        ((signal.SIGINT,), 3, 130),
        ((signal.SIGINT, signal.SIGINT), 2, 130),
        ((signal.SIGTERM,), 3, 143),
        ((signal.SIGTERM, signal.SIGTERM), 3, 143),  # Slurm's own, and torchrun's
        ((signal.SIGTERM, signal.SIGINT, signal.SIGINT), 2, 130),
    ],
)
def test_a_signal_saves_the_step_and_ctrl_c_pressed_twice_leaves_at_once(
    bench: Workbench, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    signals: tuple[signal.Signals, ...], saved: int, code: int,
) -> None:  # fmt: skip
    def send(self: Progress, step: int, loss: float, images: int) -> None:  # noqa: ARG001
        for number in signals if step == 3 else ():
            signal.raise_signal(number)

    monkeypatch.setattr(Progress, "step", send)
    assert bench.train(folder, "scratch", "--save-every-s", "0") == code
    assert checkpoint.load(bench.run_dir / "checkpoint.pt")["step"] == saved
    assert capsys.readouterr().err.splitlines()[-1] == "stopped; --resume continues"
    monkeypatch.undo()
    assert bench.train(folder, "--resume") == 0


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_who_stops_what_cannot_be_resumed_hears_of_no_resume(
    trained: tuple[Workbench, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:  # fmt: skip
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("train.data.load", interrupted)
    bench, data = trained
    precision = ("--precision", "bf16") if command == "export" else ()
    arguments = ("--model", "colours", "--data", str(data), *bench.where("--models-dir"), *precision)
    assert bench.run(command, *arguments) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_sigterm_stops_at_once_again_when_the_training_is_over(bench: Workbench, folder: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert bench.train(folder, "scratch") == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_may_be_made_longer_and_says_so(bench: Workbench, folder: Path) -> None:
    assert bench.train(folder, "cifar10", "--epochs", "1") == 0
    assert bench.train(folder, "cifar10", "--epochs", "2", "--resume") == 0
    lengths = artifact.load_manifest(bench.models / "colours" / "2").training["lengths"]
    assert lengths == [{"from_step": 0, "epochs": 1}, {"from_step": 2, "epochs": 2}]
    recipe = at_size(RECIPES["cifar10"], 8)
    first, _, last = (step_flops(recipe, 3, phase, 8) for phase in recipe.phases)
    # Of the first plan's two steps one was of the last phase; in the longer plan it is of the second.
    assert checkpoint.load(bench.run_dir / "checkpoint.pt")["flops"] == first + 3 * last


def test_a_run_ends_early_after_so_many_epochs_without_a_better_one(
    bench: Workbench, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_learnt = ("scratch", "--lr", "1e-30", "--epochs", "9", "--early-stop", "2")
    assert bench.train(folder, *nothing_learnt) == 0
    assert "no better for 2 epochs: stopping early" in capsys.readouterr().err
    assert len(checkpoint.load(bench.run_dir / "checkpoint.pt")["history"]) == 3  # the first was the best
    recorded = artifact.load_manifest(bench.models / "colours" / "1").training["recipe"]
    assert recorded["early_stop_epochs"] == 2


@pytest.mark.parametrize("owner", [golden, artifact, report])
def test_a_version_is_seen_whole_or_not_at_all(
    owner: ModuleType, trained: tuple[Workbench, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, data = trained
    bench = Workbench(tmp_path)
    shutil.copytree(before.run_dir, bench.run_dir)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    last = {golden: "add", artifact: "move", report: "page"}[owner]
    with monkeypatch.context() as patch:
        patch.setattr(owner, last, die)
        assert bench.train(data, "--resume") == 130
    assert catalog.find(bench.models) == {}
    assert bench.train(data, "--resume") == 0
    assert catalog.find(bench.models) == {"colours": ("1",)}
    assert artifact.load_manifest(bench.models / "colours" / "1").golden is not None
    assert [path.name for path in (bench.models / "colours").iterdir()] == ["1"]
    assert "# colours, version 1" in (bench.models / "colours" / "1" / "card.md").read_text()


def test_a_finished_run_that_is_resumed_finds_what_it_published(
    trained: tuple[Workbench, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bench, data = trained
    before = catalog.find(bench.models)["colours"]
    assert bench.train(data, "--resume", "--save-every-s", "60") == 0
    assert capsys.readouterr().out.splitlines()[0] == str(bench.models / "colours" / "1")
    assert catalog.find(bench.models)["colours"] == before


def test_a_finished_run_is_published_again_for_another_precision(
    trained: tuple[Workbench, Path], tmp_path: Path
) -> None:
    before, data = trained
    bench = Workbench(tmp_path)
    shutil.copytree(before.run_dir, bench.run_dir)
    shutil.copytree(before.models / "colours" / "1", bench.models / "colours" / "1")
    (bench.models / "colours" / "2").mkdir()
    (bench.models / "colours" / "2" / "model.json").write_text("somebody's, and damaged")
    assert bench.train(data, "--resume", "--target-precision", "0.5") == 0
    published = artifact.load_manifest(bench.models / "colours" / "3")
    assert published.metrics["target_precision"] == 0.5


def test_tiny_images_and_a_network_for_large_ones_end_in_a_model(
    bench: Workbench, make_folder: FolderMaker
) -> None:
    short = ("--size", "16", "--batch-size", "12", "--stem", "stock", "--epochs", "3", "--dtype", "bfloat16")
    assert bench.train(make_folder(12, size=16), "scratch", *short) == 0
    stored = artifact.load(bench.models / "colours" / "1")
    assert stored.manifest.training["dtype"] == "bfloat16"
    assert max(abs(stored.weights[name]).max() for name in stored.weights if "conv" in name) < 10


def test_weights_beyond_float16_are_published_in_float32(bench: Workbench, folder: Path) -> None:
    assert bench.train(folder, "scratch") == 0
    best = checkpoint.load(bench.run_dir / "best.pt")
    for name, power in (("conv1.weight", 1), ("bn1.running_mean", 1), ("bn1.running_var", 2)):
        best[f"layer4.0.{name}"] *= 1e6**power  # a batch norm undoes it
    checkpoint.save(bench.run_dir / "best.pt", best)
    assert bench.train(folder, "scratch", "--resume") == 0
    small, large = (artifact.load(bench.models / "colours" / version) for version in "12")
    assert (small.manifest.weights.dtype, large.manifest.weights.dtype) == ("float16", "float32")
    assert large.manifest.metrics["test"]["nll"] == pytest.approx(
        small.manifest.metrics["test"]["nll"], abs=1e-2
    )


def test_somebodys_weights_become_a_model(bench: Workbench, tmp_path: Path) -> None:
    network = networks.resnet18(2, "stock")
    torch.save(network.state_dict(keep_vars=True), tmp_path / "old.pth")  # of parameters, as some save it
    flags = ("--classes", "open", "closed", "--image-size", "224", "--stem", "stock", "--resize", "crop")
    weights = ("--weights", str(tmp_path / "old.pth"), "--name", "bottle")
    assert bench.run("import", *weights, *flags, *bench.where("--models-dir")) == 0
    imported = artifact.load(bench.models / "bottle" / "1")
    assert imported.manifest.classes == ("open", "closed")
    expected = network.state_dict()["fc.weight"].numpy()
    assert (imported.weights["fc.weight"] == expected).all()


@pytest.mark.parametrize(
    ("classes", "stem", "complaint"),
    [
        (("a", "b", "c"), "stock", "made for 2 classes, and --classes names 3"),
        (("a", "b"), "3x3", "not the weights of a torchvision ResNet-18 with the 3x3 stem"),
        (("a", "a"), "stock", "error: Value error, classes must be distinct"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(
    bench: Workbench, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    classes: tuple[str, ...], stem: str, complaint: str,
) -> None:  # fmt: skip
    torch.save(networks.resnet18(2, "stock").state_dict(), tmp_path / "old.pth")
    flags = ("--image-size", "32", "--stem", stem, "--resize", "stretch", *bench.where("--models-dir"))
    weights = ("--weights", str(tmp_path / "old.pth"), "--name", "bottle")
    assert bench.run("import", *weights, "--classes", *classes, *flags) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_a_bias_that_is_one_number_is_refused_in_one_line(
    bench: Workbench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"fc.bias": torch.tensor(0.0)}, tmp_path / "old.pth")
    flags = ("--classes", "a", "b", "--image-size", "32", "--stem", "stock", "--resize", "crop")
    assert bench.run("import", "--weights", str(tmp_path / "old.pth"), "--name", "x", *flags) == 1
    assert capsys.readouterr().err.endswith("made for 1 classes, and --classes names 2\n")


def test_a_file_that_would_run_code_is_refused(
    bench: Workbench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(print, tmp_path / "evil.pth")
    flags = ("--classes", "a", "b", "--image-size", "32", "--stem", "stock", "--resize", "crop")
    assert bench.run("import", "--weights", str(tmp_path / "evil.pth"), "--name", "x", *flags) == 1
    assert "not a file of weights that can be read safely" in capsys.readouterr().err


def test_a_package_that_is_not_installed_is_one_line_that_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-m", "train", "import"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: torch is not installed: pip install -e '.[train]'\n"
