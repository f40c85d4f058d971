"""What is rendered for which set. USUAL is trained on; SHIFTED shares no shape, glass, cap colour, texture,
lamp or object with it. Hues in degrees; glass tints are what one pass through a wall lets through.
"""

from __future__ import annotations

from dataclasses import dataclass

from train.bottles.parameters import Colour
from train.bottles.things import TURNED_ANYHOW

Range = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """A family of bottles: each number is drawn from its range."""

    name: str
    height_cm: Range
    body_radius_cm: Range
    shoulder_from: Range
    shoulder_to: Range
    shoulder_power: Range
    neck_radius_cm: Range


@dataclass(frozen=True)
class Distribution:
    """Everything that a scene is drawn from."""

    shapes: tuple[Shape, ...]
    glasses: dict[str, Colour]
    drinks: tuple[Colour, ...]
    cap_hues: tuple[Range, ...]
    bare_caps: bool
    walls: tuple[str, ...]
    tables: tuple[str, ...]
    lights: tuple[str, ...]
    things: tuple[str, ...]


USUAL = Distribution(
    shapes=(
        Shape("longneck", (22.0, 24.0), (2.9, 3.1), (0.52, 0.58), (0.72, 0.78), (1.0, 1.3), (1.5, 1.7)),
        Shape("slender", (23.5, 25.0), (2.95, 3.15), (0.50, 0.55), (0.80, 0.88), (1.3, 1.8), (1.4, 1.5)),
        Shape("pool", (25.0, 27.0), (3.2, 3.45), (0.55, 0.60), (0.70, 0.75), (1.0, 1.2), (1.6, 1.8)),
        Shape("ale", (20.0, 22.0), (3.1, 3.4), (0.50, 0.56), (0.68, 0.74), (0.8, 1.1), (1.6, 1.8)),
        # No maker's: so that a bottle is not known by four outlines.
        *3 * (Shape("any", (19.0, 27.5), (2.7, 3.6), (0.40, 0.64), (0.70, 0.88), (0.7, 1.8), (1.4, 1.8)),),
    ),
    glasses={
        "clear": (0.97, 0.985, 0.975),
        "amber": (0.72, 0.44, 0.16),
        "green": (0.42, 0.68, 0.38),
    },
    drinks=((0.96, 0.80, 0.34), (0.93, 0.66, 0.20), (0.62, 0.30, 0.10), (0.97, 0.88, 0.55)),
    cap_hues=((-15.0, 55.0), (205.0, 245.0)),
    bare_caps=True,
    walls=("plain", "leaves", "wood", "bricks", "shelves", "cloth", "blotches", "collage"),
    tables=("plain", "leaves", "wood", "cloth", "blotches", "collage"),
    lights=("room", "overcast", "evening"),
    things=(
        *2 * ("box", "book", "ball", "can", "mug", "tumbler", "bowl", "plate", "lemon", "cap", "stack"),
        *TURNED_ANYHOW,
    ),
)

SHIFTED = Distribution(
    shapes=(
        Shape("steinie", (16.0, 18.5), (3.5, 3.8), (0.56, 0.62), (0.76, 0.82), (0.5, 0.7), (1.6, 1.8)),
        Shape("bomber", (28.0, 31.0), (3.6, 3.9), (0.42, 0.47), (0.60, 0.66), (1.9, 2.4), (1.5, 1.7)),
        Shape("cone", (21.0, 24.0), (3.5, 3.8), (0.22, 0.35), (0.89, 0.91), (0.55, 0.75), (1.4, 1.5)),
    ),
    glasses={
        "cobalt": (0.20, 0.34, 0.78),
        "smoke": (0.55, 0.55, 0.58),
        "rose": (0.88, 0.55, 0.60),
        "teal": (0.30, 0.70, 0.72),
    },
    drinks=((0.97, 0.97, 0.96), (0.80, 0.22, 0.16), (0.55, 0.80, 0.30)),
    cap_hues=((85.0, 165.0), (265.0, 325.0)),
    bare_caps=False,
    walls=("tiles", "stripes", "marble", "dots"),
    tables=("tiles", "stripes", "marble"),
    lights=("neon", "sun", "ring"),
    things=("goblet", "ring", "cone", "pawn", "candle", "spring", "apple", "prism"),
)
