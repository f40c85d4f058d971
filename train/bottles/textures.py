"""Surfaces and surroundings, painted: pure NumPy. Linear RGB, float32 (height, width, 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Picture = NDArray[np.float32]
Painted = NDArray[np.floating[Any]]
Rng = np.random.Generator


def paint(kind: str, seed: int, size: int = 192, blur: float = 0.0) -> Picture:
    """A texture by its name in `distributions`."""
    rng = np.random.default_rng(seed)
    picture = np.clip(_PAINTERS[kind](rng, size), 0.01, 0.95).astype(np.float32)
    return blurred(picture, blur) if blur else picture


def blurred(picture: Picture, radius_px: float) -> Picture:
    """Gaussian blur, around the edges as if the picture went on there."""
    height, width = picture.shape[:2]
    across, down = np.meshgrid(np.fft.rfftfreq(width), np.fft.fftfreq(height))
    passes = np.exp(-2 * (np.pi * radius_px) ** 2 * (across**2 + down**2))[:, :, None]
    spectrum = np.fft.rfft2(picture, axes=(0, 1)) * passes
    return np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1)).astype(np.float32)


def colour(rng: Rng, dullest: float = 0.0, darkest: float = 0.03) -> NDArray[np.float64]:
    """One colour: a grey, from `darkest` to 0.8, with more or less of a hue; at least `dullest` of it."""
    grey = rng.uniform(darkest, 0.8)
    hue = rng.dirichlet((0.6, 0.6, 0.6)) * 3
    share = max(dullest, rng.beta(1.2, 2.0))
    return np.asarray(np.clip(grey * (1 - share + share * hue), 0.01, 0.95))


def noise(rng: Rng, height: int, width: int, slope: float = 1.6) -> NDArray[np.float64]:
    """Noise whose spectrum falls as 1/f^slope, as photographs' do: zero mean, unit deviation."""
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(width), np.fft.fftfreq(height)))
    frequencies[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(height, width))) / frequencies**slope
    spectrum[0, 0] = 0
    field = np.fft.ifft2(spectrum).real
    return np.asarray(field / field.std())


def leaves(rng: Rng, height: int, width: int, count: int = 160) -> Picture:
    """Dead leaves: shapes over one another with sizes by a power law, whose statistics are those of
    photographs (Lee, Mumford, Huang 2001; Baradad et al. 2021, arXiv 2106.05963).
    """
    canvas = Image.new("RGB", (width, height), _byte(colour(rng)))
    draw = ImageDraw.Draw(canvas)
    smallest, largest = 0.02 * width, 0.45 * width
    for _ in range(count):
        radius = smallest / np.sqrt(1 - rng.random() * (1 - (smallest / largest) ** 2))
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        _leaf(draw, rng, x, y, radius)
    shade = 1 + 0.12 * noise(rng, height, width)[:, :, None]
    return np.asarray((np.asarray(canvas) / 255.0) ** 2 * shade, np.float32)


def _leaf(draw: ImageDraw.ImageDraw, rng: Rng, x: float, y: float, radius: float) -> None:
    fill = _byte(colour(rng))
    stretch = rng.uniform(0.4, 1.6)
    if rng.random() < 0.4:
        draw.ellipse((x - radius, y - radius * stretch, x + radius, y + radius * stretch), fill)
        return
    corners = int(rng.integers(3, 7))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    draw.polygon([(x + radius * np.cos(a), y + radius * stretch * np.sin(a)) for a in angles], fill)


def _byte(linear: NDArray[np.float64]) -> tuple[int, int, int]:
    red, green, blue = (int(255 * np.sqrt(value)) for value in linear)
    return red, green, blue


def _plain(rng: Rng, size: int) -> Painted:
    ramp = np.linspace(0, 1, size)[:, None, None]
    if rng.random() < 0.5:
        ramp = ramp.transpose(1, 0, 2)
    mixed = (
        colour(rng) * (1 - ramp) + colour(rng) * ramp
        if rng.random() < 0.5
        else colour(rng) * (0.8 + 0.2 * ramp)
    )
    return np.broadcast_to(mixed, (size, size, 3)) * (1 + 0.05 * noise(rng, size, size)[:, :, None])


def _leaves(rng: Rng, size: int) -> Painted:
    return leaves(rng, size, size)


def _wood(rng: Rng, size: int) -> Painted:
    grain = np.repeat(noise(rng, size // 8, size, 0.9), 8, axis=0)[:size]
    rings = np.sin(grain * 2 + np.linspace(0, rng.uniform(10, 60), size))
    brown = np.array([0.34, 0.19, 0.09]) * rng.uniform(0.35, 1.9)
    boards = (np.arange(size) // (size // int(rng.integers(2, 7)))) % 2
    return brown * (1 + 0.22 * rings + 0.12 * boards[None, :] + 0.05 * noise(rng, size, size))[:, :, None]


def _bricks(rng: Rng, size: int) -> Painted:
    return _masonry(rng, size, int(rng.integers(5, 12)), 2.2, offset=0.5)


def _tiles(rng: Rng, size: int) -> Painted:
    return _masonry(rng, size, int(rng.integers(4, 12)), 1.0, offset=0.0)


def _masonry(rng: Rng, size: int, rows: int, aspect: float, offset: float) -> Painted:
    """Rectangles with joints; each its own shade of one colour."""
    y, x = np.mgrid[0:size, 0:size] / size * rows
    row = np.floor(y).astype(int)
    across = x / aspect + offset * (row % 2)
    column = np.floor(across).astype(int)
    shades = rng.uniform(0.7, 1.3, (rows + 1, rows + 2))[row, column]
    joint = (y % 1 < 0.1) | (across % 1 < 0.1 / aspect)
    picture = colour(rng, 0.3) * shades[:, :, None]
    return np.asarray(np.where(joint[:, :, None], colour(rng), picture))


def _shelves(rng: Rng, size: int) -> Painted:
    """Rows of upright blocks, such as books or boxes."""
    picture = np.empty((size, size, 3))
    shelf = size // int(rng.integers(2, 5))
    for top in range(0, size, shelf):
        edges = np.sort(rng.integers(0, size, int(rng.integers(6, 24))))
        for left, right in zip([0, *edges], [*edges, size], strict=True):
            picture[top : top + shelf, left:right] = colour(rng)
        picture[top : top + max(2, shelf // 12)] = 0.08
    return picture


def _cloth(rng: Rng, size: int) -> Painted:
    """Woven checks."""
    period = int(rng.integers(10, 60))
    band = (np.arange(size) % period < period * rng.uniform(0.2, 0.8)).astype(float)
    weave = 0.5 * (band[:, None] + band[None, :])[:, :, None]
    return np.asarray(
        colour(rng) * (1 - weave) + colour(rng) * weave + 0.01 * rng.normal(size=(size, size, 1))
    )


def _blotches(rng: Rng, size: int) -> Painted:
    """Two colours of any strength, with borders as irregular as a camouflage's."""
    field = noise(rng, size, size, rng.uniform(1.4, 2.2))[:, :, None]
    return np.asarray(np.where(field > rng.uniform(-0.6, 0.6), colour(rng, 0.4), colour(rng, 0.4)))


def _collage(rng: Rng, size: int) -> Painted:
    return collage(rng, size, size)


def _stripes(rng: Rng, size: int) -> Painted:
    y, x = np.mgrid[0:size, 0:size] / size
    angle = rng.uniform(0, np.pi)
    wave = np.sin(rng.uniform(15, 70) * (x * np.cos(angle) + y * np.sin(angle)))[:, :, None] > 0
    return np.asarray(np.where(wave, colour(rng, 0.4), colour(rng, 0.4)))


def _marble(rng: Rng, size: int) -> Painted:
    y, x = np.mgrid[0:size, 0:size] / size
    veins = np.abs(np.sin(rng.uniform(5, 15) * (x + y) + 1.8 * noise(rng, size, size, 1.9))) ** 0.3
    return np.asarray(colour(rng, darkest=0.3) * veins[:, :, None] + colour(rng) * (1 - veins[:, :, None]))


def _dots(rng: Rng, size: int) -> Painted:
    y, x = np.mgrid[0:size, 0:size] / size * rng.integers(5, 16)
    dot = np.hypot(x % 1 - 0.5, y % 1 - 0.5) < rng.uniform(0.2, 0.4)
    return np.asarray(np.where(dot[:, :, None], colour(rng, 0.4), colour(rng, 0.4)))


_PAINTERS: dict[str, Callable[[Rng, int], Painted]] = {
    "plain": _plain, "leaves": _leaves, "wood": _wood, "bricks": _bricks, "shelves": _shelves,
    "cloth": _cloth, "blotches": _blotches, "collage": _collage,
    "tiles": _tiles, "stripes": _stripes, "marble": _marble, "dots": _dots,
}  # fmt: skip


def paper(seed: int, size: int = 96) -> Picture:
    """A printed label: bands, an emblem, and lines as of text."""
    rng = np.random.default_rng(seed)
    ground, ink, accent = (colour(rng, 0.3) for _ in range(3))
    canvas = Image.new("RGB", (2 * size, size), _byte(ground))
    draw = ImageDraw.Draw(canvas)
    band = rng.uniform(0.05, 0.25) * size
    draw.rectangle((0, 0, 2 * size, band), _byte(accent))
    draw.rectangle((0, size - band, 2 * size, size), _byte(accent))
    wide, high = rng.uniform(0.2, 0.5, 2) * size
    draw.ellipse((size - wide, size / 2 - high, size + wide, size / 2 + high), _byte(ink))
    for line in range(int(rng.integers(2, 6))):
        y, half = size * (0.3 + 0.1 * line), rng.uniform(0.2, 0.7) * size
        draw.rectangle((size - half, y, size + half, y + 0.04 * size), _byte(accent if line % 2 else ground))
    return np.asarray((np.asarray(canvas) / 255.0) ** 2, np.float32)


def emblem(seed: int, background: tuple[float, float, float], size: int = 64) -> Picture:
    """The print on a cap's disc: u is the angle, v runs from the rim to the middle."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[0:size, 0:size] / size
    petals = np.sin(rng.integers(1, 7) * 2 * np.pi * u) * 0.12
    inner, outer = sorted(rng.uniform(0.2, 0.95, 2))
    printed = (v + petals > inner) & (v + petals < outer)
    return np.asarray(np.where(printed[:, :, None], colour(rng), np.array(background)), np.float32)


def collage(rng: Rng, height: int, width: int) -> Picture:
    """No scene at all: dead leaves or coloured noise, with the statistics of photographs, sharp or not."""
    if rng.random() < 0.25:
        fields = np.stack([noise(rng, height, width) for _ in range(3)], axis=2)
        return np.asarray(0.3 * np.exp(0.5 * fields @ rng.normal(0, 0.6, (3, 3))), np.float32)
    made = leaves(rng, height, width, int(rng.integers(20, 400)))
    return blurred(made, float(rng.uniform(0, 3))) if rng.random() < 0.6 else made
