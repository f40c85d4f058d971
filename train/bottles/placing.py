"""Where the camera and the things are, so that the mouth is seen whole, or not at all, as the label asks."""

from __future__ import annotations

import math

import numpy as np

from train.bottles import camera as view
from train.bottles.distributions import Distribution
from train.bottles.draws import Rng, drawn_in, pick, rgb
from train.bottles.parameters import Backdrop, Bottle, Camera, Reason, Scene, Thing

_MARGIN = 0.05  # of the frame, around a mouth that must be in it
_CLEARANCE = 0.04  # of the frame, between it and a mouth that must not
_TRIES = 500
_USUAL_HEIGHT_CM = 23.0


def mouth_z_cm(bottle: Bottle | None) -> float:
    """Where a bottle's mouth is, or would be."""
    return bottle.height_cm if bottle else _USUAL_HEIGHT_CM


def framed(reason: Reason, bottle: Bottle | None, airy: bool, short_side_px: int, rng: Rng) -> Camera:
    """A camera that shows the mouth whole, or not at all, as the reason asks.

    Where it is `airy`, without a table, the camera may look up and be tilted.
    """
    mouth = view.mouth_points(mouth_z_cm(bottle))
    out = reason == "mouth out of frame" or (reason == "no bottle" and rng.random() < 0.5)
    for _ in range(_TRIES):
        camera = _camera(out, airy, short_side_px, rng)
        seen = view.pose(camera, mouth_z_cm(bottle)).project(mouth)
        inside = (np.abs(seen - 0.5) < 0.5 - _MARGIN).all()
        outside = (np.abs(seen - 0.5) > 0.5 + _CLEARANCE).any(axis=1).all()
        if (outside and _shows_bottle(camera, bottle)) if out else inside:
            return camera
    raise AssertionError("no camera was found; the ranges do not allow one")


def mouths(scene: Scene) -> list[list[float]]:
    """Left, top, right and bottom of every mouth that decides the label, in shares of the frame, the first
    bottle's first; of its neighbours' some may be hidden or out of the frame.
    """
    if scene.bottle is None or scene.label == "unknown":
        return []
    pose = view.pose(scene.camera, scene.bottle.height_cm)
    places = [(scene.bottle.height_cm, 0.0, 0.0)]
    places += [(other.bottle.height_cm, other.x_cm, other.y_cm) for other in scene.neighbours]
    seen = [pose.project(view.mouth_points(*place)) for place in places]
    return [[*map(float, points.min(axis=0)), *map(float, points.max(axis=0))] for points in seen]


def _camera(out: bool, airy: bool, short_side_px: int, rng: Rng) -> Camera:
    tall = pick((1.0, 4 / 3, 3 / 4), rng)
    return Camera(
        width_px=round(short_side_px * max(1.0, 1 / tall)),
        height_px=round(short_side_px * max(1.0, tall)),
        fov_degrees=drawn_in((22, 50), rng),
        elevation_degrees=drawn_in((-12, 40) if airy else (4, 45), rng),
        roll_degrees=round(float(rng.normal(0, 13 if airy else 4)), 4),
        mouth_u=drawn_in((-0.4, 1.4), rng) if out else drawn_in((0.15, 0.85), rng),
        mouth_v=drawn_in((-0.7, 0.3), rng) if out else drawn_in((0.08, 0.6), rng),
        mouth_width=round(math.exp(drawn_in((math.log(0.13), math.log(0.33)), rng)), 4),
    )


def _shows_bottle(camera: Camera, bottle: Bottle | None) -> bool:
    """Whether the middle of the shoulder or of the body is well inside the frame."""
    if bottle is None:
        return True
    heights = np.array([[0, 0, share * bottle.height_cm] for share in (0.8, 0.6, 0.4)])
    seen = view.pose(camera, bottle.height_cm).project(heights)
    return bool((np.abs(seen - 0.5) < 0.4).all(axis=1).any())


def scattered(
    distribution: Distribution,
    reason: Reason,
    bottle: Bottle | None,
    backdrop: Backdrop,
    camera: Camera,
    rng: Rng,
) -> tuple[Thing, ...]:
    """Things around the bottle; where there is none, in its stead."""
    wanted = int(rng.integers(1, 5)) if reason == "no bottle" else int(rng.integers(0, 4))
    drawn = (_thing(distribution, reason, backdrop, camera, rng) for _ in range(4 * wanted))
    fitting = [thing for thing in drawn if _fits(thing, bottle, camera)]
    return tuple(fitting[:wanted])


def _thing(distribution: Distribution, reason: Reason, backdrop: Backdrop, camera: Camera, rng: Rng) -> Thing:
    kind = pick(distribution.things, rng)
    size = 3.2 if kind == "cap" else drawn_in((4, 15), rng)
    if reason == "no bottle":
        place = _in_view(camera, size, backdrop.table is not None, rng)
    elif backdrop.table is not None:
        place = (drawn_in((-16, 16), rng), drawn_in((-8, 18), rng), 0.0)
    else:
        place = (drawn_in((-25, 25), rng), drawn_in((14, 18), rng), drawn_in((0, 25), rng))
    return Thing(
        kind,
        *place,
        size_cm=size,
        turn_degrees=drawn_in((0, 360), rng),
        colour=rgb(drawn_in((0, 360), rng), drawn_in((0, 0.9), rng), drawn_in((0.1, 0.95), rng)),
        material=pick(("matt", "matt", "glossy", "glossy", "metal", "glass"), rng),
    )


def _in_view(camera: Camera, size_cm: float, on_table: bool, rng: Rng) -> tuple[float, float, float]:
    """A place that the camera sees: along a ray, or where the ray meets the table."""
    pose = view.pose(camera, _USUAL_HEIGHT_CM)
    ray = pose.axes @ [
        drawn_in((-0.7, 0.7), rng) * pose.half_width,
        drawn_in((-0.7, 0.6), rng) * pose.half_height,
        1.0,
    ]
    along = size_cm * drawn_in((1.2, 4), rng) / pose.half_width
    if on_table and ray[2] < -0.02:
        along = min(-pose.origin[2] / ray[2], 3 * along)
    x, y, z = pose.origin + ray * along
    return float(x), float(min(y, 18.0)), 0.0 if on_table else float(z - size_cm / 2)


def _fits(thing: Thing, bottle: Bottle | None, camera: Camera) -> bool:
    """Not inside the bottle, and in the picture neither before its mouth nor right behind it."""
    if bottle is None:
        return True
    if math.hypot(thing.x_cm, thing.y_cm) < bottle.body_radius_cm + 0.7 * thing.size_cm + 0.3:
        return False
    pose = view.pose(camera, bottle.height_cm)
    around = thing.size_cm * (np.random.default_rng(0).random((64, 3)) - [0.5, 0.5, 0.0]) * 1.3
    hidden = pose.project(around + np.array((thing.x_cm, thing.y_cm, thing.z_cm)))
    mouth = pose.project(view.mouth_points(bottle.height_cm))
    low, high = mouth.min(axis=0) - 0.03, mouth.max(axis=0) + 0.03
    apart = (hidden < low).all(axis=0).any() or (hidden > high).all(axis=0).any()
    return bool(np.isfinite(hidden).all() and apart)
