"""A seed -> a scene: pure, and so that a person could tell the label from the picture."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np

from train.bottles import camera as view
from train.bottles import geometry
from train.bottles.distributions import SHIFTED, USUAL, Distribution, Range
from train.bottles.parameters import (
    Backdrop,
    Bottle,
    Camera,
    Cap,
    Colour,
    Hand,
    Light,
    Neighbour,
    PaperLabel,
    Photo,
    Scene,
    Thing,
)

Set = Literal["train", "held-out", "shifted", "bottle-free", "mouth-out"]
# The number keeps the sets' random streams apart: no scene of one is in another.
SETS: dict[Set, tuple[int, Distribution]] = {
    "train": (0, USUAL),
    "held-out": (1, USUAL),
    "shifted": (2, SHIFTED),
    "bottle-free": (3, SHIFTED),
    "mouth-out": (4, USUAL),
}
Reason = Literal["open", "closed", "no bottle", "mouth out of frame", "mouth covered", "collage"]
_UNKNOWN: tuple[Reason, ...] = ("no bottle", "mouth out of frame", "mouth covered", "collage")
_UNKNOWN_SHARES = (0.35, 0.37, 0.13, 0.15)
_MARGIN = 0.05  # of the frame, around a mouth that must be in it
_CLEARANCE = 0.04  # of the frame, between it and a mouth that must not
_TRIES = 500
_USUAL_HEIGHT_CM = 23.0
_SKINS: tuple[Colour, ...] = ((0.58, 0.31, 0.21), (0.47, 0.24, 0.15), (0.28, 0.13, 0.07), (0.11, 0.05, 0.03))

Rng = np.random.Generator
T = TypeVar("T")


def scene(which: Set, seed: int, index: int, short_side_px: int = 112) -> Scene:
    """Scene `index` of a set; the labels take turns. Lengths as in `parameters`."""
    number, distribution = SETS[which]
    rng = np.random.default_rng([number, seed, index])
    reason = _reason(which, index, rng)
    bottle = None if reason in ("no bottle", "collage") else _bottle(distribution, rng)
    held = bottle is not None and (reason == "mouth covered" or rng.random() < 0.55)
    camera = _framed(reason, bottle, held, short_side_px, rng)
    backdrop = _backdrop(distribution, held, rng)
    things = _things(distribution, reason, bottle, backdrop, camera, rng)
    told = reason in ("open", "closed")
    return Scene(
        seed=(number, seed, index),
        label=reason if reason in ("open", "closed") else "unknown",
        reason=reason,
        bottle=bottle,
        cap=_cap(distribution, rng) if reason == "closed" or (not told and rng.random() < 0.5) else None,
        hand=_hand(bottle, reason == "mouth covered", rng) if bottle and held else None,
        things=things,
        neighbours=_neighbours(distribution, bottle, rng) if told and not held else (),
        light=_light(distribution, rng),
        backdrop=backdrop,
        camera=camera,
        photo=_photo(rng),
    )


def mouth_z_cm(bottle: Bottle | None) -> float:
    """Where a bottle's mouth is, or would be."""
    return bottle.height_cm if bottle else _USUAL_HEIGHT_CM


def _reason(which: Set, index: int, rng: Rng) -> Reason:
    if which == "bottle-free":
        return "no bottle"
    if which == "mouth-out":
        return "mouth out of frame"
    if index % 3 < 2:
        return "open" if index % 3 == 0 else "closed"
    return _UNKNOWN[int(rng.choice(len(_UNKNOWN), p=_UNKNOWN_SHARES))]


def _bottle(distribution: Distribution, rng: Rng) -> Bottle:
    shape = _pick(distribution.shapes, rng)
    glass = _pick(sorted(distribution.glasses), rng)
    height, body = _in(shape.height_cm, rng), _in(shape.body_radius_cm, rng)
    shoulder_from = _in(shape.shoulder_from, rng)
    drawn = rng.random()
    fill = 0.0 if drawn < 0.15 else _in((0.82, 0.93), rng) if drawn < 0.65 else _in((0.1, 0.8), rng)
    return Bottle(
        shape=shape.name,
        height_cm=height,
        body_radius_cm=body,
        shoulder_from=shoulder_from,
        shoulder_to=_in(shape.shoulder_to, rng),
        shoulder_power=_in(shape.shoulder_power, rng),
        neck_radius_cm=_in(shape.neck_radius_cm, rng),
        glass=glass,
        tint=_shaken(distribution.glasses[glass], 0.08, rng),
        frost=_in((0.05, 0.2), rng) if rng.random() < 0.2 else 0.0,
        fill=fill,
        drink=_shaken(_pick(distribution.drinks, rng), 0.06, rng),
        foam_cm=_in((0.3, 2.0), rng) if fill and rng.random() < 0.3 else 0.0,
        label=_paper(0.10 * height, (shoulder_from - 0.03) * height, rng) if rng.random() < 0.75 else None,
        collar=_paper(0.76 * height, height - 3.0, rng) if rng.random() < 0.35 else None,
    )


def _paper(low_cm: float, high_cm: float, rng: Rng) -> PaperLabel:
    bottom = low_cm + (high_cm - low_cm) * _in((0.0, 0.35), rng)
    return PaperLabel(
        bottom_cm=bottom,
        top_cm=bottom + (high_cm - bottom) * _in((0.6, 1.0), rng),
        width_degrees=_in((110, 360), rng),
        turn_degrees=_in((-180, 180), rng),
        texture_seed=_seed(rng),
    )


def _cap(distribution: Distribution, rng: Rng) -> Cap:
    bare = distribution.bare_caps and rng.random() < 0.4
    hue = _in(_pick(distribution.cap_hues, rng), rng)
    saturation = _in((0.0, 0.12), rng) if bare else _in((0.45, 0.95), rng)
    value = _in((0.06, 0.95), rng) if bare else _in((0.3, 0.95), rng)
    return Cap(
        colour=_rgb(hue, saturation, value),
        metallic=1.0 if bare and value > 0.5 and rng.random() < 0.7 else float(rng.random() < 0.3),
        roughness=_in((0.15, 0.5), rng),
        print_seed=_seed(rng) if rng.random() < 0.5 else None,
    )


def _hand(bottle: Bottle, covers_mouth: bool, rng: Rng) -> Hand:
    finger = _in((0.75, 0.95), rng)
    reach = 8 * finger  # of four fingers, upwards from the lowest
    highest = bottle.height_cm - geometry.FINISH_CM - 1.4 - reach
    return Hand(
        height_cm=bottle.height_cm - reach + 1.0 if covers_mouth else _in((1.5, highest), rng),
        turn_degrees=_in((-35, 35), rng),
        mirrored=bool(rng.random() < 0.5),
        finger_radius_cm=finger,
        skin=_shaken(_pick(_SKINS, rng), 0.1, rng),
        sleeve=_rgb(_in((0, 360), rng), _in((0, 0.7), rng), _in((0.08, 0.9), rng)),
        covers_mouth=covers_mouth,
    )


def _framed(reason: Reason, bottle: Bottle | None, held: bool, short_side_px: int, rng: Rng) -> Camera:
    """A camera that shows the mouth whole, or not at all, as the reason asks."""
    mouth = view.mouth_points(mouth_z_cm(bottle))
    out = reason == "mouth out of frame" or (reason == "no bottle" and rng.random() < 0.5)
    for _ in range(_TRIES):
        camera = _camera(out, held, short_side_px, rng)
        seen = view.pose(camera, mouth_z_cm(bottle)).project(mouth)
        inside = (np.abs(seen - 0.5) < 0.5 - _MARGIN).all()
        outside = (np.abs(seen - 0.5) > 0.5 + _CLEARANCE).any(axis=1).all()
        if (outside and _shows_bottle(camera, bottle)) if out else inside:
            return camera
    raise AssertionError("no camera was found; the ranges do not allow one")


def _camera(out: bool, held: bool, short_side_px: int, rng: Rng) -> Camera:
    tall = _pick((1.0, 4 / 3, 3 / 4), rng)
    return Camera(
        width_px=round(short_side_px * max(1.0, 1 / tall)),
        height_px=round(short_side_px * max(1.0, tall)),
        fov_degrees=_in((22, 50), rng),
        elevation_degrees=_in((-12, 40) if held else (4, 45), rng),
        roll_degrees=float(rng.normal(0, 13)) if held else float(rng.normal(0, 4)),
        mouth_u=_in((0.0, 1.0), rng) if out else _in((0.15, 0.85), rng),
        mouth_v=_in((-0.7, -0.05), rng) if out else _in((0.08, 0.6), rng),
        mouth_width=math.exp(_in((math.log(0.115), math.log(0.33)), rng)),
    )


def _shows_bottle(camera: Camera, bottle: Bottle | None) -> bool:
    """Whether the middle of the shoulder or of the body is well inside the frame."""
    if bottle is None:
        return True
    heights = np.array([[0, 0, share * bottle.height_cm] for share in (0.8, 0.6, 0.4)])
    seen = view.pose(camera, bottle.height_cm).project(heights)
    return bool((np.abs(seen - 0.5) < 0.4).all(axis=1).any())


def _backdrop(distribution: Distribution, held: bool, rng: Rng) -> Backdrop:
    return Backdrop(
        wall=_pick(distribution.walls, rng) if rng.random() < 0.8 else None,
        wall_distance_cm=_in((20, 120), rng),
        table=None if held else _pick(distribution.tables, rng),
        seed=_seed(rng),
        blur=_in((0, 4), rng) if rng.random() < 0.7 else 0.0,
    )


def _things(
    distribution: Distribution,
    reason: Reason,
    bottle: Bottle | None,
    backdrop: Backdrop,
    camera: Camera,
    rng: Rng,
) -> tuple[Thing, ...]:
    wanted = int(rng.integers(1, 5)) if reason == "no bottle" else int(rng.integers(0, 4))
    drawn = (_thing(distribution, reason, backdrop, camera, rng) for _ in range(4 * wanted))
    fitting = [thing for thing in drawn if _fits(thing, bottle, camera)]
    return tuple(fitting[:wanted])


def _thing(distribution: Distribution, reason: Reason, backdrop: Backdrop, camera: Camera, rng: Rng) -> Thing:
    kind = _pick(distribution.things, rng)
    size = 3.2 if kind == "cap" else _in((4, 15), rng)
    if reason == "no bottle":
        place = _in_view(camera, size, backdrop.table is not None, rng)
    elif backdrop.table is not None:
        place = (_in((-16, 16), rng), _in((-8, 18), rng), 0.0)
    else:
        place = (_in((-25, 25), rng), _in((14, 18), rng), _in((0, 25), rng))
    return Thing(
        kind,
        *place,
        size_cm=size,
        turn_degrees=_in((0, 360), rng),
        colour=_rgb(_in((0, 360), rng), _in((0, 0.9), rng), _in((0.1, 0.95), rng)),
        material=_pick(("matt", "matt", "glossy", "glossy", "metal", "glass"), rng),
    )


def _in_view(camera: Camera, size_cm: float, on_table: bool, rng: Rng) -> tuple[float, float, float]:
    """A place that the camera sees: along a ray, or where the ray meets the table."""
    pose = view.pose(camera, _USUAL_HEIGHT_CM)
    ray = pose.axes @ [
        _in((-0.7, 0.7), rng) * pose.half_width,
        _in((-0.7, 0.6), rng) * pose.half_height,
        1.0,
    ]
    along = size_cm * _in((1.2, 4), rng) / pose.half_width
    if on_table and ray[2] < -0.02:
        along = min(-pose.origin[2] / ray[2], 3 * along)
    x, y, z = pose.origin + ray * along
    return float(x), float(min(y, 18.0)), 0.0 if on_table else float(z - size_cm / 2)


def _fits(thing: Thing, bottle: Bottle | None, camera: Camera) -> bool:
    """Not inside the bottle, and not before its mouth."""
    if bottle is None:
        return True
    if math.hypot(thing.x_cm, thing.y_cm) < bottle.body_radius_cm + 0.7 * thing.size_cm + 0.3:
        return False
    if thing.y_cm > 3:
        return True
    pose = view.pose(camera, bottle.height_cm)
    around = thing.size_cm * (np.random.default_rng(0).random((64, 3)) - [0.5, 0.5, 0.0]) * 1.3
    hidden = pose.project(around + np.array((thing.x_cm, thing.y_cm, thing.z_cm)))
    mouth = pose.project(view.mouth_points(bottle.height_cm))
    low, high = mouth.min(axis=0) - 0.03, mouth.max(axis=0) + 0.03
    apart = (hidden < low).all(axis=0).any() or (hidden > high).all(axis=0).any()
    return bool(np.isfinite(hidden).all() and apart)


def _neighbours(distribution: Distribution, bottle: Bottle | None, rng: Rng) -> tuple[Neighbour, ...]:
    """Bottles behind and beside, often of the same make."""
    if bottle is None or rng.random() < 0.75:
        return ()
    spacing = 2 * bottle.body_radius_cm + 1
    places = [(side * _in((spacing, spacing + 8), rng), _in((0, 12), rng)) for side in (-1, 1)]
    chosen = places[: int(rng.integers(1, 3))]
    return tuple(
        Neighbour(bottle if rng.random() < 0.7 else _bottle(distribution, rng), x, y) for x, y in chosen
    )


def _light(distribution: Distribution, rng: Rng) -> Light:
    return Light(
        kind=_pick(distribution.lights, rng),
        seed=_seed(rng),
        turn_degrees=_in((0, 360), rng),
        warmth=_in((-0.25, 0.35), rng),
        contrast=_in((0.3, 1.0), rng),
    )


def _photo(rng: Rng) -> Photo:
    return Photo(
        exposure_stops=_in((-0.7, 0.7), rng),
        white_balance=(_in((0.88, 1.14), rng), 1.0, _in((0.86, 1.14), rng)),
        contrast=_in((0.95, 1.45), rng),
        saturation=_in((0.7, 1.4), rng),
        blur_px=_in((0.0, 0.8), rng),
        noise=_in((0.0, 0.02), rng),
        jpeg_quality=int(rng.integers(55, 97)),
    )


def _in(bounds: Range, rng: Rng) -> float:
    return round(float(rng.uniform(*bounds)), 4)


def _pick(choices: Sequence[T], rng: Rng) -> T:
    return choices[int(rng.integers(len(choices)))]


def _seed(rng: Rng) -> int:
    return int(rng.integers(1 << 31))


def _shaken(colour: Colour, by: float, rng: Rng) -> Colour:
    return _colour(lambda value: value * (1 + _in((-by, by), rng)), colour)


def _rgb(hue_degrees: float, saturation: float, value: float) -> Colour:
    """HSV -> linear RGB, by squaring, which is near enough to sRGB's curve."""
    return _colour(lambda part: part**2.0, colorsys.hsv_to_rgb(hue_degrees / 360 % 1, saturation, value))


def _colour(change: Callable[[float], float], colour: Colour) -> Colour:
    red, green, blue = (round(min(max(change(value), 0.0), 1.0), 4) for value in colour)
    return red, green, blue
