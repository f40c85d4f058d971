"""Photographs of one's own: found however they are kept, and one command to fine-tune on them."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import artifact, networks
from models.catalog import SHIPPED_MODELS
from models.images import Preprocessing
from models.manifest import Manifest, Normalisation, Sequential
from tests.conftest import spec
from train.__main__ import main
from train.errors import DataError
from train.photographs import NAMES, Photograph, find, gather
from train.publish import to_numpy

COLOURS = {"open": (200, 60, 50), "closed": (40, 70, 200), "unknown": (60, 180, 80)}


def write(path: Path, label: str, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noisy = np.array(COLOURS[label]) + np.random.default_rng(seed).normal(0, 40, (16, 16, 3))
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(path)


def write_folder(root: Path, names: dict[str, str], count: int = 12) -> None:
    for number, (folder, label) in enumerate(names.items()):
        for index in range(count):
            write(root / folder / f"{index:02}.png", label, 100 * number + index)


def labels(found: list[Photograph]) -> dict[str, str]:
    return {photograph.path.name: photograph.label for photograph in found}


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bottle model that knows nothing yet."""
    torch.manual_seed(0)
    described = spec("bottle").model_copy(
        update={
            "network": Sequential(stages=((8,), (8,)), dense=8),
            "classes": ("closed", "open", "unknown"),
            "preprocessing": Preprocessing(size=8, resize="stretch"),
            "normalisation": Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        }
    )
    root = tmp_path_factory.mktemp("models")
    artifact.save(root, described, to_numpy(networks.build(described.network, 3).state_dict()))
    return root


def run(root: Path, models_dir: Path, data: Path, *flags: str) -> int:
    where = (
        "--output",
        str(root / "run"),
        "--models-dir",
        str(root / "models"),
        "--cache",
        str(root / "cache"),
    )
    start = ("--init", "bottle", "--init-models-dir", str(models_dir))
    return main(["photographs", "--data", str(data), *where, *start, *flags])


def test_the_folders_of_the_old_service_are_understood(tmp_path: Path) -> None:
    write(tmp_path / "img_path_aberta" / "a.png", "open", 0)
    write(tmp_path / "img_path_fechada" / "deep" / "b.png", "closed", 1)
    write(tmp_path / "other" / "c.png", "closed", 2)
    assert labels(list(find(tmp_path, NAMES))) == {"a.png": "open", "b.png": "closed"}


def test_a_csv_names_the_images_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "a.png", "open", 0)
    write(tmp_path / "b.png", "closed", 1)
    listing = tmp_path / "labels.csv"
    listing.write_text("\ufeffImage Name,Status\na.png,Aberta\nb.png, fechada\n", encoding="utf-8")
    assert labels(list(find(listing, NAMES))) == {"a.png": "open", "b.png": "closed"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Image Name,Status\na.png,1\n", "line 2: the status '1' could mean either"),
        ("Image Name,Status\nb.png,open\n", "line 2: there is no file b.png"),
        ("file,label\na.png,open\n", "line 2: needs the columns Image Name and Status"),
        ("Image Name,Status\na.png\n", "line 2: needs the columns Image Name and Status"),
    ],
)
def test_a_csv_that_could_be_read_in_two_ways_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    write(tmp_path / "a.png", "open", 0)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=complaint):
        list(find(tmp_path / "labels.csv", NAMES))


def test_numbers_mean_what_their_owner_says(
    tmp_path: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.png", "open", 0)
    write(tmp_path / "b.png", "closed", 1)
    (tmp_path / "labels.csv").write_text("Image Name,Status\na.png,0\nb.png,1\n")
    meaning = ("--status", "0", "open", "--status", "1", "closed")
    assert run(tmp_path, models_dir, tmp_path / "labels.csv", *meaning) == 1  # too few, but gathered
    gathered = tmp_path / "run" / "photographs"
    assert {path.parent.name for path in gathered.rglob("a-*.png")} == {"open"}
    assert "class 'closed' has no image left" in capsys.readouterr().err
    assert run(tmp_path, models_dir, tmp_path / "labels.csv", "--status", "0", "full") == 1
    assert "'full' is not one of open, closed, unknown" in capsys.readouterr().err


@pytest.fixture(scope="module")
def tuned(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Manifest]:
    """What a fine-tuning on two dozen photographs, none of them `unknown`, says, and its model."""
    root, told = tmp_path_factory.mktemp("tuned"), io.StringIO()
    write_folder(root / "mine", {"img_path_aberta": "open", "img_path_fechada": "closed"})
    with contextlib.redirect_stdout(told):
        assert run(root, models_dir, root / "mine", "--epochs", "1", "--per-class", "4") == 0
    return told.getvalue(), artifact.load_manifest(root / "models" / "bottle" / "1")


def test_one_command_fine_tunes_and_tells_before_and_after(tuned: tuple[str, Manifest]) -> None:
    told, manifest = tuned
    assert "no photographs of `unknown`: 12 collages stand in" in told
    assert "bottle/1 on the test photographs, before: " in told
    assert "bottle/1 on the test photographs, after: " in told
    assert manifest.classes == ("closed", "open", "unknown")
    assert manifest.training["start"].startswith("bottle/1 ")
    assert manifest.training["data"]["images"] == {"train": 12, "val": 6, "test": 4}


def test_collages_are_trained_on_and_calibrated_with_and_never_tested_on(tuned: tuple[str, Manifest]) -> None:
    told, manifest = tuned
    assert len(re.findall(r"of 4 right \(closed \S+ %, open \S+ %\)", told)) == 2
    assert set(manifest.metrics["validation"]["per_class_accuracy"]) == {"closed", "open", "unknown"}
    assert set(manifest.metrics["test"]["per_class_accuracy"]) == {"closed", "open"}


def test_photographs_are_gathered_anew_also_where_collages_stood_in_before(tmp_path: Path) -> None:
    folder = tmp_path / "gathered"
    write(folder / "train" / "unknown" / "collage.png", "unknown", 0)
    write(folder / "test" / "open" / "old.png", "open", 1)
    write_folder(tmp_path / "mine", {label: label for label in COLOURS}, count=1)
    gather(list(find(tmp_path / "mine", NAMES)), folder)
    assert sorted(path.relative_to(folder).parts[0] for path in folder.rglob("*.png")) == sorted(COLOURS)


def test_a_photograph_that_is_listed_twice_or_linked_to_is_gathered_once(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {"open": "open", "closed": "closed"}, count=1)
    (tmp_path / "mine" / "open" / "link.png").symlink_to(tmp_path / "mine" / "open" / "00.png")
    found = list(find(tmp_path / "mine", NAMES))
    gather([*found, *found], tmp_path / "gathered")
    gathered = [path.parent.name for path in (tmp_path / "gathered").rglob("*.png")]
    assert sorted(gathered) == ["closed", "open"]


def test_measuring_changes_nothing(
    tmp_path: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "mine", {"open": "open", "closed": "closed"}, count=1)
    write_folder(tmp_path / "run" / "photographs", {"open": "open", "unknown": "unknown"}, count=2)
    before = sorted(tmp_path.rglob("*.png"))
    assert run(tmp_path, models_dir, tmp_path / "mine", "--measure") == 0
    assert re.search(r"bottle/1 on all photographs: \S+ % of 2 right", capsys.readouterr().out)
    assert sorted(tmp_path.rglob("*.png")) == before
    assert run(tmp_path, models_dir, tmp_path / "mine", "--measure", "--output", str(tmp_path / "new")) == 0
    assert not (tmp_path / "new").exists()


def test_measuring_warns_of_a_model_that_may_have_been_trained_on_these_photographs(
    tmp_path: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "mine", {"open": "open", "closed": "closed"}, count=1)
    assert run(tmp_path, models_dir, tmp_path / "mine", "--measure") == 0
    assert capsys.readouterr().err == ""  # it records nothing
    tuned = Path(shutil.copytree(models_dir / "bottle" / "1", tmp_path / "tuned" / "bottle" / "1"))
    manifest = json.loads((tuned / "model.json").read_text())
    manifest["training"] = {"data": {"content_sha256": {"test": "0" * 64}}}
    (tuned / "model.json").write_text(json.dumps(manifest))
    assert run(tmp_path, tmp_path / "tuned", tmp_path / "mine", "--measure") == 0
    said = capsys.readouterr().err
    assert said.startswith("warning: all these images are measured, not the test side that bottle/1 records")


def test_measuring_the_shipped_model_warns_of_nothing_wherever_it_is_named_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "mine", {"open": "open", "closed": "closed"}, count=1)
    monkeypatch.chdir(SHIPPED_MODELS.parent)
    for named in (("--init", "bottle"), ("--init", "shipped/bottle/1")):
        assert run(tmp_path, SHIPPED_MODELS, tmp_path / "mine", "--measure", *named) == 0
    assert capsys.readouterr().err == ""


def test_the_shipped_model_is_not_suspected_of_having_seen_photographs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "mine", {"open": "open", "closed": "closed"})
    assert run(tmp_path, SHIPPED_MODELS, tmp_path / "mine", "--epochs", "1", "--per-class", "4") == 0
    assert "flatter" not in capsys.readouterr().err


def test_photographs_of_one_state_alone_are_refused(
    tmp_path: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "mine", {"open": "open", "unknown": "unknown"}, count=1)
    assert run(tmp_path, models_dir, tmp_path / "mine") == 1
    assert capsys.readouterr().err == "error: no photograph is of the class closed\n"


def test_photographs_that_a_csv_lists_are_not_gathered_over_themselves(
    tmp_path: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "run" / "photographs", {"open": "open", "closed": "closed"}, count=1)
    listing = tmp_path / "run" / "labels.csv"
    listing.write_text("Image Name,Status\nphotographs/open/00.png,open\nphotographs/closed/00.png,closed\n")
    assert run(tmp_path, models_dir, listing) == 1
    assert "keep your own elsewhere" in capsys.readouterr().err
    assert len(list(tmp_path.rglob("*.png"))) == 2


def test_what_a_run_has_gathered_stays_when_another_is_refused(
    tmp_path: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"")
    write_folder(tmp_path / "run" / "photographs" / "train", {"open": "open"}, count=1)
    write_folder(tmp_path / "mine", {"open": "open", "closed": "closed"}, count=1)
    assert run(tmp_path, models_dir, tmp_path / "mine") == 1
    assert "holds a run: --resume continues it" in capsys.readouterr().err
    assert (tmp_path / "run" / "photographs" / "train" / "open" / "00.png").exists()


def test_photographs_that_cannot_be_read_are_named(
    tmp_path: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "mine", {"open": "open", "closed": "closed"}, count=1)
    (tmp_path / "mine" / "open" / "01.heic").write_bytes(b"\0\0\0\x18ftypheic")
    assert run(tmp_path, models_dir, tmp_path / "mine", "--measure") == 0
    assert re.search(r"skipped open/01-\w+.heic: ", capsys.readouterr().err)


def test_photographs_are_not_gathered_over_themselves(
    tmp_path: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "run" / "photographs"
    write_folder(mine, {"open": "open", "closed": "closed"}, count=1)
    assert run(tmp_path, models_dir, mine) == 1
    assert "keep your own elsewhere" in capsys.readouterr().err
    assert len(list(mine.rglob("*.png"))) == 2
