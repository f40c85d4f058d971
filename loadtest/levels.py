"""One level of load, a share of the capacity: calm before, the load, calm after; and the figures of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from loadtest import analysis, loads, plan
from loadtest.analysis import Rows
from loadtest.answers import Outcome
from loadtest.described import Described
from loadtest.measuring import Measurement, measure
from loadtest.messages import Message
from loadtest.schedules import Arrivals, Phase

CALM_SHARE = 0.5  # of the capacity
CALM_SECONDS = 5.0
RECOVERY_WINDOW_SECONDS = 0.1

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bench:
    """What stays the same over the levels. ``target_seconds``: what is in time."""

    url: str
    messages: Sequence[Message]
    arrivals: Arrivals
    capacity: float
    seconds: float
    target_seconds: float

    @property
    def calm_seconds(self) -> float:
        return min(CALM_SECONDS, self.seconds)

    @property
    def late_seconds(self) -> float:
        """Near the end of the level, even for who looks once a second."""
        return self.calm_seconds + self.seconds - 1.5

    def phases(self, level: float) -> list[Phase]:
        """Calm, the level, calm."""
        calm = self.capacity * CALM_SHARE
        return [
            Phase("before", calm, self.calm_seconds),
            Phase("level", self.capacity * level, self.seconds),
            Phase("after", calm, self.calm_seconds),
        ]

    def measure(self, level: float, seed: int, also: Callable[[float], object] | None = None) -> Measurement:
        """Raises NoServer; ``also`` as for `measuring.measure`."""
        load = loads.of_phases(self.messages, self.phases(level), self.arrivals, seed=seed)
        return measure(self.url, load, self.target_seconds, also)

    def loaded(self, rows: Rows) -> Rows:
        """Those scheduled while the level lasted."""
        return rows.between(self.calm_seconds, self.calm_seconds + self.seconds)


def figures(bench: Bench, level: float, repeat: Measurement) -> Figures:
    """Of one repeat; latencies are those of answers, memory and counts of the calm seconds too."""
    loaded = bench.loaded(repeat.rows)
    summary = analysis.summarise(loaded, bench.seconds, bench.target_seconds)
    refused = loaded.where(loaded.of(Outcome.REFUSED))
    return {
        "level": level,
        **summary,
        "goodput_of_capacity": summary["goodput_per_second"] / bench.capacity,
        "refusal_ms_p50": analysis.percentile_ms(refused.service, 50.0),
        "refusal_ms_p99": analysis.percentile_ms(refused.service, 99.0),
        "recovery_seconds": _recovery(bench, repeat.rows),
        **_watched(repeat, bench.calm_seconds, bench.calm_seconds + bench.seconds),
    }


def _recovery(bench: Bench, rows: Rows) -> float:
    before = rows.between(0.0, bench.calm_seconds)
    normal = analysis.percentile_ms(before.response[before.of(Outcome.ANSWERED)], 99.0) / 1000
    end = bench.calm_seconds + bench.seconds
    return recovery_seconds(rows, end, end + bench.calm_seconds, normal)


def recovery_seconds(rows: Rows, end: float, until: float, normal_seconds: float) -> float:
    """Seconds from ``end`` to the first tenth of a second with callers served as ever; infinite if none is.

    As ever: everyone who was scheduled in it is answered, half of them within ``normal_seconds``.
    """
    for index in range(round((until - end) / RECOVERY_WINDOW_SECONDS)):
        start = end + index * RECOVERY_WINDOW_SECONDS
        window = rows.between(start, start + RECOVERY_WINDOW_SECONDS)
        all_answered = len(window.scheduled) and bool(window.of(Outcome.ANSWERED).all())
        if all_answered and float(np.median(window.response)) <= normal_seconds:
            return start - end
    return math.inf


def forecast(bench: Bench, model: Described, repeat: Measurement, calm: Mapping[str, float]) -> Figures:
    """The policy that serves, simulated with these very arrivals and the curve that has been learnt.

    calm: what an answer takes outside the line and its batch, and of that to decode, as `sideshows.idle`
    found. The curve is that of the end of the level: what its refusals take from the device is in it.
    """
    times = (bench.loaded(repeat.rows).scheduled - bench.calm_seconds).tolist()
    asked = plan.question(
        model,
        outside_seconds=calm["outside_ms_p50"] / 1000,
        decode_seconds=calm["decode_ms_p50"] / 1000,
        refusal_seconds=0.0,
    )
    expected = plan.forecast(asked, times)
    return plan.figures(expected, bench.seconds, bench.target_seconds)


def _watched(repeat: Measurement, start: float, end: float) -> Figures:
    """Of what the server said of itself; cores are those between two moments."""
    said, watched = repeat.watched.figures(), repeat.watched
    if not said:
        return {}
    names = ("memory_mb_first", "memory_mb_max", "memory_mb_last", "refused", "abandoned")
    cores = {"cpu_cores": watched.cores(start, end), "generator_cores": watched.own_cores(start, end)}
    return {**{name: said[name] for name in names}, **cores}


def middle(repeats: Sequence[Mapping[str, Any]]) -> Figures:
    """Every number `analysis.over_repeats`; of counts by name, the medians by name."""
    return {key: _middle(key, [each[key] for each in repeats if key in each]) for key in repeats[0]}


def _middle(key: str, values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        names = sorted({name for each in values for name in each})
        return {name: median(each.get(name, 0.0) for each in values) for name in names}
    return analysis.over_repeats(key, values)
