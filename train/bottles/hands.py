"""A hand around a bottle, from tubes: it need only hide what a hand hides. Pure NumPy."""

from __future__ import annotations

import numpy as np

from train.bottles.geometry import Floats, Surface, outer_radius, tube
from train.bottles.parameters import Bottle, Hand

NOTHING = Bottle(
    shape="nothing", height_cm=30.0, body_radius_cm=1.4, shoulder_from=0.5, shoulder_to=0.8,
    shoulder_power=1.0, neck_radius_cm=1.3, glass="none", tint=(1, 1, 1), frost=0.0, fill=0.0,
    drink=(1, 1, 1), foam_cm=0.0, label=None, collar=None,
)  # fmt: skip


def skin(hand: Hand, bottle: Bottle) -> list[Surface]:
    """Fingers, thumb and the back of the hand."""
    parts = [_finger(hand, bottle, number) for number in range(4)]
    parts += [_thumb(hand, bottle), _palm(hand, bottle)]
    if hand.covers_mouth:
        parts.append(_lid(bottle))
    return parts


def sleeve(hand: Hand, bottle: Bottle) -> Surface:
    """From the wrist out of the picture."""
    away = _at(hand, bottle, 180.0, 3.0, 4.0)
    path = away + np.linspace(0, 1, 12)[:, None] * (_outwards(hand) * 30 + [0, -3.0, -9.0])
    return tube(path, np.full(12, 2.9 * hand.finger_radius_cm / 0.85) + 0.15 * np.sin(np.arange(12)))


def _finger(hand: Hand, bottle: Bottle, number: int) -> Surface:
    """From the palm around the front; the middle two reach furthest."""
    radius = hand.finger_radius_cm * (0.86, 1.0, 1.02, 0.95)[number]
    height = hand.height_cm + hand.finger_radius_cm * (1 + 2 * number)
    ends = (205, 222, 228, 215)[number]
    turns = np.linspace(0, ends, 22)
    path = np.array([_around(hand, bottle, 180 - turn, height + 0.004 * turn, radius) for turn in turns])
    return tube(path, radius * _rounded(22))


def _thumb(hand: Hand, bottle: Bottle) -> Surface:
    """Around the other way, slanting upwards."""
    radius = 1.1 * hand.finger_radius_cm
    turns = np.linspace(0, 125, 16)
    top = hand.height_cm + 6.2 * hand.finger_radius_cm
    path = np.array([_around(hand, bottle, 180 + turn, top + 0.006 * turn, radius) for turn in turns])
    return tube(path, radius * _rounded(16))


def _palm(hand: Hand, bottle: Bottle) -> Surface:
    """A thick upright lump behind the fingers' roots."""
    finger = hand.finger_radius_cm
    shares = np.linspace(-0.15, 1.05, 14)
    path = np.array([_at(hand, bottle, 180.0, 8 * finger * share, 1.6 * finger) for share in shares])
    return tube(path, 2.0 * finger * np.sin(np.linspace(0.02, np.pi - 0.02, 14)) ** 0.5)


def _lid(bottle: Bottle) -> Surface:
    """The heel of the hand over the mouth."""
    path = np.array([[x, 0.15 * x, bottle.height_cm + 0.3] for x in np.linspace(-2.6, 2.6, 14)])
    return tube(path, 1.9 * np.sin(np.linspace(0.02, np.pi - 0.02, 14)) ** 0.5)


def _rounded(count: int) -> Floats:
    """Radius along a finger: full, then a round tip."""
    share = np.linspace(0, 1, count)
    return np.asarray(
        np.sqrt(np.clip(1 - np.clip((share - 0.88) / 0.12, 0, 1) ** 2, 1e-4, 1)) * (1 - 0.15 * share)
    )


def _around(hand: Hand, bottle: Bottle, degrees: float, height_cm: float, thickness_cm: float) -> Floats:
    """A point `thickness_cm` off the glass; 0 degrees is opposite the palm, and the camera at 90."""
    side = -1.0 if hand.mirrored else 1.0
    angle = np.radians(degrees - hand.turn_degrees)
    reach = outer_radius(bottle, min(height_cm, bottle.height_cm - 0.3)) + 0.9 * thickness_cm
    return np.array([side * reach * np.cos(angle), -reach * np.sin(angle), height_cm])


def _at(hand: Hand, bottle: Bottle, degrees: float, above_cm: float, off_cm: float) -> Floats:
    return _around(hand, bottle, degrees, hand.height_cm + above_cm, off_cm)


def _outwards(hand: Hand) -> Floats:
    side = -1.0 if hand.mirrored else 1.0
    angle = np.radians(180 - hand.turn_degrees)
    return np.array([side * np.cos(angle), -np.sin(angle), 0.0])
