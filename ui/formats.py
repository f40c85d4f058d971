"""Figures as text, in the reader's language; a probability never looks surer than it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ui.words import Language

_SPACE = "\u00a0"  # no line break between a figure and its unit


def percent(share: float, language: Language) -> str:
    """0.97 -> "97 %". Certainty and impossibility are said only where they are exact.

    At both ends one more digit, rounded away from the end: 0.9996 -> "> 99.9 %", 0.996 -> "99.6 %".
    """
    if share in (0, 1):
        return f"{share:.0f}".replace("1", "100") + f"{_SPACE}%"
    if share > 0.999:
        return f">{_SPACE}{number(99.9, language, 1)}{_SPACE}%"
    if share < 0.001:
        return f"<{_SPACE}{number(0.1, language, 1)}{_SPACE}%"
    if share >= 0.99:
        return exact_percent(math.floor(share * 1000) / 1000, language)
    return exact_percent(share, language) if share < 0.01 else f"{share * 100:.0f}{_SPACE}%"


def exact_percent(share: float, language: Language) -> str:
    """A measured share, with one digit: 0.8968 -> "89.7 %"."""
    return f"{number(share * 100, language, 1)}{_SPACE}%"


def duration(milliseconds: float, language: Language) -> str:
    """With about two digits: "0.4 ms", "16 ms", "1.2 s"."""
    if milliseconds >= 1000:
        return f"{number(milliseconds / 1000, language, 1)}{_SPACE}s"
    return f"{number(milliseconds, language, 1 if milliseconds < 9.95 else 0)}{_SPACE}ms"


def seconds(value: float, language: Language) -> str:
    """Whole seconds, rounded up: who comes back any earlier is refused again."""
    return f"{number(math.ceil(value), language)}{_SPACE}s"


def named(classes: Sequence[str], language: Language, most: int | None = None) -> str:
    """The first `most` of them, or all, and how many there are where some are left out."""
    names = ", ".join(map(language.label, classes[:most]))
    left_out = most is not None and len(classes) > most
    return f"{names}, … ({number(len(classes), language)})" if left_out else names


def number(value: float, language: Language, digits: int = 0) -> str:
    """10000 -> "10,000" or "10.000"."""
    plain = f"{value:,.{digits}f}"
    return plain.translate(str.maketrans(",.", language.thousands + language.decimal))
