"""Where the images come from."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from loadtest.errors import NoImages
from loadtest.images import load_images


def test_the_bundled_samples_are_images_that_open() -> None:
    samples = load_images()
    assert {image.content_type for image in samples} == {"image/jpeg", "image/png", "image/webp"}
    for sample in samples:
        Image.open(io.BytesIO(sample.data)).verify()


def test_a_folder_is_searched_with_its_subfolders_and_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "frog").mkdir()
    (tmp_path / "frog" / "1.JPG").write_bytes(b"frog")
    (tmp_path / "0.png").write_bytes(b"ship")
    (tmp_path / "labels.csv").write_bytes(b"no image")
    assert [(image.name, image.data) for image in load_images(tmp_path)] == [
        ("0.png", b"ship"),
        ("frog/1.JPG", b"frog"),
    ]


def test_a_zip_gives_what_its_folder_would(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test/cat/1.webp", b"cat")
        archive.writestr("README.md", b"no image")
    assert [(image.name, image.content_type) for image in load_images(path)] == [
        ("test/cat/1.webp", "image/webp")
    ]


def test_of_too_many_images_every_class_still_takes_part(tmp_path: Path) -> None:
    for label in ("a", "b", "c"):
        (tmp_path / label).mkdir()
        for index in range(4):
            (tmp_path / label / f"{index}.png").write_bytes(b"x")
    assert [image.name for image in load_images(tmp_path, most=3)] == ["a/0.png", "b/0.png", "c/0.png"]


@pytest.mark.parametrize("name", ["empty", "missing", "text.txt"])
def test_a_source_without_images_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("not a zip")
    with pytest.raises(NoImages, match=name):
        load_images(tmp_path / name)
