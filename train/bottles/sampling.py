"""A seed -> a scene: pure, and so that a person could tell the label from the picture."""

from __future__ import annotations

from typing import Literal

import numpy as np

from train.bottles import geometry, hands
from train.bottles.distributions import SHIFTED, USUAL, Distribution
from train.bottles.draws import Rng, drawn_in, new_seed, pick, rgb, shaken
from train.bottles.parameters import (
    Backdrop,
    Bottle,
    Cap,
    Colour,
    Hand,
    Light,
    Neighbour,
    PaperLabel,
    Photo,
    Reason,
    Scene,
)
from train.bottles.placing import framed, scattered

Set = Literal["train", "held-out", "shifted", "bottle-free", "mouth-out"]
# The number keeps the sets' random streams apart: no scene of one is in another.
SETS: dict[Set, tuple[int, Distribution]] = {
    "train": (0, USUAL),
    "held-out": (1, USUAL),
    "shifted": (2, SHIFTED),
    "bottle-free": (3, SHIFTED),
    "mouth-out": (4, USUAL),
}
_UNKNOWN: tuple[Reason, ...] = ("no bottle", "mouth out of frame", "mouth covered", "collage")
_UNKNOWN_SHARES = (0.35, 0.37, 0.13, 0.15)
_SKINS: tuple[Colour, ...] = ((0.58, 0.31, 0.21), (0.47, 0.24, 0.15), (0.28, 0.13, 0.07), (0.11, 0.05, 0.03))


def scene(which: Set, seed: int, index: int, short_side_px: int = 144) -> Scene:
    """Scene `index` of a set; the labels take turns. Lengths as in `parameters`."""
    number, distribution = SETS[which]
    rng = np.random.default_rng([number, seed, index])
    reason = _reason(which, index, rng)
    bottle = None if reason in ("no bottle", "collage") else _bottle(distribution, rng)
    held = bottle is not None and (reason == "mouth covered" or rng.random() < 0.55)
    fist = reason == "no bottle" and rng.random() < 0.25
    airy = rng.random() < (0.75 if held else 0.4 if reason == "no bottle" else 0.0)
    camera = framed(reason, bottle, airy, short_side_px, rng)
    backdrop = _backdrop(distribution, airy, rng)
    things = scattered(distribution, reason, bottle, backdrop, camera, rng)
    told = reason in ("open", "closed")
    capped = reason == "closed" or (bottle is not None and not told and rng.random() < 0.5)
    return Scene(
        seed=(number, seed, index),
        label=reason if reason in ("open", "closed") else "unknown",
        reason=reason,
        bottle=bottle,
        cap=_cap(distribution, rng) if capped else None,
        hand=_hand(bottle or hands.NOTHING, reason == "mouth covered", rng) if held or fist else None,
        things=things,
        neighbours=_neighbours(distribution, bottle, rng) if told and not held else (),
        light=_light(distribution, rng),
        backdrop=backdrop,
        camera=camera,
        photo=_photo(rng),
    )


def _reason(which: Set, index: int, rng: Rng) -> Reason:
    if which == "bottle-free":
        return "no bottle"
    if which == "mouth-out":
        return "mouth out of frame"
    if index % 3 < 2:
        return "open" if index % 3 == 0 else "closed"
    return _UNKNOWN[int(rng.choice(len(_UNKNOWN), p=_UNKNOWN_SHARES))]


def _bottle(distribution: Distribution, rng: Rng) -> Bottle:
    shape = pick(distribution.shapes, rng)
    glass = pick(sorted(distribution.glasses), rng)
    height, body = drawn_in(shape.height_cm, rng), drawn_in(shape.body_radius_cm, rng)
    shoulder_from = drawn_in(shape.shoulder_from, rng)
    drawn = rng.random()
    fill = 0.0 if drawn < 0.15 else drawn_in((0.82, 0.93), rng) if drawn < 0.65 else drawn_in((0.1, 0.8), rng)
    return Bottle(
        shape=shape.name,
        height_cm=height,
        body_radius_cm=body,
        shoulder_from=shoulder_from,
        shoulder_to=drawn_in(shape.shoulder_to, rng),
        shoulder_power=drawn_in(shape.shoulder_power, rng),
        neck_radius_cm=drawn_in(shape.neck_radius_cm, rng),
        glass=glass,
        tint=shaken(distribution.glasses[glass], 0.08, rng),
        frost=drawn_in((0.03, 0.1), rng) if rng.random() < 0.2 else 0.0,
        fill=fill,
        drink=shaken(pick(distribution.drinks, rng), 0.06, rng),
        foam_cm=drawn_in((0.3, 2.0), rng) if fill and rng.random() < 0.3 else 0.0,
        label=_paper(0.10 * height, (shoulder_from - 0.03) * height, rng) if rng.random() < 0.75 else None,
        collar=_paper(0.76 * height, height - 3.0, rng) if rng.random() < 0.35 else None,
    )


def _paper(low_cm: float, high_cm: float, rng: Rng) -> PaperLabel:
    bottom = low_cm + (high_cm - low_cm) * drawn_in((0.0, 0.35), rng)
    return PaperLabel(
        bottom_cm=bottom,
        top_cm=bottom + (high_cm - bottom) * drawn_in((0.6, 1.0), rng),
        width_degrees=drawn_in((110, 360), rng),
        turn_degrees=drawn_in((-180, 180), rng),
        texture_seed=new_seed(rng),
    )


def _cap(distribution: Distribution, rng: Rng) -> Cap:
    bare = distribution.bare_caps and rng.random() < 0.4
    hue = drawn_in(pick(distribution.cap_hues, rng), rng)
    saturation = drawn_in((0.0, 0.12), rng) if bare else drawn_in((0.45, 0.95), rng)
    value = drawn_in((0.06, 0.95), rng) if bare else drawn_in((0.3, 0.95), rng)
    return Cap(
        colour=rgb(hue, saturation, value),
        metallic=1.0 if bare and value > 0.5 and rng.random() < 0.7 else float(rng.random() < 0.3),
        roughness=drawn_in((0.15, 0.5), rng),
        print_seed=new_seed(rng) if rng.random() < 0.5 else None,
    )


def _hand(bottle: Bottle, covers_mouth: bool, rng: Rng) -> Hand:
    finger = drawn_in((0.75, 0.95), rng)
    reach = 8 * finger  # of four fingers, upwards from the lowest
    highest = bottle.height_cm - geometry.FINISH_CM - 1.4 - reach
    return Hand(
        height_cm=bottle.height_cm - reach + 1.0 if covers_mouth else drawn_in((1.5, highest), rng),
        turn_degrees=drawn_in((-35, 35), rng),
        mirrored=bool(rng.random() < 0.5),
        finger_radius_cm=finger,
        skin=shaken(pick(_SKINS, rng), 0.1, rng),
        sleeve=rgb(drawn_in((0, 360), rng), drawn_in((0, 0.7), rng), drawn_in((0.08, 0.9), rng)),
        covers_mouth=covers_mouth,
    )


def _backdrop(distribution: Distribution, airy: bool, rng: Rng) -> Backdrop:
    return Backdrop(
        wall=pick(distribution.walls, rng) if rng.random() < 0.8 else None,
        wall_distance_cm=drawn_in((20, 120), rng),
        table=None if airy else pick(distribution.tables, rng),
        seed=new_seed(rng),
        blur=drawn_in((0, 4), rng) if rng.random() < 0.7 else 0.0,
    )


def _neighbours(distribution: Distribution, bottle: Bottle | None, rng: Rng) -> tuple[Neighbour, ...]:
    """Bottles behind and beside, often of the same make."""
    if bottle is None or rng.random() < 0.75:
        return ()
    spacing = 2 * bottle.body_radius_cm + 1
    places = [(side * drawn_in((spacing, spacing + 8), rng), drawn_in((0, 12), rng)) for side in (-1, 1)]
    chosen = places[: int(rng.integers(1, 3))]
    return tuple(
        Neighbour(bottle if rng.random() < 0.7 else _bottle(distribution, rng), x, y) for x, y in chosen
    )


def _light(distribution: Distribution, rng: Rng) -> Light:
    return Light(
        kind=pick(distribution.lights, rng),
        seed=new_seed(rng),
        turn_degrees=drawn_in((0, 360), rng),
        warmth=drawn_in((-0.25, 0.35), rng),
        contrast=drawn_in((0.3, 1.0), rng),
    )


def _photo(rng: Rng) -> Photo:
    return Photo(
        exposure_stops=drawn_in((-0.4, 0.9), rng),
        white_balance=(drawn_in((0.88, 1.14), rng), 1.0, drawn_in((0.86, 1.14), rng)),
        contrast=drawn_in((0.95, 1.45), rng),
        saturation=drawn_in((0.7, 1.4), rng),
        blur_px=drawn_in((0.0, 0.7), rng),
        noise=drawn_in((0.0, 0.02), rng),
        jpeg_quality=int(rng.integers(55, 97)),
    )
