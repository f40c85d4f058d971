from __future__ import annotations

import errno
import os
import resource
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.images import Preprocessing
from tests.conftest import png_header
from train import data
from train.errors import DataError
from train.sources import Item, Source, open_source

AT_8 = Preprocessing(size=8, resize="stretch")


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A folder a test may spoil."""
    return Path(shutil.copytree(folder, tmp_path / "images"))


def test_images_come_with_their_class_and_their_path(folder: Path, tmp_path: Path) -> None:
    images, rejected = data.load(open_source(folder), AT_8, tmp_path)
    assert images.pixels.shape == (24, 8, 8, 3)
    assert not rejected
    assert images.paths[0] == "blue/000.png"
    assert images.classes[images.labels[0]] == "blue"
    assert images.pixels[images.labels == 2].mean(axis=(0, 1, 2)).argmax() == 0  # red is reddest


def unreadable(path: str) -> bytes:
    raise AssertionError(f"{path} was read again")


def test_the_second_run_decodes_nothing(folder: Path, tmp_path: Path) -> None:
    first, _ = data.load(open_source(folder), AT_8, tmp_path)
    source: Source = replace(open_source(folder), read=unreadable)
    second, _ = data.load(source, AT_8, tmp_path)
    assert np.array_equal(first.pixels, second.pixels)
    assert second.digests == first.digests


def failing(read: Callable[[str], bytes], number: int) -> Callable[[str], bytes]:
    """`read`, but for the first red image, at which the system fails with the error of this number."""

    def fail(path: str) -> bytes:
        if path.endswith("red/000.png"):
            raise OSError(number, os.strerror(number))
        return read(path)

    return fail


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES])
def test_a_file_that_could_not_be_read_once_is_read_the_next_time(
    folder: Path, tmp_path: Path, number: int
) -> None:
    source = open_source(folder)
    images, rejected = data.load(replace(source, read=failing(source.read, number)), AT_8, tmp_path)
    assert len(images) == 23
    assert [str(file) for file in rejected] == [f"red/000.png: {os.strerror(number)}"]
    assert images.pixels[images.labels == 2].mean(axis=(0, 1, 2)).argmax() == 0  # they can still be looked at
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    images, rejected = data.load(source, AT_8, tmp_path)
    assert len(images) == 24
    assert not rejected


def test_a_zip_on_a_disk_that_failed_once_is_read_the_next_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path(shutil.make_archive(str(tmp_path / "images"), "zip", folder))
    read = zipfile.ZipFile.read
    with monkeypatch.context() as patch:
        patch.setattr(
            zipfile.ZipFile,
            "read",
            lambda self, name: failing(lambda path: read(self, path), errno.EIO)(name),
        )
        assert len(data.load(open_source(whole), AT_8, tmp_path / "cache")[0]) == 23
    assert len(data.load(open_source(whole), AT_8, tmp_path / "cache")[0]) == 24


def test_many_images_are_never_all_in_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "CHUNK", 8)
    encoded = (folder / "red" / "000.png").read_bytes()
    items = tuple(Item(f"red/{number}.png", "red", None) for number in range(80))
    source = Source("many", items, ("red",), lambda _: encoded, "")
    tracemalloc.start()
    images, _ = data.load(source, Preprocessing(size=96, resize="stretch"), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(images) == len(items)
    assert peak < images.pixels.nbytes / 2


def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (1_000, before[1])
    )  # Python ignores the signal that comes of it
    try:
        with pytest.raises(OSError, match="too large"):
            data.load(open_source(folder), AT_8, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_changed_file_is_decoded_anew(copied: Path, tmp_path: Path) -> None:
    data.load(open_source(copied), AT_8, tmp_path)
    Image.new("RGB", (9, 9), "white").save(copied / "red" / "000.png")
    images, _ = data.load(open_source(copied), AT_8, tmp_path)
    assert images.pixels[images.paths.index("red/000.png")].min() == 255


def test_files_that_are_no_images_are_listed_with_their_reason(copied: Path, tmp_path: Path) -> None:
    (copied / "red" / "broken.png").write_bytes((copied / "red" / "000.png").read_bytes()[:60])
    (copied / "red" / "empty.png").write_bytes(b"")
    (copied / "red" / "huge.png").write_bytes(png_header(100_000, 100_000))
    (copied / "red" / "notes.txt").write_text("not an image")
    (copied / "red" / "gone.png").symlink_to("nowhere")
    images, rejected = data.load(open_source(copied), AT_8, tmp_path)
    assert len(images) == 24
    assert all(pixels.any() for pixels in images.pixels)
    reasons = {file.path: file.reason for file in rejected}
    assert set(reasons) == {
        f"red/{name}" for name in ("broken.png", "empty.png", "gone.png", "huge.png", "notes.txt")
    }
    assert "pixels" in reasons["red/huge.png"]


def test_a_damaged_file_in_a_zip_is_listed(folder: Path, tmp_path: Path) -> None:
    content = (folder / "red" / "000.png").read_bytes()
    whole = Path(shutil.make_archive(str(tmp_path / "images"), "zip", folder))
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(tmp_path / "stored.zip", "w") as stored:
        for name in archive.namelist():
            stored.writestr(name, archive.read(name))
    stored_bytes = (tmp_path / "stored.zip").read_bytes()
    (tmp_path / "stored.zip").write_bytes(stored_bytes.replace(content, content[::-1]))
    images, rejected = data.load(open_source(tmp_path / "stored.zip"), AT_8, tmp_path / "cache")
    assert len(images) == 23
    assert [str(file) for file in rejected] == ["red/000.png: damaged or encrypted in the zip file"]


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"XXXX"), (6, b"\x01"), (8, b"\x63")],  # no header; encrypted; a compression that nobody knows
)
def test_a_file_that_the_zip_cannot_give_is_listed(
    folder: Path, tmp_path: Path, at: int, value: bytes
) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder).as_posix())
        first = archive.infolist()[0]
        listed_at = archive.start_dir
    damaged = bytearray(path.read_bytes())
    for start in (first.header_offset + at, listed_at + at + 2 if at else 0):  # both of its headers
        damaged[start : start + len(value)] = value
    path.write_bytes(damaged)
    images, rejected = data.load(open_source(path), AT_8, tmp_path / "cache")
    assert len(images) == 23
    assert [str(file) for file in rejected] == [f"{first.filename}: damaged or encrypted in the zip file"]
    known = replace(open_source(path), read=unreadable)  # damage does not pass: it is not looked at again
    with pytest.raises(DataError, match="1 files cannot be used"):
        data.load(known, AT_8, tmp_path / "cache", policy="fail")


def test_a_file_whose_name_is_no_text_is_listed(copied: Path, tmp_path: Path) -> None:
    shutil.copy(copied / "red" / "000.png", copied / "red" / os.fsdecode(b"caf\xe9.png"))
    for _ in range(2):  # the second time out of the cache
        images, rejected = data.load(open_source(copied), AT_8, tmp_path / "cache")
        assert len(images) == 24
        assert [str(file) for file in rejected] == ["red/caf\\udce9.png: its name is not UTF-8"]


def test_the_policy_fail_names_the_first_bad_file(copied: Path, tmp_path: Path) -> None:
    (copied / "red" / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 files cannot be used, the first red/empty\.png"):
        data.load(open_source(copied), AT_8, tmp_path, policy="fail")


def test_a_cmyk_jpeg_is_an_image(copied: Path, tmp_path: Path) -> None:
    Image.new("CMYK", (9, 9)).save(copied / "red" / "print.jpg", "JPEG")
    images, rejected = data.load(open_source(copied), AT_8, tmp_path)
    assert len(images) == 25
    assert not rejected


def test_a_class_without_a_readable_image_is_refused(copied: Path, tmp_path: Path) -> None:
    (copied / "white").mkdir()
    (copied / "white" / "x.png").write_bytes(b"")
    images, _ = data.load(open_source(copied), AT_8, tmp_path)
    with pytest.raises(DataError, match="class 'white' has no readable image"):
        data.check_classes(images)


def test_a_single_class_is_refused(copied: Path, tmp_path: Path) -> None:
    shutil.rmtree(copied / "red")
    shutil.rmtree(copied / "green")
    images, _ = data.load(open_source(copied), AT_8, tmp_path)
    with pytest.raises(DataError, match=r"one class only \(blue\)"):
        data.check_classes(images)


def test_classes_that_differ_by_capitals_alone_are_refused(copied: Path, tmp_path: Path) -> None:
    shutil.copytree(copied / "red", copied / "Red")
    images, _ = data.load(open_source(copied), AT_8, tmp_path)
    with pytest.raises(DataError, match="other capitals"):
        data.check_classes(images)


def test_a_folder_of_nothing_readable_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "x.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of 2 files"):
        data.load(open_source(tmp_path / "images"), AT_8, tmp_path / "cache")
