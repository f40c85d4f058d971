"""Everything that decides one picture: plain numbers, so that a manifest can hold them. Lengths are in cm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Label = Literal["open", "closed", "unknown"]
Reason = Literal["open", "closed", "no bottle", "mouth out of frame", "mouth covered", "collage"]
Colour = tuple[float, float, float]
LABELS: tuple[Label, ...] = ("open", "closed", "unknown")


@dataclass(frozen=True)
class PaperLabel:
    """Printed paper around the body; `turn_degrees` is where its middle faces, 0 being the camera."""

    bottom_cm: float
    top_cm: float
    width_degrees: float
    turn_degrees: float
    texture_seed: int


@dataclass(frozen=True)
class Bottle:
    """A body of revolution with a crown finish; the fractions are of the height."""

    shape: str
    height_cm: float
    body_radius_cm: float
    shoulder_from: float
    shoulder_to: float
    shoulder_power: float
    neck_radius_cm: float
    glass: str
    tint: Colour
    frost: float
    fill: float
    drink: Colour
    foam_cm: float
    label: PaperLabel | None
    collar: PaperLabel | None


@dataclass(frozen=True)
class Cap:
    """A crown cap: painted or bare metal."""

    colour: Colour
    metallic: float
    roughness: float
    print_seed: int | None


@dataclass(frozen=True)
class Hand:
    """Four fingers and a thumb around a bottle, `height_cm` above its foot, from the side `turn_degrees`.

    Without a bottle it is around `hands.NOTHING`: a fist.
    """

    height_cm: float
    turn_degrees: float
    mirrored: bool
    finger_radius_cm: float
    skin: Colour
    sleeve: Colour
    covers_mouth: bool


@dataclass(frozen=True)
class Thing:
    """Something that is no bottle; or a loose cap. `size_cm` is about its largest extent."""

    kind: str
    x_cm: float
    y_cm: float
    z_cm: float
    size_cm: float
    turn_degrees: float
    colour: Colour
    material: Literal["matt", "glossy", "metal", "glass"]


@dataclass(frozen=True)
class Neighbour:
    """Another bottle, in the same state as the first: where it stands."""

    bottle: Bottle
    x_cm: float
    y_cm: float


@dataclass(frozen=True)
class Light:
    """The environment: a kind of lamps, the colour of the air between them, and how much they stand out."""

    kind: str
    seed: int
    turn_degrees: float
    warmth: float
    contrast: float


@dataclass(frozen=True)
class Backdrop:
    """What is behind and below: textures by name, or none where only the environment is seen."""

    wall: str | None
    wall_distance_cm: float
    table: str | None
    seed: int
    blur: float


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from. `mouth_u`, `mouth_v` are the mouth's place in the frame from its upper
    left, and `mouth_width` its width, all as shares of the frame's width and height; beyond 0 and 1 is out of
    frame.
    """

    width_px: int
    height_px: int
    fov_degrees: float
    elevation_degrees: float
    roll_degrees: float
    mouth_u: float
    mouth_v: float
    mouth_width: float


@dataclass(frozen=True)
class Photo:
    """What happens between the light and the file."""

    exposure_stops: float
    white_balance: Colour
    contrast: float
    saturation: float
    blur_px: float
    noise: float
    jpeg_quality: int


@dataclass(frozen=True)
class Scene:
    """One picture; `reason` is why it has its label. Without a bottle, `camera` looks where one would be."""

    seed: tuple[int, ...]
    label: Label
    reason: Reason
    bottle: Bottle | None
    cap: Cap | None
    hand: Hand | None
    things: tuple[Thing, ...]
    neighbours: tuple[Neighbour, ...]
    light: Light
    backdrop: Backdrop
    camera: Camera
    photo: Photo
