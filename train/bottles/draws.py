"""Single numbers, choices and colours from a generator, rounded as a manifest shows them."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from train.bottles.distributions import Range
from train.bottles.parameters import Colour

Rng = np.random.Generator
T = TypeVar("T")


def drawn_in(bounds: Range, rng: Rng) -> float:
    """Evenly from a range."""
    return round(float(rng.uniform(*bounds)), 4)


def pick(choices: Sequence[T], rng: Rng) -> T:
    """One of the choices, each as likely."""
    return choices[int(rng.integers(len(choices)))]


def new_seed(rng: Rng) -> int:
    """For a generator of its own, such as a texture's."""
    return int(rng.integers(1 << 31))


def shaken(colour: Colour, by: float, rng: Rng) -> Colour:
    """Each channel up or down by at most the share `by`."""
    return _colour(lambda value: value * (1 + drawn_in((-by, by), rng)), colour)


def rgb(hue_degrees: float, saturation: float, value: float) -> Colour:
    """HSV -> linear RGB, by squaring, which is near enough to sRGB's curve."""
    return _colour(lambda part: part**2.0, colorsys.hsv_to_rgb(hue_degrees / 360 % 1, saturation, value))


def _colour(change: Callable[[float], float], colour: Colour) -> Colour:
    red, green, blue = (round(min(max(change(value), 0.0), 1.0), 4) for value in colour)
    return red, green, blue
