"""What happens to a batch of decoded images before the network sees it, as a pure function of a seed."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.images import Pixels
from train.recipe import Photometric, Recipe, Warp

# Fibonacci hashing (Knuth, TAOCP 6.4): the top bit of a product with it is as good as a coin.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def augment(
    pixels: Pixels, indices: NDArray[np.int64], crop_px: int, recipe: Recipe, epoch: int, seed: int
) -> Tensor:
    """uint8 (n, size, size, 3) -> uint8 (n, 3, crop_px, crop_px) in channels-last memory.

    `indices` are the images' places in the dataset, which decide who is flipped this epoch; `seed`
    belongs to the step, so that a resumed run draws what the uninterrupted one drew.
    """
    generator = np.random.default_rng(seed)
    flips = flipped(indices, epoch, recipe.seed) if recipe.flip else np.zeros(len(indices), bool)
    batch = np.where(flips[:, None, None, None], pixels[:, :, ::-1], pixels)
    if recipe.warp:
        batch = warped(batch, affine_maps(len(batch), recipe.warp, generator))
    batch = random_crop(batch, crop_px, recipe.pad_px, generator)
    if recipe.cutout_px:
        cutout(batch, recipe.cutout_px, generator)
    if recipe.photometric:
        batch = relit(batch, recipe.photometric, generator)
    return torch.from_numpy(batch).permute(0, 3, 1, 2)


def flipped(indices: NDArray[np.int64], epoch: int, seed: int) -> NDArray[np.bool_]:
    """Alternating flip (Jordan 2024, arXiv 2404.00498): a coin an image, then the other side each epoch."""
    mixed = (indices.astype(np.uint64) + np.uint64(seed)) * _GOLDEN
    return np.asarray(((mixed >> np.uint64(63)) + np.uint64(epoch)) % np.uint64(2) == 1)


def random_crop(batch: Pixels, crop_px: int, pad_px: int, generator: np.random.Generator) -> Pixels:
    """A window of `crop_px` a side at a random place of each image with a reflected border."""
    if pad_px == 0 and batch.shape[1] == crop_px:
        return batch
    padded = np.pad(batch, ((0, 0), (pad_px, pad_px), (pad_px, pad_px), (0, 0)), mode="reflect")
    span = padded.shape[1] - crop_px + 1
    tops, lefts = generator.integers(0, span, size=(2, len(batch)))
    window = np.arange(crop_px)
    rows = (tops[:, None] + window)[:, :, None]
    columns = (lefts[:, None] + window)[:, None, :]
    cropped: Pixels = padded[np.arange(len(batch))[:, None, None], rows, columns]
    return cropped


def cutout(batch: Pixels, side_px: int, generator: np.random.Generator) -> None:
    """Grey out one square an image, in place; it may hang over the edge (arXiv 1708.04552)."""
    height = batch.shape[1]
    tops, lefts = generator.integers(-side_px // 2, height - side_px // 2, size=(2, len(batch)))
    for image, top, left in zip(batch, tops, lefts, strict=True):
        image[max(top, 0) : top + side_px, max(left, 0) : left + side_px] = 128


def warped(batch: Pixels, maps: NDArray[np.float32]) -> Pixels:
    """Each image under its affine map (n, 2, 3); beyond the edges it is mirrored."""
    pictures = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float()
    places = nn.functional.affine_grid(torch.from_numpy(maps), list(pictures.shape), align_corners=False)
    moved = nn.functional.grid_sample(pictures, places, padding_mode="reflection", align_corners=False)
    pixels: Pixels = moved.add_(0.5).clamp_(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    return pixels


def affine_maps(count: int, warp: Warp, generator: np.random.Generator) -> NDArray[np.float32]:
    """(count, 2, 3): from a place in the new image to its source, with the image spanning -1 to 1."""
    drawn = generator.uniform(-1, 1, (6, count))
    scale = np.exp(generator.uniform(math.log(warp.scale[0]), math.log(warp.scale[1]), count))
    angle, shear = np.radians(warp.rotation_degrees) * drawn[0], np.radians(warp.shear_degrees) * drawn[1]
    wide, high = scale * (1 + warp.zoom_fraction * drawn[2:4])
    across, down = 2 * warp.shift_fraction * drawn[4:]
    cosine, sine, lean = np.cos(angle), np.sin(angle), np.tan(shear)
    rows = [
        [wide * cosine, wide * (lean * cosine - sine), across],
        [high * sine, high * (lean * sine + cosine), down],
    ]
    return np.array(rows, np.float32).transpose(2, 0, 1)


def hue_turns(radians: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) -> matrices (n, 3, 3) that turn RGB about the grey axis: greys stay (Rodrigues' formula)."""
    along = np.full((3, 3), 1 / 3, np.float32)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], np.float32) / np.float32(np.sqrt(3))
    cosine, sine = (each[:, None, None] for each in (np.cos(radians), np.sin(radians)))
    turns: NDArray[np.float32] = cosine * np.eye(3, dtype=np.float32) + sine * across + (1 - cosine) * along
    return turns


def relit(batch: Pixels, light: Photometric, generator: np.random.Generator) -> Pixels:
    """Each image with a brightness, contrast, saturation, hue, tint and noise of its own.

    All but the noise is one affine map of an image's colours: so one product, however much is changed.
    """

    def around(bound: float, channels: int = 1) -> NDArray[np.float32]:
        return 1 + generator.uniform(-bound, bound, (len(batch), 1, channels)).astype(np.float32)

    gain = around(light.brightness) * around(light.tint, 3)
    contrast, saturation = around(light.contrast), around(light.saturation)
    deviation = 255 * np.abs(around(light.noise) - 1)
    angles = np.float32(math.radians(light.hue_degrees)) * (around(1.0) - 1)
    lit = hue_turns(angles.ravel()) * gain
    grey = lit.mean(axis=1, keepdims=True)
    colours = contrast * (grey + saturation * (lit - grey))
    pixels = torch.from_numpy(np.ascontiguousarray(batch)).flatten(1, 2).float()
    middle = torch.from_numpy(grey) @ pixels.mean(1)[:, :, None]
    offset = torch.from_numpy(1 - contrast) * middle + 0.5
    noise = _normal(pixels.shape, generator).mul_(torch.from_numpy(deviation)).add_(offset)
    changed = torch.baddbmm(noise, pixels, torch.from_numpy(colours).transpose(1, 2))
    made: Pixels = changed.clamp_(0, 255).byte().view(batch.shape).numpy()
    return made


def _normal(shape: torch.Size, generator: np.random.Generator) -> Tensor:
    """float32, by torch, which is several times as fast at it as NumPy."""
    seed = int(generator.integers(2**62))
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(seed))
