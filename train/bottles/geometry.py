"""Shapes as triangles: pure NumPy. Lengths in cm, z upwards, a bottle's foot at the origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from train.bottles.parameters import Bottle

Floats = NDArray[np.floating]

MOUTH_RADIUS_CM = 1.33
BORE_CM = 0.85
FINISH_CM = 2.4
CAP_RADIUS_CM = 1.6
CAP_SKIRT_CM = 0.6
CAP_TOP_CM = 0.14
FLUTES = 21  # of a crown cap (DIN 6099)
_FLOOR_CM = 0.7
_WALL_CM = 0.35


@dataclass(frozen=True)
class Surface:
    """Vertices (n, 3), unit normals (n, 3), texture coordinates (n, 2), triangles (m, 3)."""

    vertices: Floats
    normals: Floats
    uvs: Floats
    faces: NDArray[np.uint32]


def grid(points: Floats, uvs: Floats, outwards: Floats) -> Surface:
    """A surface from a grid of points (rows, columns, 3), with normals on the side of `outwards`."""
    normals = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    lengths = np.linalg.norm(normals, axis=2, keepdims=True)
    normals = np.where(lengths > 1e-9, normals / np.maximum(lengths, 1e-9), outwards)
    normals *= np.where((normals * outwards).sum(axis=2, keepdims=True) < 0, -1, 1)
    rows, columns = points.shape[:2]
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    quads = np.stack([corner, corner + 1, corner + columns + 1, corner + columns], axis=1)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.uint32)
    face_normals = np.cross(
        points.reshape(-1, 3)[faces[:, 1]] - points.reshape(-1, 3)[faces[:, 0]],
        points.reshape(-1, 3)[faces[:, 2]] - points.reshape(-1, 3)[faces[:, 0]],
    )
    turned = (face_normals * normals.reshape(-1, 3)[faces[:, 0]]).sum(axis=1) < 0
    faces[turned] = faces[turned][:, ::-1]
    return Surface(points.reshape(-1, 3), normals.reshape(-1, 3), uvs.reshape(-1, 2), faces)


def revolved(profile: Floats, segments: int = 48, arc: tuple[float, float] = (0.0, 360.0)) -> Surface:
    """A profile (n, 2) of (radius, z) turned about the z axis; normals on the left of the profile's way,
    which is outwards where it goes up.
    """
    angles = np.radians(np.linspace(*arc, segments + 1))
    along = np.gradient(profile, axis=0)
    radii, heights = profile[:, :1], profile[:, 1:]
    points = np.stack(
        [
            radii * np.cos(angles),
            radii * np.sin(angles),
            np.broadcast_to(heights, (len(profile), segments + 1)),
        ],
        axis=2,
    )
    out, up = along[:, 1:], -along[:, :1]
    outwards = np.stack(
        [out * np.cos(angles), out * np.sin(angles), np.broadcast_to(up, (len(profile), segments + 1))],
        axis=2,
    )
    outwards = outwards / np.maximum(np.linalg.norm(outwards, axis=2, keepdims=True), 1e-9)
    u, v = np.meshgrid(np.linspace(0, 1, segments + 1), np.linspace(0, 1, len(profile)))
    surface = grid(points, np.stack([u, v], axis=2), outwards)
    return Surface(surface.vertices, outwards.reshape(-1, 3), surface.uvs, surface.faces)


def tube(path: Floats, radii: Sequence[float] | Floats, segments: int = 14) -> Surface:
    """A round tube along `path` (n, 3) with a radius at each point; radius 0 closes an end."""
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    helper = np.where(np.abs(along[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    side = np.cross(along, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(along, side)
    angles = np.linspace(0, 2 * np.pi, segments + 1)[None, :, None]
    ring = side[:, None] * np.cos(angles) + other[:, None] * np.sin(angles)
    points = path[:, None] + np.asarray(radii)[:, None, None] * ring
    u, v = np.meshgrid(np.linspace(0, 1, segments + 1), np.linspace(0, 1, len(path)))
    return grid(points, np.stack([u, v], axis=2), ring)


def outer_profile(bottle: Bottle) -> Floats:
    """Radius and z of the glass's outside, from the middle of the foot up to the top of the lip."""
    body, neck, top = bottle.body_radius_cm, bottle.neck_radius_cm, bottle.height_cm
    low, high = bottle.shoulder_from * top, bottle.shoulder_to * top
    foot = [(0.0, 0.35), (body - 0.9, 0.3), (body - 0.6, 0.0), (body - 0.15, 0.2), (body, 0.8)]
    share = np.linspace(0, 1, 16)
    fall = (0.5 + 0.5 * np.cos(np.pi * share)) ** bottle.shoulder_power
    shoulder = np.stack([neck + (body - neck) * fall, low + (high - low) * share], axis=1)
    finish = [
        (1.27, FINISH_CM), (1.45, FINISH_CM - 0.15), (1.5, FINISH_CM - 0.45), (1.45, FINISH_CM - 0.75),
        (1.24, FINISH_CM - 0.95), (1.22, 0.7), (MOUTH_RADIUS_CM, 0.5), (MOUTH_RADIUS_CM, 0.25),
        (1.22, 0.06), (1.08, 0.0),
    ]  # fmt: skip
    rim = [(radius, top - below) for radius, below in finish]
    return np.concatenate([np.array(foot), shoulder, np.array(rim)])


def inner_profile(bottle: Bottle) -> Floats:
    """Radius and z of the glass's inside, from the middle of the floor up to the lip's inner edge."""
    outside = outer_profile(bottle)
    heights = np.linspace(_FLOOR_CM + 0.6, bottle.height_cm - FINISH_CM, 24)
    radii = np.interp(heights, outside[3:, 1], outside[3:, 0]) - _WALL_CM
    bore = [
        (BORE_CM, bottle.height_cm - 1.6),
        (BORE_CM, bottle.height_cm - 0.3),
        (0.95, bottle.height_cm - 0.08),
    ]
    floor = [(0.0, _FLOOR_CM), (radii[0] - 0.5, _FLOOR_CM)]
    side = np.stack([np.maximum(radii, BORE_CM), heights], axis=1)
    return np.concatenate([np.array(floor), side, np.array(bore)])


def glass(bottle: Bottle) -> Surface:
    """The outside and the lip, up to where the inside begins."""
    edge = inner_profile(bottle)[-1:]
    return revolved(np.concatenate([outer_profile(bottle), edge]))


def level_cm(bottle: Bottle) -> float:
    """The height of the drink's surface."""
    return _FLOOR_CM + bottle.fill * (bottle.height_cm - 2.0 - _FLOOR_CM)


def inside(bottle: Bottle, low_cm: float, high_cm: float) -> Surface:
    """The inner wall between two heights, with the floor where `low_cm` is below it; normals to the glass."""
    profile = inner_profile(bottle)
    between = profile[(profile[:, 1] > low_cm) & (profile[:, 1] < high_cm)]
    low, high = ([[inner_radius(bottle, z), z]] for z in (low_cm, high_cm))
    return revolved(np.concatenate([between if low_cm < _FLOOR_CM else np.concatenate([low, between]), high]))


def inner_radius(bottle: Bottle, height_cm: float) -> float:
    """Of the inner wall at a height."""
    profile = inner_profile(bottle)[1:]
    return float(np.interp(height_cm, profile[:, 1], profile[:, 0]))


def outer_radius(bottle: Bottle, height_cm: float) -> float:
    """Of the glass's outside at a height."""
    profile = outer_profile(bottle)[3:]
    return float(np.interp(height_cm, profile[:, 1], profile[:, 0]))


def crown() -> tuple[Surface, Surface]:
    """The disc and the fluted skirt of a crown cap, z = 0 at the lip that it sits on."""
    disc = revolved(np.array([(1.4, 0.06), (1.3, 0.11), (1.1, CAP_TOP_CM), (0.0, CAP_TOP_CM + 0.02)]))
    angles = np.linspace(0, 2 * np.pi, 6 * FLUTES + 1)
    down = np.linspace(0, 1, 7)[:, None]
    flare = 1.4 + (CAP_RADIUS_CM - 1.4) * down**0.8 + 0.075 * down * np.cos(FLUTES * angles)
    heights = np.broadcast_to(0.06 - (CAP_SKIRT_CM + 0.06) * down**1.1, flare.shape)
    points = np.stack([flare * np.cos(angles), flare * np.sin(angles), heights], axis=2)
    u, v = np.meshgrid(np.linspace(0, 1, len(angles)), np.linspace(0, 1, 7))
    outwards = np.broadcast_to(np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1), points.shape)
    return disc, grid(points, np.stack([u, v], axis=2), outwards)


def moved(
    surface: Surface, offset: Sequence[float], turn_degrees: float = 0.0, scale: float = 1.0
) -> Surface:
    """Scaled, turned about z, then shifted."""
    cosine, sine = np.cos(np.radians(turn_degrees)), np.sin(np.radians(turn_degrees))
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    vertices = scale * surface.vertices @ turn + np.asarray(offset)
    return Surface(vertices, surface.normals @ turn, surface.uvs, surface.faces)
