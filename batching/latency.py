"""How long will a batch of n take? Learnt from the warm-up and from every batch since.

Taken from Clockwork (OSDI 2020): inference time is predictable enough to plan with, and recent measurements
per batch size are the best predictor. From Clipper (NSDI 2017): plan with a high percentile, not the mean.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby, pairwise
from statistics import median
from typing import NamedTuple, Self

_MEMORY_BATCHES = 32  # the fit forgets with this time constant
_WINDOW_BATCHES = 128  # the p99 is taken over this many last batches
_OUTLIER = 3.0  # an observation counts as at most this many times the prediction, or one such part of it
_TICK_SECONDS = 1e-9  # nothing takes no time, whatever a coarse clock says
_TRUSTED_AFTER = 8  # observations before which nothing is called an outlier
_INTERCEPT_PENALTY = 0.01  # sizes must vary by 10 % before a fixed cost is told from the slope


class LatencyPoint(NamedTuple):
    """One point of the learnt curve; seconds."""

    size: int
    typical: float
    p99: float


class LatencyModel:
    """Typical and p99 seconds of a batch of n.

    The warm-up gives the shape of the curve (medians, interpolated, never falling). What follows is learnt
    as ``seconds = a + b * shape(n)`` by least squares with exponential forgetting, a and b never negative.
    While all batches have one size, a ridge on ``a`` keeps the line proportional to the shape, so that a
    machine which is twice as slow is expected to be so at every size. Outliers are clipped: a pause moves
    the fit by a few percent, a lasting change is followed within 50 to 150 batches,
    the p99 later still.

    The p99 adds the excess over the fit that recent batches of about this size (same power of two) showed.
    Of fewer than a hundred, the worst is ignored: a single pause must not make the line refuse everybody.
    For the same reason the p99 is at most twice the typical value: a tail longer than that is a pause,
    which a smaller batch does not cure.

    Before the first observation everything is expected to take 0 seconds.
    """

    def __init__(self, measured: Iterable[tuple[int, float]] = (), steps: Iterable[int] = ()) -> None:
        """``measured``: (batch size, seconds) of the warm-up, ideally several for each of 1, 2, 4, 8, ...

        ``steps``: sizes, ascending, of which every batch takes the time of the next.
        """
        samples = sorted((size, max(seconds, _TICK_SECONDS)) for size, seconds in measured)
        self._shape = _in_steps(_interpolated(samples), steps) if samples else [0.0, 1.0]
        self._count = 0
        self._x = self._y = self._xx = self._xy = 0.0
        self._fixed, self._slope = 0.0, 0.0
        self._window: deque[tuple[int, float]] = deque()
        self._excesses: dict[int, list[float]] = {}
        self._p99: dict[int, float] = {}  # asked for since the last observation
        for size, seconds in samples:
            self.observe(size, seconds)

    @classmethod
    def from_curve(cls, curve: Iterable[LatencyPoint]) -> Self:
        """The model another process has learnt, from its `curve`."""
        points = [LatencyPoint(*point) for point in curve]
        model = cls((point.size, point.typical) for point in points)
        model._window.clear()
        model._excesses.clear()
        for point in points:
            model._remember_excess(point.size, point.p99 - point.typical)
        return model

    def curve(self, sizes: Iterable[int]) -> list[LatencyPoint]:
        """The learnt curve at these sizes, for people and for the forecast."""
        return [LatencyPoint(size, self.typical(size), self.p99(size)) for size in sizes]

    def typical(self, size: int) -> float:
        """Seconds that a batch of ``size`` is expected to take."""
        return self._fixed + self._slope * self._shape_at(size)

    def p99(self, size: int) -> float:
        """Seconds within which 99 of 100 batches of ``size`` are expected to be done."""
        seconds = self._p99.get(size)
        if seconds is None:
            typical = self.typical(size)
            seconds = self._p99[size] = typical + min(self._excess(size), typical)
        return seconds

    def largest_within(self, seconds: float, most: int) -> int:
        """The largest batch, up to ``most``, whose p99 is within this time; 0 if there is none."""
        if self.p99(most) <= seconds:
            return most
        return bisect_right(range(1, most), seconds, key=self.p99)

    def observe(self, size: int, seconds: float) -> None:
        """Learn from a batch of ``size`` that took ``seconds``."""
        self._p99.clear()
        seconds = max(seconds, _TICK_SECONDS)
        expected = self.typical(size)
        self._remember_excess(size, seconds - expected)
        if self._count >= _TRUSTED_AFTER:
            seconds = min(max(seconds, expected / _OUTLIER), expected * _OUTLIER)
        self._refit(self._shape_at(size), seconds)

    def _refit(self, x: float, y: float) -> None:
        self._count += 1
        gain = max(1 / self._count, 1 / _MEMORY_BATCHES)
        self._x += gain * (x - self._x)
        self._y += gain * (y - self._y)
        self._xx += gain * (x * x - self._xx)
        self._xy += gain * (x * y - self._xy)
        # Minimises E[(y - a - b x)^2] + penalty * a^2, where a = E[y] - b E[x].
        ridge = _INTERCEPT_PENALTY * self._x * self._x
        slope = (self._xy - self._x * self._y + ridge * self._y / self._x) / (
            self._xx - self._x * self._x + ridge
        )
        self._slope = min(max(slope, 0.0), self._y / self._x)
        self._fixed = self._y - self._slope * self._x

    def _shape_at(self, size: int) -> float:
        if size < len(self._shape):
            return self._shape[size]
        return self._shape[-1] * size / (len(self._shape) - 1)

    def _remember_excess(self, size: int, excess: float) -> None:
        size_class = size.bit_length()
        if len(self._window) == _WINDOW_BATCHES:
            old_class, old_excess = self._window.popleft()
            ordered = self._excesses[old_class]
            del ordered[bisect_left(ordered, old_excess)]
        self._window.append((size_class, excess))
        insort(self._excesses.setdefault(size_class, []), excess)

    def _excess(self, size: int) -> float:
        """Of this size class or, where it has not been seen lately, of the next smaller one that has."""
        for size_class in range(size.bit_length(), 0, -1):
            if ordered := self._excesses.get(size_class):
                return max(0.0, ordered[int(0.99 * (len(ordered) - 1))])
        return 0.0


def _interpolated(samples: Sequence[tuple[int, float]]) -> list[float]:
    """Seconds for every size from 0 to the largest measured: medians, joined by lines, never falling."""
    knots = [(0, 0.0)]
    for size, group in groupby(samples, key=lambda sample: sample[0]):
        knots.append((size, median(seconds for _, seconds in group)))
    shape = [0.0]
    for (low, low_seconds), (high, high_seconds) in pairwise(knots):
        step = (high_seconds - low_seconds) / (high - low)
        shape.extend(low_seconds + step * (size - low) for size in range(low + 1, high + 1))
    return list(accumulate(shape, max))


def _in_steps(shape: Sequence[float], steps: Iterable[int]) -> list[float]:
    """The same, where each size from 1 on takes the time of the next of ``steps``, if there is one."""
    stepped = list(shape)
    for below, size in pairwise((0, *steps)):
        stepped[below + 1 : size + 1] = [shape[size]] * (size - below)
    return stepped
