"""Where in an image is what its label is about, and strong augmentation that leaves the label true.

A folder of images may hold a `manifest.jsonl`. A line of it that is an object with `file`, the path of an
image, and `regions`, a list of [left, top, right, bottom] in shares of its width and height, says that the
label is about the first of these, and that what makes such a label is nowhere else but in them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.images import Pixels
from train import augment
from train.data import Labels
from train.errors import DataError
from train.recipe import RegionRule

FILE = "manifest.jsonl"
# float32 (n, most regions of an image, 4): left, top, right, bottom, with the image spanning -1 to 1; NaN
# where an image has fewer.
Boxes = NDArray[np.float32]

_WHOLE = (0.0, 0.0, 1.0, 1.0)
_TRIES = 12
_CLEARANCE = 0.08  # of a span of 2, between the image and a region that must be out of it
_AROUND_OWN, _AROUND_OTHERS = 0.35, 0.1  # of a region's size, which no patch covers or brings along


@dataclass(frozen=True)
class Regions:
    """The regions of every image of a run, what may be done to them, and the label of images without."""

    boxes: Boxes
    rule: RegionRule
    lost_label: int

    def vary(
        self, pixels: Pixels, labels: Labels, chosen: NDArray[np.int64], generator: np.random.Generator
    ) -> tuple[Pixels, Labels]:
        """The images `chosen`, uint8 (n, size, size, 3), each warped and patched anew, and their labels."""
        maps, lost = draw_maps(self.boxes[chosen], self.rule, generator)
        varied = augment.warped(pixels, maps)
        patch(varied, under(maps, self.boxes[chosen]), self.rule.patch_share, generator)
        return varied, np.where(lost, self.lost_label, labels)


def read(folder: Path, paths: Sequence[str]) -> Boxes | None:
    """The regions of the images at `paths` in `folder`; None where nothing there tells any.

    An image that the manifest does not tell about is a region as a whole, so that nothing is done to it.
    Raises DataError for a manifest that is none.
    """
    told = dict(_lines(folder / FILE)) if (folder / FILE).is_file() else {}
    if not told:
        return None
    regions = [told.get(path, [_WHOLE]) for path in paths]
    boxes = np.full((len(paths), max(1, *map(len, regions)), 4), np.nan, np.float32)
    for box, mine in zip(boxes, regions, strict=True):
        box[: len(mine)] = 2 * np.array(mine, np.float32).reshape(-1, 4) - 1
    return boxes


def _lines(manifest: Path) -> Iterator[tuple[str, list[tuple[float, ...]]]]:
    """Of the lines that are whole: a kill may have cut the last one."""
    for number, line in enumerate(manifest.read_bytes().split(b"\n")[:-1], start=1):
        try:
            row = dict(json.loads(line))
            if "regions" in row:
                yield str(row["file"]), [_region(region) for region in row["regions"]]
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{manifest}, line {number}: not what a manifest of regions says") from error


def _region(region: Any) -> tuple[float, ...]:
    left, top, right, bottom = map(float, region)
    if not (math.isfinite(left + top + right + bottom) and left < right and top < bottom):
        raise ValueError("no region")
    return left, top, right, bottom


def draw_maps(
    boxes: Boxes, rule: RegionRule, generator: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Affine maps (n, 2, 3), and which images they leave without any region: `rule.lost_share` of those that
    have one. Of the others the first region stays whole; none is moved where no such map was found.
    """
    count = len(boxes)
    has_region = ~np.isnan(boxes[:, 0, 0])
    loses = has_region & (generator.random(count) < rule.lost_share)
    maps = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))
    settled = np.zeros(count, bool)
    for _ in range(_TRIES):
        keeping = augment.affine_maps(count, rule.kept, generator)
        losing = augment.affine_maps(count, rule.lost, generator)
        keeps = _are_whole(under(keeping, boxes)[:, 0], rule) | ~has_region
        loses_all = _are_outside(under(losing, boxes)).all(axis=1) & _show_only_the_image(losing)
        new = np.where(loses, loses_all, keeps) & ~settled
        maps[new] = np.where(loses[:, None, None], losing, keeping)[new]
        settled |= new
    return maps, loses & settled


def under(maps: NDArray[np.float32], boxes: Boxes) -> Boxes:
    """Upright boxes around where `boxes` come to be when each image is warped by its map."""
    corners = boxes[:, :, [[0, 1], [2, 1], [0, 3], [2, 3]]]
    linear, shift = np.linalg.inv(maps[:, :, :2]), maps[:, None, None, :, 2]
    moved = np.einsum("nij,nkcj->nkci", linear, corners - shift)
    return np.concatenate([moved.min(axis=2), moved.max(axis=2)], axis=2).astype(np.float32)


def _are_whole(boxes: Boxes, rule: RegionRule) -> NDArray[np.bool_]:
    within = (np.abs(boxes) <= 1 - 2 * rule.margin_fraction).all(axis=1)
    return np.asarray(within & (boxes[:, 2] - boxes[:, 0] >= 2 * rule.least_fraction))


def _are_outside(boxes: Boxes) -> NDArray[np.bool_]:
    edge = 1 + _CLEARANCE
    beyond = (boxes[..., :2] > edge).any(axis=-1) | (boxes[..., 2:] < -edge).any(axis=-1)
    return np.asarray(beyond | np.isnan(boxes[..., 0]))


def _show_only_the_image(maps: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Beyond its edges an image is mirrored, and a region might be seen there."""
    return np.asarray((np.abs(maps).sum(axis=2) <= 1).all(axis=1))


def patch(batch: Pixels, boxes: Boxes, share: float, generator: np.random.Generator) -> None:
    """Cover a rectangle of `share` of the images, in place, by what another one has there; no region is
    covered, and none comes along.

    CutMix (Yun et al. 2019, arXiv 1905.04899), but the label stays that of the region.
    """
    side, originals, others = batch.shape[1], batch.copy(), generator.permutation(len(batch))
    own, foreign = _grown(boxes, _AROUND_OWN), _grown(boxes, _AROUND_OTHERS)[others]
    for image in np.flatnonzero(generator.random(len(batch)) < share):
        for _ in range(_TRIES):
            rectangle = _rectangle(generator)
            if not _meets(rectangle, np.concatenate([own[image], foreign[image]])):
                left, top, right, bottom = ((rectangle + 1) / 2 * side).astype(int)
                batch[image, top:bottom, left:right] = originals[others[image], top:bottom, left:right]
                break


def _rectangle(generator: np.random.Generator) -> NDArray[np.float64]:
    """A quarter to three quarters of the image a side, up to a tenth beyond its edges before they cut it."""
    size = generator.uniform(0.5, 1.5, 2)
    start = generator.uniform(-1.2, 1.2 - size)
    return np.concatenate([start, start + size]).clip(-1, 1)


def _grown(boxes: Boxes, around: float) -> Boxes:
    border = around * (boxes[..., 2:] - boxes[..., :2])
    return np.concatenate([boxes[..., :2] - border, boxes[..., 2:] + border], axis=-1)


def _meets(rectangle: NDArray[np.float64], boxes: Boxes) -> bool:
    apart = (boxes[:, :2] >= rectangle[2:]).any(axis=1) | (boxes[:, 2:] <= rectangle[:2]).any(axis=1)
    return bool((~apart & ~np.isnan(boxes[:, 0])).any())
