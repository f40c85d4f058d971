"""What stands about and is no bottle: surfaces from a name, standing on z = 0. Pure NumPy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from train.bottles.geometry import Floats, Surface, crown, grid, moved, revolved, tube

Surfaces = tuple[Surface, ...]

# (radius, z) for a size of 1, from the foot upwards and, where hollow, down again inside.
_TURNED: dict[str, list[tuple[float, float]]] = {
    "can": [(0, 0), (0.2, 0), (0.27, 0.05), (0.27, 0.9), (0.23, 0.97), (0.21, 0.98), (0.2, 0.95), (0, 0.95)],
    "mug": [(0, 0), (0.36, 0), (0.38, 0.03), (0.38, 0.9), (0.36, 0.92), (0.34, 0.9), (0.34, 0.08), (0, 0.06)],
    "tumbler": [(0, 0), (0.26, 0), (0.28, 0.04), (0.36, 1.0), (0.34, 1.0), (0.27, 0.1), (0, 0.08)],
    "bowl": [(0, 0), (0.2, 0), (0.24, 0.04), (0.42, 0.2), (0.5, 0.42), (0.47, 0.42), (0.39, 0.21), (0, 0.08)],
    "plate": [(0, 0), (0.3, 0), (0.5, 0.07), (0.5, 0.09), (0.3, 0.03), (0, 0.03)],
    "goblet": [
        (0, 0), (0.26, 0), (0.26, 0.02), (0.04, 0.05), (0.03, 0.45), (0.15, 0.52), (0.27, 0.7),
        (0.22, 1.0), (0.2, 1.0), (0.25, 0.7), (0.1, 0.55), (0, 0.54),
    ],
    "cone": [(0, 0), (0.4, 0), (0.4, 0.02), (0.0, 1.0)],
    "pawn": [
        (0, 0), (0.3, 0), (0.3, 0.1), (0.2, 0.16), (0.1, 0.5), (0.2, 0.58), (0.1, 0.62), (0.17, 0.75),
        (0.17, 0.85), (0.1, 0.96), (0, 1.0),
    ],
    "candle": [(0, 0), (0.3, 0), (0.3, 0.05), (0.12, 0.06), (0.12, 0.85), (0.1, 0.86), (0.02, 0.84), (0, 1)],
    "apple": [
        (0, 0.06), (0.15, 0), (0.3, 0.08), (0.42, 0.3), (0.44, 0.52), (0.3, 0.76), (0.12, 0.76), (0.03, 0.68),
        (0.02, 0.9), (0, 0.9),
    ],
}  # fmt: skip


def _anyhow(number: int) -> list[tuple[float, float]]:
    """A profile that nobody designed: bulges and waists at random, every other one hollow."""
    rng = np.random.default_rng(number)
    count = int(rng.integers(3, 8))
    radii = rng.uniform(0.07, 0.4, count).tolist()
    heights = np.sort(rng.uniform(0.06, 0.94, count)).tolist()
    rim = radii[-1]
    top = [(rim - 0.03, 1.0), (rim - 0.03, 0.6), (0.0, 0.6)] if number % 2 else [(0.0, 1.0)]
    return [(0.0, 0.0), (radii[0], 0.0), *zip(radii, heights, strict=True), (rim, 1.0), *top]


# Turned things of no particular use: what a network has seen two dozen of, it does not take for a neck.
TURNED_ANYHOW = tuple(f"turned{number}" for number in range(24))
_TURNED.update((kind, _anyhow(number)) for number, kind in enumerate(TURNED_ANYHOW))


def surfaces(kind: str, size_cm: float, turn_degrees: float) -> Surfaces:
    """The surfaces of a thing at the origin; "cap" is a crown cap lying there."""
    if kind == "cap":
        return tuple(moved(part, (0, 0, 0.62)) for part in crown())
    made = (revolved(_smooth(_TURNED[kind])),) if kind in _TURNED else _OTHERS[kind]()
    return tuple(moved(part, (0, 0, 0), turn_degrees, size_cm) for part in made)


def _smooth(profile: list[tuple[float, float]]) -> Floats:
    """Corners cut twice (Chaikin 1974), so that the normals turn gently."""
    points = np.array(profile, float)
    for _ in range(2):
        cut = np.stack(
            [0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], axis=1
        )
        points = np.concatenate([points[:1], cut.reshape(-1, 2), points[-1:]])
    return points


def _box() -> Surfaces:
    return _prism(np.array([(-0.35, -0.22), (0.35, -0.22), (0.35, 0.22), (-0.35, 0.22)]), 0.6)


def _book() -> Surfaces:
    return _prism(np.array([(-0.5, -0.35), (0.5, -0.35), (0.5, 0.35), (-0.5, 0.35)]), 0.12)


def _star() -> Surfaces:
    angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    reach = np.where(np.arange(10) % 2, 0.2, 0.5)
    return _prism(np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=1), 0.35)


def _prism(outline: Floats, height: float) -> Surfaces:
    """Walls, each with its own normals, and a lid."""
    corners = np.concatenate([outline, outline[:1]])
    parts = []
    for (x0, y0), (x1, y1) in pairwise(corners):
        wall = np.array([[(x0, y0, 0), (x1, y1, 0)], [(x0, y0, height), (x1, y1, height)]], float)
        parts.append(_flat(wall, np.array([y1 - y0, x0 - x1, 0.0])))
    ring = np.column_stack([corners, np.full(len(corners), height)])
    middle = np.broadcast_to([0.0, 0.0, height], ring.shape)
    return (*parts, _flat(np.stack([middle, ring]), np.array([0.0, 0.0, 1.0])))


def _flat(points: Floats, normal: Floats) -> Surface:
    u, v = np.meshgrid(np.linspace(0, 1, points.shape[1]), np.linspace(0, 1, points.shape[0]))
    outwards = np.broadcast_to(normal / np.linalg.norm(normal), points.shape)
    made = grid(points, np.stack([u, v], axis=2), outwards)
    return Surface(made.vertices, outwards.reshape(-1, 3), made.uvs, made.faces)


def _ball() -> Surfaces:
    return (_ellipsoid(0.5, 0.5),)


def _lemon() -> Surfaces:
    return (_ellipsoid(0.5, 0.36),)


def _ellipsoid(long: float, thick: float) -> Surface:
    """Lying along x."""
    angles = np.linspace(0, np.pi, 20)
    path = np.stack([-long * np.cos(angles), 0 * angles, 0 * angles + thick], axis=1)
    return tube(path, thick * np.sin(angles), 32)


def _ring() -> Surfaces:
    angles = np.linspace(0, 2 * np.pi, 48)
    return (
        tube(
            np.stack([0.35 * np.cos(angles), 0.35 * np.sin(angles), 0 * angles + 0.14], 1), np.full(48, 0.14)
        ),
    )


def _stack() -> Surfaces:
    """Rings that lie on one another, with a gap between."""
    angles = np.linspace(0, 2 * np.pi, 40)
    circle = np.stack([0.24 * np.cos(angles), 0.24 * np.sin(angles), 0 * angles], 1)
    lifts = [np.array([0.0, 0.0, 0.07 + 0.15 * floor]) for floor in range(6)]
    return tuple(tube(circle + lift, np.full(40, 0.05), 8) for lift in lifts)


def _spring() -> Surfaces:
    angles = np.linspace(0, 10 * np.pi, 160)
    path = np.stack([0.22 * np.cos(angles), 0.22 * np.sin(angles), 0.05 + angles / angles[-1] * 0.9], axis=1)
    return (tube(path, np.full(160, 0.04), 8),)


_OTHERS: dict[str, Callable[[], Surfaces]] = {
    "box": _box, "book": _book, "prism": _star, "ball": _ball, "lemon": _lemon, "ring": _ring,
    "spring": _spring, "stack": _stack,
}  # fmt: skip
