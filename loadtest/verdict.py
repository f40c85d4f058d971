"""Objectives in a small TOML file decide the exit code; a saved run tells better, same or worse. Pure.

[objectives]
response_ms_p99 = { at_most = 100 }
goodput_share = { at_least = 0.95 }
refused_share = { at_most = 0.05 }
error_share = { at_most = 0 }
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from loadtest.analysis import Summary
from loadtest.errors import BadObjectives

UNKNOWN_NOISE = 0.10  # what one run alone is trusted to
SMALLEST_CHANGE = 0.03  # what is worth telling, however quiet the machine
REPEATS_FOR_NOISE = 3


@dataclass(frozen=True, slots=True)
class Objective:
    """A bound on one figure of the summary."""

    figure: str
    limit: float
    at_most: bool

    def met(self, value: float) -> bool:
        """A figure that could not be measured meets nothing."""
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{self.figure} {'at most' if self.at_most else 'at least'} {self.limit:g}"


def read_objectives(path: Path, figures: Sequence[str]) -> list[Objective]:
    """The file's objectives; raises BadObjectives for anything that is not understood."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadObjectives(f"{path}: {error}") from error
    table = document.get("objectives")
    if set(document) != {"objectives"} or not isinstance(table, dict) or not table:
        raise BadObjectives(f"{path}: must hold one table, [objectives]")
    return [_objective(path, figure, bound, figures) for figure, bound in table.items()]


def _objective(path: Path, figure: str, bound: object, figures: Sequence[str]) -> Objective:
    if figure not in figures:
        raise BadObjectives(f"{path}: no figure is named {figure!r}; there are {', '.join(figures)}")
    match bound:
        case {"at_most": int() | float() as limit, **rest} if not rest:
            return Objective(figure, float(limit), at_most=True)
        case {"at_least": int() | float() as limit, **rest} if not rest:
            return Objective(figure, float(limit), at_most=False)
    raise BadObjectives(f"{path}: {figure} must be {{ at_most = NUMBER }} or {{ at_least = NUMBER }}")


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure, now and then: medians over the repeats, and what the repeats differ by."""

    figure: str
    now: float
    then: float
    noise: float
    verdict: str  # better, same, worse


LOWER_IS_BETTER = ("response_ms_p50", "response_ms_p99", "service_ms_p99", "error_share", "refused_share")
HIGHER_IS_BETTER = ("goodput_per_second", "goodput_share")


def compare(now: Sequence[Summary], then: Sequence[Summary]) -> list[Compared]:
    """Figures that both have, of repeated runs; a difference within the noise is none."""
    compared = []
    for figure in (*HIGHER_IS_BETTER, *LOWER_IS_BETTER):
        values = [_known(figure, summaries) for summaries in (now, then)]
        if all(values):
            compared.append(_compared(figure, *values))
    return compared


def _known(figure: str, summaries: Sequence[Mapping[str, float | None]]) -> list[float]:
    return [v for each in summaries if (v := each.get(figure)) is not None and math.isfinite(v)]


def _compared(figure: str, now: Sequence[float], then: Sequence[float]) -> Compared:
    middle_now, middle_then = median(now), median(then)
    spread = max(max(now) - min(now), max(then) - min(then))
    noise = max(spread, SMALLEST_CHANGE * abs(middle_then))
    if min(len(now), len(then)) < REPEATS_FOR_NOISE:
        noise = max(noise, UNKNOWN_NOISE * abs(middle_then))
    change = middle_now - middle_then
    if abs(change) <= noise:
        verdict = "same"
    else:
        verdict = "better" if (change < 0) == (figure in LOWER_IS_BETTER) else "worse"
    return Compared(figure, middle_now, middle_then, noise, verdict)
