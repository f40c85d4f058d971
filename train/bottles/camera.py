"""Where the camera stands, and where in the frame a point comes to be: pure NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from train.bottles.geometry import CAP_RADIUS_CM, CAP_SKIRT_CM, CAP_TOP_CM, MOUTH_RADIUS_CM, Floats
from train.bottles.parameters import Camera


@dataclass(frozen=True)
class Pose:
    """`axes` (3, 3) holds the camera's right, up and forward as columns; `half_width`, `half_height` are the
    frame's, at distance 1.
    """

    origin: Floats
    axes: Floats
    half_width: float
    half_height: float

    def project(self, points: Floats) -> Floats:
        """(n, 3) -> (n, 2): shares of the frame from its upper left; NaN behind the camera."""
        right, up, ahead = ((np.atleast_2d(points) - self.origin) @ self.axes).T
        ahead = np.where(ahead > 0.1, ahead, np.nan)
        u = 0.5 + right / ahead / self.half_width / 2
        v = 0.5 - up / ahead / self.half_height / 2
        return np.stack([u, v], axis=1)

    def matrix(self) -> Floats:
        """(4, 4), camera to world, for Mitsuba, whose cameras have x to the left."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.axes * [-1, 1, 1]
        matrix[:3, 3] = self.origin
        return matrix


def pose(camera: Camera, mouth_z_cm: float) -> Pose:
    """The camera in front (towards -y) that sees a mouth at (0, 0, `mouth_z_cm`) where `camera` says."""
    half_width = math.tan(math.radians(camera.fov_degrees) / 2)
    half_height = half_width * camera.height_px / camera.width_px
    elevation = math.radians(camera.elevation_degrees)
    forward = np.array([0.0, math.cos(elevation), -math.sin(elevation)])
    right = np.array([1.0, 0.0, 0.0])
    towards = np.stack([right, np.cross(right, forward), forward], axis=1)
    seen = np.array([(2 * camera.mouth_u - 1) * half_width, (1 - 2 * camera.mouth_v) * half_height, 1.0])
    depth = MOUTH_RADIUS_CM / (half_width * camera.mouth_width)
    axes = towards @ _roll(camera.roll_degrees) @ _brings_ahead(seen / np.linalg.norm(seen))
    origin = np.array([0.0, 0.0, mouth_z_cm]) - forward * depth * np.linalg.norm(seen)
    return Pose(origin, axes, half_width, half_height)


def mouth_points(mouth_z_cm: float, x_cm: float = 0.0, y_cm: float = 0.0) -> Floats:
    """Points around a cap on the mouth (48, 3), whether there is one or not."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    rings = [
        np.stack(
            [
                x_cm + CAP_RADIUS_CM * np.cos(angles),
                y_cm + CAP_RADIUS_CM * np.sin(angles),
                np.full(16, mouth_z_cm + z),
            ],
            1,
        )
        for z in (CAP_TOP_CM, 0.0, -CAP_SKIRT_CM)
    ]
    return np.concatenate(rings)


def _roll(degrees: float) -> Floats:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def _brings_ahead(direction: Floats) -> Floats:
    """The rotation that takes a unit vector to (0, 0, 1) by the shortest way (Rodrigues)."""
    x, y, z = direction
    axis = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])
    return np.asarray(np.eye(3) + axis + axis @ axis / (1 + z))
