"""Charts as inline SVG: no script, no network; colours come from the page, so dark and light both work."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 520, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 20, 12, 40
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

_CHARACTER = 6.5  # about the width of one in a label

Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Series:
    """A line through (x, y) points; a gap where y is NaN."""

    label: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line; ``row`` 1 stands below the labels of row 0."""

    at: float
    label: str
    row: int = 0


@dataclass(frozen=True, slots=True)
class Axis:
    """What it shows, with its unit, and whether equal steps are equal factors."""

    label: str
    log: bool = False


def line_chart(series: Sequence[Series], x: Axis, y: Axis, marks: Sequence[Mark] = ()) -> str:
    """Lines over one plot, vertical marks and a legend; an empty string without points."""
    points = [point for each in series for point in each.points if math.isfinite(point[1])]
    if not points:
        return ""
    x_scale, x_ticks = _scale([px for px, _ in points], x.log, _LEFT, _LEFT + _PLOT_WIDTH, from_zero=False)
    y_scale, y_ticks = _scale([py for _, py in points], y.log, _TOP + _PLOT_HEIGHT, _TOP, from_zero=True)
    parts = [_grid(x, y, x_scale, y_scale, x_ticks, y_ticks)]
    parts += [_mark(x_scale(mark.at), mark) for mark in marks]
    parts += [_line(index, each, x_scale, y_scale) for index, each in enumerate(series)]
    return _with_legend(parts, series)


def bar_chart(bars: Sequence[tuple[str, float]], x_label: str, y_label: str) -> str:
    """One bar for each (label, value); an empty string without bars."""
    if not any(value for _, value in bars):
        return ""
    y_scale, y_ticks = _scale([value for _, value in bars], False, _TOP + _PLOT_HEIGHT, _TOP, from_zero=True)
    step = _PLOT_WIDTH / len(bars)
    parts = [_grid(Axis(x_label), Axis(y_label), lambda _: 0.0, y_scale, [], y_ticks)]
    parts += [_bar(_LEFT + index * step, step, bar, y_scale) for index, bar in enumerate(bars)]
    return _with_legend(parts, [])


def number(value: float | None) -> str:
    """As few digits as tell it: 0.05, 1.5, 230, 12,000; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ms(value: float | None) -> str:
    """Without the unit, to a tenth, and below ten to a hundredth."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}"


def share(value: float | None) -> str:
    """87.60%: of ten thousand requests, one is seen."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.2%}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten) from below ``low`` to above ``high``."""
    step = _round_step((high - low) / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten around the positive range."""
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    candidates = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
    start = max(value for value in candidates if value <= low * 1.0001)
    end = min(value for value in candidates if value >= high * 0.9999)
    return [value for value in candidates if start <= value <= end]


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.9999)


def _scale(
    values: Sequence[float], log: bool, start: float, end: float, *, from_zero: bool
) -> tuple[Scale, list[float]]:
    if log:
        positive = [value for value in values if value > 0] or [1.0]
        chosen = log_ticks(min(positive), max(positive))
        low, high = math.log10(chosen[0]), math.log10(chosen[-1])
        span = (high - low) or 1.0
        return lambda v: start + (end - start) * (math.log10(max(v, chosen[0])) - low) / span, chosen
    bottom = 0.0 if from_zero else min(values)
    chosen = ticks(bottom, max(*values, bottom + 1e-9) if len(values) > 1 else max(values[0], bottom + 1e-9))
    span = chosen[-1] - chosen[0]
    return lambda v: start + (end - start) * (v - chosen[0]) / span, chosen


def _grid(
    x: Axis, y: Axis, x_scale: Scale, y_scale: Scale, x_ticks: Sequence[float], y_ticks: Sequence[float]
) -> str:
    base, right = _TOP + _PLOT_HEIGHT, _LEFT + _PLOT_WIDTH
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y_scale(t):.1f}" y2="{y_scale(t):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y_scale(t) + 4:.1f}" text-anchor="end">{number(t)}</text>'
        for t in y_ticks
    ]
    lines += [
        f'<text x="{x_scale(t):.1f}" y="{base + 16}" text-anchor="middle">{number(t)}</text>' for t in x_ticks
    ]
    lines.append(
        f'<text class="axis" x="{_LEFT + _PLOT_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x.label)}</text>"
        f'<text class="axis" transform="translate(12 {_TOP + _PLOT_HEIGHT / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y.label)}</text>'
    )
    return "".join(lines)


def _line(index: int, series: Series, x_scale: Scale, y_scale: Scale) -> str:
    runs: list[list[str]] = [[]]
    for px, py in series.points:
        if math.isfinite(py):
            runs[-1].append(f"{x_scale(px):.1f},{y_scale(py):.1f}")
        elif runs[-1]:
            runs.append([])
    dash = ' stroke-dasharray="5 4"' if series.dashed else ""
    lines = [f'<polyline class="s{index}"{dash} points="{" ".join(run)}"/>' for run in runs if len(run) > 1]
    if series.dots or len(series.points) == 1:
        lines += [
            f'<circle class="s{index}" cx="{x_scale(px):.1f}" cy="{y_scale(py):.1f}" r="3.5">'
            f"<title>{escape(series.label)}: {number(py)} at {number(px)}</title></circle>"
            for px, py in series.points
            if math.isfinite(py)
        ]
    return "".join(lines)


def _bar(left: float, step: float, bar: tuple[str, float], y_scale: Scale) -> str:
    label, value = bar
    base, top, width = _TOP + _PLOT_HEIGHT, y_scale(value), min(step * 0.8, 60)
    middle = left + step / 2
    return (
        f'<rect class="s0" x="{middle - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
        f'height="{base - top:.1f}"><title>{escape(label)}: {number(value)}</title></rect>'
        f'<text x="{middle:.1f}" y="{base + 16}" text-anchor="middle">{escape(label)}</text>'
    )


def _mark(x: float, mark: Mark) -> str:
    fits = x + 5 + _CHARACTER * len(mark.label) <= _WIDTH
    anchor, text_x = ("start", x + 5) if fits else ("end", x - 5)
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_TOP + _PLOT_HEIGHT}"/>'
        f'<text class="mark" x="{text_x:.1f}" y="{_TOP + 10 + 13 * mark.row}" text-anchor="{anchor}">'
        f"{escape(mark.label)}</text>"
    )


def _with_legend(parts: Sequence[str], series: Sequence[Series]) -> str:
    legend = "".join(
        f'<span><i class="s{index}{" dashed" if each.dashed else ""}"></i>{escape(each.label)}</span>'
        for index, each in enumerate(series)
    )
    legend = f'<div class="legend">{legend}</div>' if len(series) > 1 else ""
    return f'{legend}<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'
