"""How long after an overload callers still notice it. Pure."""

from __future__ import annotations

import math

import numpy as np

from loadtest.analysis import Rows
from loadtest.answers import Outcome

WINDOW_SECONDS = 0.1


def recovery_seconds(rows: Rows, end: float, until: float, normal_seconds: float) -> float:
    """Seconds from ``end`` to the first tenth of a second with callers served as ever; infinite if none is.

    As ever: everyone who was scheduled in it is answered, half of them within ``normal_seconds``.
    """
    for index in range(round((until - end) / WINDOW_SECONDS)):
        start = end + index * WINDOW_SECONDS
        window = rows.between(start, start + WINDOW_SECONDS)
        all_answered = len(window.scheduled) and bool(window.of(Outcome.ANSWERED).all())
        if all_answered and float(np.median(window.response)) <= normal_seconds:
            return start - end
    return math.inf
