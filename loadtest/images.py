"""Real images to post: the bundled photographs, or a folder or zip of one's own."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from loadtest.errors import NoImages

SAMPLES = Path(__file__).parent / "samples"
MOST_IMAGES = 1000  # enough that none is seen twice in a batch, and all stay in memory

_CONTENT_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """A file as it is, never decoded here."""

    name: str
    data: bytes = field(repr=False)

    @property
    def content_type(self) -> str:
        return _CONTENT_TYPES[PurePosixPath(self.name).suffix.lower()]


def load_images(source: Path | None = None, most: int = MOST_IMAGES) -> list[EncodedImage]:
    """JPEG, PNG and WebP files of a folder or zip, with its subfolders; `None` means the bundled samples.

    Of more than ``most``, as many spread evenly over the sorted names, so that every class of a folder by
    class takes part. Raises NoImages.
    """
    source = source or SAMPLES
    if source.is_dir():
        images = _from_folder(source, most)
    elif source.is_file() and zipfile.is_zipfile(source):
        images = _from_zip(source, most)
    else:
        raise NoImages(f"{source}: neither a folder nor a zip")
    if not images:
        raise NoImages(f"{source}: no .jpg, .png or .webp files in it")
    return images


def _from_folder(folder: Path, most: int) -> list[EncodedImage]:
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [EncodedImage(name, (folder / name).read_bytes()) for name in _chosen(names, most)]


def _from_zip(path: Path, most: int) -> list[EncodedImage]:
    with zipfile.ZipFile(path) as archive:
        return [EncodedImage(name, archive.read(name)) for name in _chosen(archive.namelist(), most)]


def _chosen(names: Sequence[str], most: int) -> list[str]:
    images = sorted(name for name in names if PurePosixPath(name).suffix.lower() in _CONTENT_TYPES)
    count = min(len(images), most)
    return [images[index * len(images) // count] for index in range(count)]
