"""Which images are trained on, chosen on and reported on: pure, seeded, written down."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.data import Images
from train.errors import DataError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Indices into the images; `leaked` are copies of a held-out image, used nowhere."""

    train: Indices
    val: Indices
    test: Indices
    leaked: Indices

    def record(self, digests: Sequence[str], seed: int) -> dict[str, Any]:
        """What goes into the artifact: counts, and one hash a side that names its exact content."""
        sides = {"train": self.train, "val": self.val, "test": self.test}
        return {
            "seed": seed,
            "images": {name: len(indices) for name, indices in sides.items()},
            "leaked_copies_left_out": len(self.leaked),
            "content_sha256": {name: _content(indices, digests) for name, indices in sides.items()},
        }


def split(images: Images, val_fraction: float, test_fraction: float, seed: int) -> Splits:
    """Keep the sides the folders name; draw the missing ones from `train`, per class, copies together.

    Raises DataError when a class has too few different images to stand on every side.
    """
    sides = np.array([side or "train" for side in images.sides])
    if "test" not in sides:
        sides = _draw(images, sides, "test", test_fraction, seed)
    if "val" not in sides:
        sides = _draw(images, sides, "val", val_fraction, seed + 1)
    sides = _without_leaks(images.digests, sides)
    for side in ("train", "val"):
        _check_every_class(images, sides, side)
    train, val, test, leaked = (np.flatnonzero(sides == s) for s in ("train", "val", "test", "leaked"))
    return Splits(train, val, test, leaked)


def balanced(sides: Splits, images: Images, per_class: int | None, seed: int) -> Splits:
    """The same with `per_class` images of each class to train on, drawn once; None: all of them.

    Raises DataError where a class has fewer.
    """
    if per_class is None:
        return sides
    generator = np.random.default_rng([seed, per_class])
    labels = images.labels[sides.train]
    for label, name in enumerate(images.classes):
        if (found := int((labels == label).sum())) < per_class:
            raise DataError(f"class {name!r} has {found} images to train on, not {per_class}")
    drawn = [
        generator.permutation(sides.train[labels == label])[:per_class]
        for label in range(len(images.classes))
    ]
    return replace(sides, train=np.sort(np.concatenate(drawn)))


def recorded_test(training: Mapping[str, Any]) -> str | None:
    """The hash of the test side that an artifact's `training` records; None where it records no split."""
    found: str | None = training.get("data", {}).get("content_sha256", {}).get("test")
    return found


def reproduce(images: Images, training: Mapping[str, Any]) -> Splits:
    """The split that an artifact's `training` records; raises DataError where these images give another."""
    try:
        recipe, recorded = training["recipe"], training["data"]
        fractions = recipe["validation_fraction"], recipe["test_fraction"]
        seed, expected = recorded["seed"], recorded["content_sha256"]
    except KeyError as error:
        raise DataError(f"the model does not record how its images were split: no {error}") from error
    found = balanced(split(images, *fractions, seed), images, recipe.get("per_class"), seed)
    for side, content in found.record(images.digests, seed)["content_sha256"].items():
        if content != expected.get(side):
            raise DataError(f"not the images that the model was trained on: its {side} images are others")
    return found


def _draw(images: Images, sides: NDArray[np.str_], side: str, fraction: float, seed: int) -> NDArray[np.str_]:
    """Move `fraction` of each class's different images, all copies of each, from train to `side`."""
    drawn: set[str] = set()
    generator = np.random.default_rng(seed)
    for label in range(len(images.classes)):
        mine = np.flatnonzero((images.labels == label) & (sides == "train"))
        different = sorted({images.digests[i] for i in mine})
        count = max(1, round(fraction * len(different))) if fraction else 0
        drawn |= {different[i] for i in generator.permutation(len(different))[:count]}
    moved = np.array([digest in drawn for digest in images.digests]) & (sides == "train")
    return np.where(moved, side, sides).astype("<U6")


def _without_leaks(digests: Sequence[str], sides: NDArray[np.str_]) -> NDArray[np.str_]:
    """Take out of train what is also in val or test, and out of val what is also in test."""
    sides = sides.astype("<U6")
    for held_out, others in (("test", ("train", "val")), ("val", ("train",))):
        known = {digest for digest, side in zip(digests, sides, strict=True) if side == held_out}
        copies = np.array([digest in known for digest in digests])
        sides[copies & np.isin(sides, others)] = "leaked"
    return sides


def _check_every_class(images: Images, sides: NDArray[np.str_], side: str) -> None:
    present = set(images.labels[sides == side].tolist())
    for label, name in enumerate(images.classes):
        if label not in present:
            raise DataError(f"class {name!r} has no image left for {side}: it needs more different images")


def _content(indices: Indices, digests: Sequence[str]) -> str:
    joined = "\n".join(sorted(digests[i] for i in indices))
    return hashlib.sha256(joined.encode()).hexdigest()
