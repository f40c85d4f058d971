"""The light of a scene as an environment map, painted: pure NumPy. Linear RGB, float32 (96, 192, 3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from train.bottles.parameters import Light
from train.bottles.textures import Picture, blurred, leaves

HEIGHT, WIDTH = 96, 192
Rng = np.random.Generator
Array = NDArray[np.float64]


def environment(light: Light) -> Picture:
    """Rows from the zenith to the ground; the middle column is ahead of the camera before `turn_degrees`."""
    rng = np.random.default_rng(light.seed)
    room = 0.25 * (1 - light.contrast) + light.contrast * blurred(leaves(rng, HEIGHT, WIDTH), 1.0)
    lamps = _LAMPS[light.kind](rng)
    tinted = (0.6 * room + lamps) * np.array([1 + light.warmth, 1.0, 1 - light.warmth])
    return np.ascontiguousarray(np.roll(tinted, round(light.turn_degrees / 360 * WIDTH), axis=1), np.float32)


def _directions() -> tuple[Array, Array]:
    """Elevation and azimuth of every pixel, in degrees."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return 90 - 180 * (rows + 0.5) / HEIGHT, 360 * (columns + 0.5) / WIDTH - 180


def _window(elevation: float, azimuth: float, high: float, wide: float) -> Array:
    """A soft-edged rectangle (HEIGHT, WIDTH, 1), 1 inside."""
    up, around = _directions()
    across = np.abs((around - azimuth + 180) % 360 - 180)
    edges = np.minimum(high - np.abs(up - elevation), wide - across)
    return np.clip(edges / 3 + 0.5, 0, 1)[:, :, None]


def _room(rng: Rng) -> Array:
    """Daylight through one to three windows."""
    lamps = np.zeros((HEIGHT, WIDTH, 1)) + 0.25
    for _ in range(int(rng.integers(1, 4))):
        place = rng.uniform(-5, 50), rng.uniform(-180, 180), rng.uniform(10, 30), rng.uniform(10, 40)
        lamps = lamps + rng.uniform(2.5, 7) * _window(*place)
    return np.asarray(lamps * [0.95, 1.0, 1.08])


def _overcast(rng: Rng) -> Array:
    """A bright sky all over."""
    up, _ = _directions()
    brightness = rng.uniform(1.0, 2.2) * np.clip((up + 15) / 60, 0.08, 1)[:, :, None]
    return np.asarray(brightness * [0.96, 1.0, 1.05])


def _evening(rng: Rng) -> Array:
    """Several warm lamps."""
    lamps = np.zeros((HEIGHT, WIDTH, 1)) + 0.18
    for _ in range(int(rng.integers(3, 7))):
        size = rng.uniform(6, 14)
        lamps = lamps + rng.uniform(4, 10) * _window(rng.uniform(5, 75), rng.uniform(-180, 180), size, size)
    return np.asarray(lamps * [1.15, 0.95, 0.72])


def _neon(rng: Rng) -> Array:
    """Two tubes of different colours in a dim room."""
    glow = np.zeros((HEIGHT, WIDTH, 3)) + 0.22
    for hue in rng.permutation([[1.0, 0.25, 0.7], [0.25, 0.8, 1.0], [0.5, 1.0, 0.4]])[:2]:
        tube = _window(rng.uniform(0, 50), rng.uniform(-180, 180), rng.uniform(4, 8), rng.uniform(40, 80))
        glow = glow + rng.uniform(4, 8) * tube * hue
    return glow


def _sun(rng: Rng) -> Array:
    """A low sun in a blue sky."""
    up, _ = _directions()
    sky = np.clip((up + 10) / 90, 0.05, 1)[:, :, None] * [0.5, 0.75, 1.2]
    sun = _window(rng.uniform(15, 60), rng.uniform(-180, 180), 5, 5)
    return sky + rng.uniform(30, 60) * sun * [1.0, 0.9, 0.75]


def _ring(rng: Rng) -> Array:
    """A ring light around the camera, and the room dim."""
    up, around = _directions()
    angle = np.hypot(up - rng.uniform(-10, 20), (around + 360) % 360 - 180)
    ring = np.clip((6 - np.abs(angle - 25)) / 3, 0, 1)[:, :, None]
    return np.asarray(0.3 + rng.uniform(5, 9) * ring * np.ones(3))


_LAMPS: dict[str, Callable[[Rng], Array]] = {
    "room": _room, "overcast": _overcast, "evening": _evening, "neon": _neon, "sun": _sun, "ring": _ring,
}  # fmt: skip
