"""Where images come from: a folder by class, a zip of one, or torchvision's CIFAR-10 download.

`CLASS/**/image` with or without `train/`, `val/` and `test/` above the classes; `training/`, `valid/` and
`validation/` are as good, with any capitals. What could be read in two ways is refused: two folders for one
side, or images in other folders beside them. Links to folders elsewhere are followed.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from PIL import Image
from torchvision.datasets import CIFAR10

from models.errors import UndecodableImage, UnsupportedImage
from train.errors import DataError

Side = Literal["train", "val", "test"]

_SIDES: dict[str, Side] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip
MAX_FILE_BYTES = 100_000_000  # 25 megapixels of RGB are 75 MB before any compression
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_CIFAR_FOLDER = "cifar-10-batches-py"


@dataclass(frozen=True)
class Item:
    """One file: where it is, the class its folder names, and the side it was put on, if any."""

    path: str
    class_name: str
    side: Side | None


@dataclass(frozen=True)
class Source:
    """Every file found, ordered by path, and how to read one. `classes` has the empty folders too."""

    name: str
    items: tuple[Item, ...]
    classes: tuple[str, ...]
    read: Callable[[str], bytes]
    fingerprint: str


def _side(folder: str) -> Side | None:
    return _SIDES.get(folder.casefold())


def open_source(path: Path) -> Source:
    """Find the images under `path`; raises DataError where there is no class folder with a file.

    `Source.read` raises OSError for a file that cannot be read now, ImageError for one that never can.
    """
    if path.is_dir() and (path / _CIFAR_FOLDER).is_dir():
        return _cifar(path)
    if path.is_dir():
        return _folder(path)
    if zipfile.is_zipfile(path):
        return _zip(path)
    raise DataError(f"{path}: neither a folder nor a zip file")


def _folder(root: Path) -> Source:
    files, folders = [], []
    entered = {root.resolve()}
    for directory, subdirectories, names in os.walk(root, followlinks=True, onerror=_raise):
        subdirectories[:] = [name for name in subdirectories if _enter(Path(directory, name), root, entered)]
        here = Path(directory).relative_to(root)
        files += [(here / name).as_posix() for name in names if not _hidden(name)]
        folders += [(here / name).as_posix() for name in subdirectories]
    stats = {path: _stat(root / path) for path in files}
    fingerprint = _digest(f"{p} {stats[p].st_size} {stats[p].st_mtime_ns}" for p in sorted(files))
    return _by_class(root.name, files, folders, lambda path: _read(root / path), fingerprint)


def _enter(folder: Path, root: Path, entered: set[Path]) -> bool:
    """Not what is hidden, nor through links to what is read anyway, under its own name or from another link:
    so none can loop.
    """
    real = folder.resolve()
    read_anyway = real in entered or _is_seen(real, root.resolve())
    if _hidden(folder.name) or (folder.is_symlink() and read_anyway):
        return False
    entered.add(real)
    return True


def _is_seen(folder: Path, root: Path) -> bool:
    return folder.is_relative_to(root) and not _hidden(folder.relative_to(root).as_posix())


def _raise(error: OSError) -> None:
    """A folder that cannot be read is not one without images."""
    raise error


def _stat(file: Path) -> os.stat_result:
    """Of what a link leads to, unless that is nothing."""
    return file.stat() if file.exists() else file.lstat()


def _read(file: Path) -> bytes:
    """Raises UnsupportedImage for what may have no end, such as a pipe, or is too large for an image."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnsupportedImage("not a file")
    _check_size(status.st_size)
    return file.read_bytes()


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_FILE_BYTES:
        raise UnsupportedImage(f"larger than {MAX_FILE_BYTES:,} bytes")


def _zip(path: Path) -> Source:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile lets what it stumbles on pass
        raise DataError(f"{path}: a damaged zip file") from error
    entries = archive.infolist()
    files = [entry.filename for entry in entries if not entry.is_dir()]
    folders = [entry.filename.rstrip("/") for entry in entries if entry.is_dir()]
    listing = [f"{entry.filename} {entry.file_size} {entry.CRC}" for entry in entries]
    fingerprint = _digest([str(path.stat().st_mtime_ns), *listing])  # the listing may survive damage
    return _by_class(path.name, files, folders, lambda member: _unzip(archive, member), fingerprint)


def _unzip(archive: zipfile.ZipFile, member: str) -> bytes:
    _check_size(archive.getinfo(member).file_size)
    try:
        return archive.read(member)
    except Exception as error:  # zipfile and each of its decompressors raise their own
        if isinstance(error, OSError) and error.errno:  # of the system; bz2's own has no number
            raise
        raise UndecodableImage("damaged or encrypted in the zip file") from error


def _by_class(
    name: str,
    files: Iterable[str],
    folders: Iterable[str],
    read: Callable[[str], bytes],
    fingerprint: str,
) -> Source:
    paths = sorted(path for path in files if not _hidden(path))
    prefix = _wrapper(paths)
    within = [parts for path in paths if len(parts := _parts(path, prefix)) > 1]
    sided = any(_side(parts[0]) for parts in within)
    if sided:
        _check_one_reading(name, within)
    level = 1 if sided else 0
    items = tuple(
        Item(path, parts[level], _side(parts[0]))
        for path in paths
        if len(parts := _parts(path, prefix)) > level + 1 and bool(_side(parts[0])) == sided
    )
    if not items:
        raise DataError(f"{name}: no class folder with a file in it")
    class_folders = {
        parts[level]
        for path in folders
        if not _hidden(path)
        and path.startswith(prefix)
        and len(parts := _parts(path, prefix)) == level + 1
        and bool(_side(parts[0])) == sided
    }
    classes = tuple(sorted({item.class_name for item in items} | class_folders))
    return Source(name, items, classes, read, fingerprint)


def _check_one_reading(name: str, files: list[tuple[str, ...]]) -> None:
    """Raises DataError where the sides are not all there is, or one side is there twice."""
    folders: dict[Side, str] = {}
    for folder in sorted({parts[0] for parts in files}):
        side = _side(folder)
        if side and folders.setdefault(side, folder) != folder:
            raise DataError(f"{name}: {folders[side]}/ and {folder}/ are both {side}: leave one of them")
    for folder, *inside in files:
        if not _side(folder) and _looks_like_an_image(inside[-1]):
            sides = " and ".join(f"{found}/" for found in folders.values())
            raise DataError(f"{name}: {sides} would be sides, with {folder}/ as a class beside: rename one")


def _looks_like_an_image(file: str) -> bool:
    return PurePosixPath(file).suffix.lower() in _IMAGE_SUFFIXES


def _digest(lines: Iterable[str]) -> str:
    """One hash for a listing, so that a changed file makes another cache."""
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _wrapper(paths: list[str]) -> str:
    """The one folder that holds all images, as in most zips; never a class or a side."""
    telling = [path for path in paths if _looks_like_an_image(path)] or paths
    foldered = [parts for path in telling if len(parts := PurePosixPath(path).parts) > 1]
    tops = {parts[0] for parts in foldered}
    shallowest = min(map(len, foldered), default=0)
    alone = len(tops) == 1 and shallowest > 2 and not _side(next(iter(tops)))
    return f"{next(iter(tops))}/" if alone else ""


def _parts(path: str, prefix: str) -> tuple[str, ...]:
    return PurePosixPath(path.removeprefix(prefix)).parts or ("",)


def _hidden(path: str) -> bool:
    """What file managers leave behind: .DS_Store, ._x, __MACOSX, Thumbs.db; in a zip, also no name at all."""
    parts = PurePosixPath(path).parts
    return not parts or any(part.startswith((".", "__MACOSX")) for part in parts) or parts[-1] == "Thumbs.db"


def _cifar(root: Path) -> Source:
    """torchvision's format holds raw pixels; as PNG files they go the one way every image goes."""
    sides: tuple[Side, ...] = ("train", "test")
    try:
        sets = {side: CIFAR10(str(root), train=side == "train") for side in sides}
    except RuntimeError as error:  # a checksum differs, or a file is missing
        raise DataError(f"{root / _CIFAR_FOLDER}: a damaged or incomplete CIFAR-10 download") from error
    classes: list[str] = sets["train"].classes
    items = tuple(
        Item(f"{side}/{classes[target]}/{index:05d}.png", classes[target], side)
        for side, images in sets.items()
        for index, target in enumerate(images.targets)
    )

    def read(path: str) -> bytes:
        side, _, name = PurePosixPath(path).parts
        encoded = io.BytesIO()
        Image.fromarray(sets[side].data[int(name[:5])]).save(encoded, "PNG")  # type: ignore[index]
        return encoded.getvalue()

    return Source("cifar-10", items, tuple(sorted(classes)), read, _digest([_CIFAR_FOLDER]))
