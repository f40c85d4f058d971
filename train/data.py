"""A source of images -> decoded pixels and labels on each side of the split."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models import images
from models.errors import ImageError
from models.images import Pixels, Preprocessing
from train.errors import DataError
from train.sources import Item, Source

Labels = NDArray[np.int64]
Policy = Literal["skip", "fail"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rotulo"
CACHE_FORMAT = 2
PIXELS, INDEX = "pixels", "index.json"
CHUNK = 256  # images in memory at once while they are decoded


@dataclass(frozen=True)
class Rejected:
    """A file that is not an image we can use, and why; `passing` where another time it may be one."""

    path: str
    reason: str
    passing: bool = False

    def __str__(self) -> str:
        """One line; bytes that are no text are escaped."""
        return f"{self.path}: {self.reason}".encode(errors="backslashreplace").decode()


@dataclass(frozen=True)
class Images:
    """Decoded images: `pixels` uint8 (n, size, size, 3), `labels` into `classes`; the rest one each."""

    classes: tuple[str, ...]
    pixels: Pixels
    labels: Labels
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    sides: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> Images:
        """The images at `indices`, in that order."""
        return Images(
            self.classes,
            self.pixels[indices],
            self.labels[indices],
            tuple(self.paths[i] for i in indices),
            tuple(self.digests[i] for i in indices),
            tuple(self.sides[i] for i in indices),
        )


_Decoded = tuple[Pixels, tuple[str, ...], tuple[Rejected, ...]]


def load(
    source: Source, preprocessing: Preprocessing, cache: Path, policy: Policy = "skip"
) -> tuple[Images, tuple[Rejected, ...]]:
    """Decode every file of `source` through the service's preprocessing, once: later calls map the cache.

    Raises DataError where nothing can be read, and with the policy `fail` for any file that is not an image.
    """
    folder = cache / _key(source, preprocessing)
    if (folder / INDEX).exists():
        pixels, digests, rejected = _kept(folder, preprocessing)
    else:
        pixels, digests, rejected = _decode_into(folder, source, preprocessing)
    if rejected and policy == "fail":
        raise DataError(f"{len(rejected)} files cannot be used, the first {rejected[0]}")
    refused = {file.path for file in rejected}
    kept = [item for item in source.items if item.path not in refused]
    number = {name: i for i, name in enumerate(source.classes)}
    loaded = Images(
        source.classes,
        pixels,
        np.array([number[item.class_name] for item in kept], np.int64),
        tuple(item.path for item in kept),
        digests,
        tuple(item.side for item in kept),
    )
    return loaded, rejected


def warn_of(rejected: Iterable[Rejected]) -> None:
    """Name the files that are left out, a line each, on standard error."""
    for file in rejected:
        print(f"skipped {file}", file=sys.stderr)


def check_classes(images: Images) -> None:
    """Refuse what cannot be learnt from: raises DataError for fewer than two classes, names that differ
    only by case, and a class without a readable image.
    """
    if len(images.classes) < 2:
        raise DataError(f"one class only ({images.classes[0]}): a classifier needs two")
    folded = Counter(name.casefold() for name in images.classes)
    for label, name in enumerate(images.classes):
        if folded[name.casefold()] > 1:
            raise DataError(f"class {name!r} exists twice, with other capitals")
        if not (images.labels == label).any():
            raise DataError(f"class {name!r} has no readable image")


def _key(source: Source, preprocessing: Preprocessing) -> str:
    """Names the cache after everything that decides its content; file contents by size and time."""
    parts = [str(CACHE_FORMAT), preprocessing.model_dump_json(), source.fingerprint]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _kept(folder: Path, preprocessing: Preprocessing) -> _Decoded:
    index = json.loads((folder / INDEX).read_text())
    rejected = tuple(Rejected(path, reason) for path, reason in index["rejected"])
    return _map(folder / PIXELS, len(index["digests"]), preprocessing), tuple(index["digests"]), rejected


def _decode_into(folder: Path, source: Source, preprocessing: Preprocessing) -> _Decoded:
    """Write the pixels, image after image, and, last and atomically, the index, whose presence says that both
    are whole.

    Neither stays where a file could not be read for a reason that may pass: later runs try all anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f"{PIXELS}.{os.getpid()}"
    try:
        digests, rejected = _decode_to(scratch, source, preprocessing)
        if not digests:
            raise DataError(f"{source.name}: none of {len(rejected)} files is a readable image")
        pixels = _map(scratch, len(digests), preprocessing)
        if not any(file.passing for file in rejected):
            scratch.replace(folder / PIXELS)
            scratch.write_text(
                json.dumps({"digests": digests, "rejected": [(file.path, file.reason) for file in rejected]})
            )
            scratch.replace(folder / INDEX)
    finally:
        scratch.unlink(missing_ok=True)  # what is mapped can still be read
    return pixels, tuple(digests), tuple(rejected)


def _decode_to(file: Path, source: Source, preprocessing: Preprocessing) -> tuple[list[str], list[Rejected]]:
    """Written and not mapped: a full disk is an error then, and no signal that ends the process."""
    digests, rejected = [], []
    with file.open("wb") as pixels, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(source.items), CHUNK):
            chunk = source.items[start : start + CHUNK]
            # Pillow decodes without the interpreter lock.
            for result in pool.map(lambda item: _decode(source, item, preprocessing), chunk):
                if isinstance(result, Rejected):
                    rejected.append(result)
                else:
                    pixels.write(result[0].tobytes())
                    digests.append(result[1])
    return digests, rejected


def _map(file: Path, count: int, preprocessing: Preprocessing) -> Pixels:
    size = preprocessing.size
    return np.memmap(file, np.uint8, "r", shape=(count, size, size, 3))


def _decode(source: Source, item: Item, preprocessing: Preprocessing) -> tuple[Pixels, str] | Rejected:
    try:
        item.path.encode()  # reports and manifests are UTF-8
        data = source.read(item.path)
        return images.prepare(data, preprocessing), hashlib.sha256(data).hexdigest()
    except UnicodeEncodeError:
        return Rejected(item.path, "its name is not UTF-8")
    except ImageError as error:
        return Rejected(item.path, str(error))
    except OSError as error:
        return Rejected(item.path, error.strerror or "cannot be read", passing=True)
