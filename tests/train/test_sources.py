from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.errors import UnsupportedImage
from tests.train.conftest import FolderMaker
from train import sources
from train.errors import DataError
from train.sources import open_source


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, prefix + path.relative_to(folder).as_posix())
    return target


def test_a_folder_by_class_has_no_sides(folder: Path) -> None:
    source = open_source(folder)
    assert source.classes == ("blue", "green", "red")
    assert len(source.items) == 24
    assert {item.side for item in source.items} == {None}


def test_folders_named_train_val_and_test_are_sides(make_folder: FolderMaker) -> None:
    source = open_source(make_folder(2, sides=("train", "valid", "test")))
    assert source.classes == ("blue", "green", "red")
    assert {item.side for item in source.items} == {"train", "val", "test"}


def test_sides_may_be_written_with_capitals(make_folder: FolderMaker) -> None:
    source = open_source(make_folder(2, sides=("Train", "VAL", "Test")))
    assert source.classes == ("blue", "green", "red")
    assert {item.side for item in source.items} == {"train", "val", "test"}


def test_what_lies_beside_the_sides_is_not_read(make_folder: FolderMaker) -> None:
    root = make_folder(2, sides=("train", "test"))
    (root / "notes" / "old").mkdir(parents=True)
    assert open_source(root).classes == ("blue", "green", "red")


@pytest.mark.parametrize("sides", [("Train", "train"), ("VALID", "val"), ("Test", "test", "train")])
def test_one_side_in_two_folders_is_refused(make_folder: FolderMaker, sides: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=f"{sides[0]}/ and {sides[1]}/ are both "):
        open_source(make_folder(2, sides=sides))


@pytest.mark.parametrize("name", ["Train", "test"])
def test_a_class_beside_a_side_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    root = shutil.copytree(folder, tmp_path / "vehicles")
    (root / "red").rename(root / name)
    with pytest.raises(DataError, match=f"vehicles: {name}/ would be sides, with blue/ as a class beside"):
        open_source(root)


def test_a_file_named_like_a_side_is_none(folder: Path, tmp_path: Path) -> None:
    root = shutil.copytree(folder, tmp_path / "copied")
    (root / "test").write_text("notes")
    assert open_source(root).items == open_source(folder).items


@pytest.mark.parametrize("prefix", ["", "pictures/"])
def test_a_zip_is_read_as_the_folder_it_holds(folder: Path, tmp_path: Path, prefix: str) -> None:
    from_folder, from_zip = open_source(folder), open_source(zipped(folder, tmp_path / "a.zip", prefix))
    assert from_zip.classes == from_folder.classes
    assert [item.class_name for item in from_zip.items] == [item.class_name for item in from_folder.items]
    first, also_first = from_folder.items[0].path, from_zip.items[0].path
    assert from_zip.read(also_first) == from_folder.read(first)


def test_images_deeper_in_a_class_belong_to_it(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "deep"
    shutil.copytree(folder, root)
    (root / "red" / "dark").mkdir()
    shutil.copy(root / "red" / "000.png", root / "red" / "dark" / "x.png")
    assert len([item for item in open_source(root).items if item.class_name == "red"]) == 9


def test_an_empty_class_folder_is_still_a_class(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "with_empty"
    shutil.copytree(folder, root)
    (root / "white").mkdir()
    assert "white" in open_source(root).classes


def test_what_file_managers_leave_behind_is_not_seen(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "littered"
    shutil.copytree(folder, root)
    (root / ".git").mkdir()
    (root / ".git" / "x.png").write_bytes(b"x")
    for name in (".DS_Store", "red/.DS_Store", "red/Thumbs.db"):
        (root / name).write_bytes(b"x")
    littered, clean = open_source(root), open_source(folder)
    assert littered.items == clean.items
    assert littered.fingerprint == clean.fingerprint  # so that what was decoded before is still good


def test_a_folder_kept_in_a_hidden_one_may_be_linked_to(folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(folder, tmp_path / "images"))
    (root / ".store").mkdir()
    (root / "red").rename(root / ".store" / "red")
    (root / "red").symlink_to(root / ".store" / "red")
    assert open_source(root).items == open_source(folder).items


@pytest.mark.parametrize("name", ["Train", "test"])
def test_a_class_beside_a_side_is_refused_however_deep_its_images_lie(
    name: str, folder: Path, tmp_path: Path
) -> None:
    for label, colour in ((name, "red"), ("blue", "blue")):
        shutil.copytree(folder / colour, tmp_path / "vehicles" / label / "2019")
    with pytest.raises(DataError, match=f"{name}/ would be sides, with blue/ as a class beside"):
        open_source(tmp_path / "vehicles")


@pytest.mark.parametrize("note", ["README.txt", "pictures/README.txt"])
def test_a_note_beside_the_images_of_a_zip_changes_nothing(
    note: str, sided_folder: Path, tmp_path: Path
) -> None:
    path = zipped(sided_folder, tmp_path / "a.zip", "pictures/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(note, "what these are")
    assert open_source(path).classes == ("blue", "green", "red")
    assert {item.side for item in open_source(path).items} == {"train", "val", "test"}


def test_a_folder_elsewhere_may_be_linked_to(make_folder: FolderMaker, tmp_path: Path) -> None:
    train, test = make_folder(4), make_folder(2)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "train").symlink_to(train)
    (tmp_path / "linked" / "test").symlink_to(test)
    (test / "red" / "back").symlink_to(tmp_path / "linked")
    sides = [item.side for item in open_source(tmp_path / "linked").items]
    assert (sides.count("train"), sides.count("test")) == (12, 6)


def test_a_folder_that_cannot_be_read_is_an_error_and_not_an_empty_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "red":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError):
        open_source(folder)


def test_a_pipe_in_the_folder_is_refused_and_not_waited_for(folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(folder, tmp_path / "piped"))
    os.mkfifo(root / "red" / "pipe.png")
    source = open_source(root)
    assert "red/pipe.png" in [item.path for item in source.items]
    with pytest.raises(UnsupportedImage, match="not a file"):
        source.read("red/pipe.png")


def test_a_file_too_large_for_an_image_is_refused_unread(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(shutil.copytree(folder, tmp_path / "filmed"))
    (root / "red" / "film.mp4").write_bytes(bytes(10_001))
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 10_000)
    for source in (open_source(root), open_source(zipped(root, tmp_path / "filmed.zip"))):
        assert source.read("red/000.png")
        with pytest.raises(UnsupportedImage, match="larger than 10,000 bytes"):
            source.read("red/film.mp4")


def test_a_link_to_a_parent_does_not_loop(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "looped"
    shutil.copytree(folder, root)
    (root / "red" / "again").symlink_to(root)
    assert len(open_source(root).items) == 24


def test_torchvisions_cifar10_download_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        batch = {"data": pixels, "labels": [i % 10 for i in range(20)]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr("torchvision.datasets.CIFAR10._check_integrity", lambda self: True)  # noqa: ARG005
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)  # noqa: ARG005
    source = open_source(tmp_path)
    assert source.classes == tuple(names)
    assert len(source.items) == 120
    with Image.open(io.BytesIO(source.read("test/bird/00002.png"))) as image:
        assert np.array_equal(np.asarray(image).transpose(2, 0, 1).ravel(), pixels[2])


def test_a_damaged_cifar10_download_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    with pytest.raises(DataError, match="damaged or incomplete CIFAR-10"):
        open_source(tmp_path)


def test_a_zip_without_its_table_of_contents_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    path = zipped(folder, tmp_path / "a.zip")
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"XXXX"))
    with pytest.raises(DataError, match="a damaged zip file"):
        open_source(path)


def test_what_is_neither_a_folder_nor_a_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(DataError, match="neither"):
        open_source(tmp_path / "x.txt")


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    with pytest.raises(DataError, match="no class folder"):
        open_source(tmp_path)
