"""Where in an image is what its label is about, and strong augmentation that leaves the label true.

A folder of images may hold a `manifest.jsonl`. A line of it that is an object with `file`, the path of an
image, and `regions`, a list of [left, top, right, bottom] in shares of its width and height as it is seen
upright, says that the label is about the first of these, and that what makes such a label is nowhere else but
in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

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
_ALL = (-1.0, -1.0, 1.0, 1.0)  # the same, as a box
_TRIES = 12
_CLEARANCE = 0.08  # of a span of 2, between the image and a region that must be out of it
_AROUND_OWN, _AROUND_OTHERS = 0.35, 0.1  # of a region's size, which no patch covers or brings along


@dataclass(frozen=True)
class Regions:
    """The regions of every image of a run, what may be done to them, and the label of images without."""

    boxes: Boxes
    rule: RegionRule
    lost_label: int

    @property
    def known(self) -> int:
        """How many images the manifest tells about."""
        return int((self.boxes[:, 0] != _ALL).any(axis=1).sum())

    @property
    def digest(self) -> str:
        """Names the boxes, for a run's record."""
        return hashlib.sha256(self.boxes.tobytes()).hexdigest()

    def vary(
        self,
        pixels: Pixels,
        labels: Labels,
        chosen: NDArray[np.int64],
        progress: float,
        generator: np.random.Generator,
    ) -> tuple[Pixels, Labels]:
        """The images `chosen`, uint8 (n, size, size, 3), each warped and patched anew, and their labels."""
        boxes, rule = self.boxes[chosen], self.rule.at(progress)
        maps, lost = draw_maps(boxes, rule, generator)
        varied = augment.warped(pixels, maps)
        patch(varied, under(maps, with_mirrored(boxes)), rule.patch_share, generator)
        return varied, np.where(lost, self.lost_label, labels)


def read(folder: Path, paths: Sequence[str]) -> Boxes | None:
    """The regions of the images at `paths` in `folder`; None where nothing there tells any.

    An image that the manifest does not tell about is a region as a whole, so that nothing is done to it.
    Raises DataError for a manifest that is none, or is of other images.
    """
    lines = _lines(folder / FILE) if (folder / FILE).is_file() else ()
    told = {line.file: line.regions for line in lines if line.regions is not None}
    if not told:
        return None
    if told.keys().isdisjoint(paths):
        raise DataError(f"{folder / FILE} tells of none of these images: paths begin below {folder}")
    regions = [told.get(path, [_WHOLE]) for path in paths]
    boxes = np.full((len(paths), max(1, *map(len, regions)), 4), np.nan, np.float32)
    for box, mine in zip(boxes, regions, strict=True):
        box[: len(mine)] = 2 * np.array(mine, np.float32).reshape(-1, 4) - 1
    return boxes


Share = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


class _Line(BaseModel):
    model_config = ConfigDict(strict=True)

    file: str | None = None
    regions: list[tuple[Share, Share, Share, Share]] | None = Field(default=None, max_length=100)

    @model_validator(mode="after")
    def _is_whole(self) -> _Line:
        if self.regions is not None and self.file is None:
            raise ValueError("regions of no file")
        if any(left >= right or top >= bottom for left, top, right, bottom in self.regions or ()):
            raise ValueError("no region")
        return self


def _lines(manifest: Path) -> Iterator[_Line]:
    """Those that are whole: a kill may have cut the last one."""
    for number, line in enumerate(manifest.read_bytes().split(b"\n")[:-1], start=1):
        try:
            yield _Line.model_validate_json(line)
        except ValidationError as error:
            raise DataError(f"{manifest}, line {number}: not what a manifest of regions says") from error


def draw_maps(
    boxes: Boxes, rule: RegionRule, generator: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Affine maps (n, 2, 3), and which images they leave without any region: `rule.lost_share` of those that
    have one, as far as such maps are found. Of the others the first region stays whole; where no map of the
    kind was found, the image stays as it is.
    """
    count = len(boxes)
    has_region = ~np.isnan(boxes[:, 0, 0])
    loses = has_region & (generator.random(count) < rule.lost_share)
    maps = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))
    kept, lost = np.zeros((2, count), bool)
    for _ in range(_TRIES):
        keeping = augment.affine_maps(count, rule.kept, generator)
        losing = augment.affine_maps(count, rule.lost, generator)
        keeps = _are_whole(under(keeping, boxes)[:, 0], rule) | ~has_region
        loses_all = _are_outside(under(losing, boxes)).all(axis=1) & _show_only_the_image(losing)
        first = loses & loses_all & ~lost
        maps[first] = losing[first]
        lost |= first
        first = keeps & ~kept & ~lost
        maps[first] = keeping[first]
        kept |= first
    return maps, lost


def under(maps: NDArray[np.float32], boxes: Boxes) -> Boxes:
    """Upright boxes around where `boxes` come to be when each image is warped by its map."""
    corners = boxes[:, :, [[0, 1], [2, 1], [0, 3], [2, 3]]]
    linear, shift = np.linalg.inv(maps[:, :, :2]), maps[:, None, None, :, 2]
    moved = np.einsum("nij,nkcj->nkci", linear, corners - shift)
    return np.concatenate([moved.min(axis=2), moved.max(axis=2)], axis=2).astype(np.float32)


def with_mirrored(boxes: Boxes) -> Boxes:
    """Each box, and where it is seen beyond an edge or a corner of its image: (n, 9 k, 4), its own first."""
    low, high = boxes[..., :2], boxes[..., 2:]
    copies = []
    for across in (0, 1, -1):
        for down in (0, 1, -1):
            edges, is_mirrored = 2 * np.array([across, down]), np.array([across, down]) != 0
            corners = [np.where(is_mirrored, edges - one, other) for one, other in ((high, low), (low, high))]
            copies.append(np.concatenate(corners, axis=-1, dtype=np.float32))
    return np.concatenate(copies, axis=1)


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
                corners = (rectangle + 1) / 2 * side
                (left, top), (right, bottom) = np.ceil(corners[:2]).astype(int), corners[2:].astype(int)
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
