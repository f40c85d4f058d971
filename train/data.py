"""A source of images -> decoded pixels and labels on each side of the split."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
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
CACHE_FORMAT = 1


@dataclass(frozen=True)
class Rejected:
    """A file that is not an image we can use, and why."""

    path: str
    reason: str

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


def load(
    source: Source, preprocessing: Preprocessing, cache: Path, policy: Policy = "skip"
) -> tuple[Images, tuple[Rejected, ...]]:
    """Decode every file of `source` through the service's preprocessing, once: later calls map the cache.

    Raises DataError where nothing can be read, and with the policy `fail` for any file that is not an image.
    """
    folder = cache / _key(source, preprocessing)
    if not (folder / "index.json").exists():
        _decode_into(folder, source, preprocessing)
    index = json.loads((folder / "index.json").read_text())
    rejected = tuple(Rejected(path, reason) for path, reason in index["rejected"])
    if rejected and policy == "fail":
        raise DataError(f"{len(rejected)} files cannot be used, the first {rejected[0]}")
    refused = {file.path for file in rejected}
    kept = [item for item in source.items if item.path not in refused]
    number = {name: i for i, name in enumerate(source.classes)}
    loaded = Images(
        source.classes,
        np.load(folder / "pixels.npy", mmap_mode="r"),
        np.array([number[item.class_name] for item in kept], np.int64),
        tuple(item.path for item in kept),
        tuple(index["digests"]),
        tuple(item.side for item in kept),
    )
    return loaded, rejected


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


def _decode_into(folder: Path, source: Source, preprocessing: Preprocessing) -> None:
    """Write `pixels.npy` and, last and atomically, `index.json`, whose presence says that both are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without the interpreter lock
        results = list(pool.map(lambda item: _decode(source, item, preprocessing), source.items))
    decoded = [result for result in results if not isinstance(result, Rejected)]
    rejected = [(result.path, result.reason) for result in results if isinstance(result, Rejected)]
    if not decoded:
        raise DataError(f"{source.name}: none of {len(results)} files is a readable image")
    scratch = folder / f"pixels.{os.getpid()}.npy"
    np.save(scratch, np.stack([pixels for pixels, _ in decoded]))
    scratch.replace(folder / "pixels.npy")
    scratch = folder / f"index.{os.getpid()}.json"
    scratch.write_text(json.dumps({"digests": [digest for _, digest in decoded], "rejected": rejected}))
    scratch.replace(folder / "index.json")


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
        return Rejected(item.path, error.strerror or "cannot be read")
